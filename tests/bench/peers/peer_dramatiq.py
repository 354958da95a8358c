"""Dramatiq: broker, actors and client."""

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import client
import tasks

broker = RabbitmqBroker(url=client.AMQP_URL, confirm_delivery=True)
broker.add_middleware(Results(backend=RedisBackend(url=client.redis_url(2)), store_results=True, result_ttl=client.KEEP_SECONDS * 1000))
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
        broker.close()
