"""Celery: application, settings of its worker (its options are in `run`), and client."""

import celery
from celery.result import denied_join_result
from celery.signals import worker_ready

import client
import tasks

POLL_SECONDS = 0.05

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
        """Asks for all that are missing at once, again and again."""
        ids = [handle.id for handle in handles]
        found = app.backend.get_many(ids, timeout=client.PATIENCE_SECONDS, interval=POLL_SECONDS)
        values = {id: meta["result"] for id, meta in found}
        return [values[id] for id in ids]
