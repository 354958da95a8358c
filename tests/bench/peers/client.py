"""What the measures ask of a peer's client, and what is the same for all: the servers, a clean start, an open loop.

A peer's module has a class `Peer(Client)` that gives `submit` and `result`, and the rest where its library has a
better way of its own.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

AMQP_URL = os.environ["SORTIE_TEST_AMQP_URL"]
# Longer than any measure: a job that is lost fails the run instead of hanging it.
PATIENCE_SECONDS = 600
# How long results are kept: a day, as is the default of those that have one.
KEEP_SECONDS = 86_400
# So many jobs can be under way in a client that blocks.
THREADS = 8


def redis_url(database):
    """The test server's Redis, with a database for each peer: its results can be counted and dropped."""
    return os.environ["SORTIE_TEST_REDIS_URL"].rstrip("/") + f"/{database}"


def ready():
    """Called by each process of a worker when it takes jobs: the last one tells it on standard output."""
    path, processes = os.environ["PEER_READY"].rsplit(":", 1)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return  # It was told, and this process takes the place of one that died.
    os.write(file, b".")
    # Each writer sees the end of its own write, so exactly one is the last.
    if os.lseek(file, 0, os.SEEK_CUR) == int(processes):
        os.unlink(path)
        # Straight to the descriptor: the libraries put log streams in place of sys.stdout.
        os.write(1, b"ready\n")
    os.close(file)


class Client:
    """One client of a peer, in one process."""

    #: Its queue in RabbitMQ, the kind of that queue, and the Redis database with its results.
    queue_name = queue_kind = database = None

    def __init__(self):
        # One for all that is done in threads: the libraries give each thread a connection, which lasts as long as it.
        self.threads = ThreadPoolExecutor(THREADS)

    def submit(self, task, argument):
        """Returns a handle when the broker has confirmed the job."""
        raise NotImplementedError

    def result(self, handle):
        """Waits for the result, in the quickest way that the library has."""
        raise NotImplementedError

    def submit_all(self, task, arguments):
        """Submits from all threads, so that one confirm need not wait for another."""

        def some(first):
            return [self.submit(task, argument) for argument in arguments[first::THREADS]]

        handles = [None] * len(arguments)
        for first, part in enumerate(self.threads.map(some, range(THREADS))):
            handles[first::THREADS] = part
        return handles

    def results(self, handles):
        """Waits for all, in the way that costs least."""
        return [self.result(handle) for handle in handles]

    def paced(self, task, arguments, instants):
        """Submits each argument at its instant (of `time.perf_counter`), whatever became of those before; returns
        for each when its result was there, and the result."""

        def one(argument):
            value = self.result(self.submit(task, argument))
            return time.perf_counter(), value

        jobs = []
        for argument, instant in zip(arguments, instants):
            sleep_until(instant)
            jobs.append(self.threads.submit(one, argument))
        return [job.result() for job in jobs]

    def reset(self):
        """Drops the jobs and results that an earlier run left."""
        import pika  # Here, because workers load this module and should not pay for it.

        connection = pika.BlockingConnection(pika.URLParameters(AMQP_URL))
        try:
            connection.channel().queue_purge(self.queue_name)
        except pika.exceptions.ChannelClosedByBroker:
            pass  # There is no queue yet.
        connection.close()
        self.store().flushdb()

    def store(self):
        """Redis with this peer's results: one key for each finished job."""
        import redis

        return redis.Redis.from_url(redis_url(self.database))

    def close(self):
        self.threads.shutdown()


def sleep_until(instant):
    if (left := instant - time.perf_counter()) > 0:
        time.sleep(left)
