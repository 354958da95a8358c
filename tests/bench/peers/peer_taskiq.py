"""Taskiq: broker, tasks (its worker's options are in `run`) and client.

Messages are persistent and confirmed, queues are quorum queues, acks come when the result is saved: all by default.

Tried, 5,000 no-op jobs each, in jobs/s of one or two runs on a busy machine:
    asyncio 587, 676; with uvloop and a prefetch of 100 657, 702; a prefetch of 20 861; without pydantic's parsing 694,
    657; a classic queue 781, 863; one submit at a time 765, 573; 20 at once 840, 763.
    With a prefetch of 20, and without asking whether a result is there before asking for it: 20 submits at once 875;
    100 at once (as here) 1,016; one job at a time in each of the two processes 925; a classic queue 978.
A single job's p50: asked for every 1 ms 3.5 ms, every 0.5 ms 2.1 ms, without a pause 2.1 to 2.9 ms.
"""

import asyncio
import os
import threading
import time

import uvloop
from taskiq import TaskiqEvents
from taskiq.exceptions import ResultGetError
from taskiq_aio_pika import AioPikaBroker, Queue, QueueType
from taskiq_redis import RedisAsyncResultBackend
from taskiq_redis.exceptions import ResultIsMissingError

import client
import tasks

IN_FLIGHT = 100
# The result backend can only be asked: as often as pays for one job, for some at once, and for thousands.
EAGER_SECONDS, STEADY_SECONDS, LAZY_SECONDS = 0.0005, 0.001, 0.02

broker = AioPikaBroker(
    client.AMQP_URL,
    # Told to workers (by `run`); clients consume nothing.
    qos=int(os.environ.get("PEER_PREFETCH", 0)),
    task_queues=[Queue(name="bench-taskiq", type=QueueType.QUORUM)],
    dead_letter_queue=Queue(name="bench-taskiq.dead"),
).with_result_backend(RedisAsyncResultBackend(client.redis_url(3), result_ex_time=client.KEEP_SECONDS))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def tell_ready(_):
    client.ready()


@broker.task(task_name="noop")
async def noop(argument):
    return tasks.noop(argument)


@broker.task(task_name="cpu")
async def cpu(argument):
    return tasks.cpu(argument)


@broker.task(task_name="wait")
async def wait(argument):
    await asyncio.sleep(tasks.WAIT_SECONDS)
    return argument


TASKS = {"noop": noop, "cpu": cpu, "wait": wait}


class Peer(client.Client):
    queue_name, queue_kind, database = "bench-taskiq", "quorum", 3

    def __init__(self):
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.runner.run(broker.startup())

    def submit(self, task, argument):
        return self.runner.run(TASKS[task].kiq(argument))

    def result(self, handle):
        return self.runner.run(result_of(handle, EAGER_SECONDS))

    def submit_all(self, task, arguments):
        async def submit_all():
            room = asyncio.Semaphore(IN_FLIGHT)

            async def submit(argument):
                async with room:
                    return await TASKS[task].kiq(argument)

            return await asyncio.gather(*map(submit, arguments))

        return self.runner.run(submit_all())

    def results(self, handles):
        async def results():
            return [await result_of(handle, LAZY_SECONDS) for handle in handles]

        return self.runner.run(results())

    def paced(self, task, arguments, instants):
        async def one(argument):
            value = await result_of(await TASKS[task].kiq(argument), STEADY_SECONDS)
            return time.perf_counter(), value

        async def paced():
            loop, jobs, all_started = asyncio.get_running_loop(), [], asyncio.Event()

            def start(argument):
                jobs.append(loop.create_task(one(argument)))

            def pace():
                for argument, instant in zip(arguments, instants):
                    client.sleep_until(instant)
                    loop.call_soon_threadsafe(start, argument)
                loop.call_soon_threadsafe(all_started.set)

            # A thread, because the loop's own timers are a millisecond coarse.
            threading.Thread(target=pace, daemon=True).start()
            await all_started.wait()
            return await asyncio.gather(*jobs)

        return self.runner.run(paced())

    def close(self):
        self.runner.run(broker.shutdown())
        self.runner.close()


async def result_of(handle, interval):
    """What `wait_result` does, without asking first whether the result is there: one round trip less."""
    async with asyncio.timeout(client.PATIENCE_SECONDS):
        while True:
            try:
                result = await handle.get_result()
            except ResultGetError as error:
                if not isinstance(error.__cause__, ResultIsMissingError):
                    raise
                await asyncio.sleep(interval)
            else:
                result.raise_for_error()
                return result.return_value
