"""Celery: application, settings of its worker (whose options are in `run`), and client.

Messages are persistent by default; confirms, late acks and a large prefetch for short tasks as its documentation says.
Classic queues are its default; quorum queues are supported, with limitations, and slower (below).

Tried, 4,000 no-op jobs each, in jobs/s of three runs on a busy machine:
    `delay` and `get` as in the tutorial (each job subscribed to) 505, 466, 477; on a quorum queue 386, 488, 492;
    with ResultSet.join_native 527, 527, 539; without subscriptions, asking for many results at once (as here) 796, 818,
    660; that on a quorum queue 616, 610, 565; with a prefetch of 4 for each process 604, 633; of 128 514, 601, 624.
    In a busier hour: as here 666, 643, 472; with hiredis 683, 551, 434; a prefetch of 16 608, 542, 393; -O default
    649, 718, 571; without rate limits 628, 473, 367; without remote control too 601, 585, 502.
    By threads that submit, 1, 2, 4, 8, 16: 625, 705, 706, 696, 669 with servers on a disk; 728, 713, 685, 710, 627 in
    memory.
"""

import celery
from celery.result import denied_join_result
from celery.signals import worker_ready

import client
import tasks

# Few and often enough to cost next to nothing and to add next to nothing.
ASK_FOR, ASK_SECONDS = 200, 0.02

app = celery.Celery("peers", broker=client.AMQP_URL, backend=client.redis_url(1))
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue="bench-celery",
    task_default_queue_type="classic",
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    result_expires=client.KEEP_SECONDS,
)
TASKS = {name: app.task(getattr(tasks, name), name=name) for name in ("noop", "cpu", "wait")}


@worker_ready.connect
def tell_ready(**_):
    client.ready()


class Peer(client.Client):
    queue_name, queue_kind, database = "bench-celery", "classic", 1

    def submit(self, task, argument):
        return TASKS[task].delay(argument)

    def result(self, handle):
        # Woken by Redis: `delay` has subscribed to the result.
        return handle.get(timeout=client.PATIENCE_SECONDS)

    def submit_all(self, task, arguments):
        # Without a subscription for each job, which costs a third of the throughput when there are thousands.
        with denied_join_result():
            return super().submit_all(task, arguments)

    def results(self, handles):
        """Asks for some at a time, the oldest first, until they are there."""
        ids, values = [handle.id for handle in handles], {}
        for first in range(0, len(ids), ASK_FOR):
            some = ids[first : first + ASK_FOR]
            found = app.backend.get_many(some, timeout=client.PATIENCE_SECONDS, interval=ASK_SECONDS)
            values.update((id, meta["result"]) for id, meta in found)
        return [values[id] for id in ids]
