"""Dramatiq: broker, actors (its worker's options are in `run`) and client.

Durable without asking: messages are persistent, and acknowledged after the actor has run and its result is stored.
Its queues are durable classic ones; it has no setting for quorum queues. Confirms are asked for below.

Tried, 5,000 no-op jobs each, in jobs/s of two runs on a busy machine:
    2 processes of 1 thread 1,321 and 894, of 2 threads 1,096 and 947, of 4 threads 925 and 967, of 8 threads (its
    default) 832 and 928; 1 process of 4 threads 882 and 929; 2 of 4 with a prefetch of 50 831; with hiredis 809, 863.
    By threads that submit, 1, 2, 4, 8, 16: 580, 823, 937, 1,007, 1,117 with servers on a disk; 930, 1,472, 1,373,
    1,392, 1,272 in memory.
One thread for each slot, so, and two slots on two cores: the best, and what the others have.
"""

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import client
import tasks

broker = RabbitmqBroker(url=client.AMQP_URL, confirm_delivery=True)
backend = RedisBackend(url=client.redis_url(2))
broker.add_middleware(Results(backend=backend, store_results=True, result_ttl=client.KEEP_SECONDS * 1000))
dramatiq.set_broker(broker)


class TellReady(dramatiq.Middleware):
    def after_worker_boot(self, broker, worker):
        client.ready()


broker.add_middleware(TellReady())
TASKS = {
    name: dramatiq.actor(getattr(tasks, name), queue_name="bench-dramatiq") for name in ("noop", "cpu", "wait")
}


class Peer(client.Client):
    queue_name, queue_kind, database = "bench-dramatiq", "classic", 2

    def submit(self, task, argument):
        return TASKS[task].send(argument)

    def result(self, handle):
        return handle.get_result(block=True, timeout=client.PATIENCE_SECONDS * 1000)

    def close(self):
        super().close()
        broker.close()
