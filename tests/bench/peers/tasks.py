"""What the jobs do: the same three tasks for every peer, each returning what it was given."""

import time

CPU_SECONDS = 0.001
WAIT_SECONDS = 0.05


def noop(argument):
    return argument


def cpu(argument):
    """Burns 1 ms of CPU, whatever else runs on the machine."""
    end = time.thread_time() + CPU_SECONDS
    while time.thread_time() < end:
        pass
    return argument


def wait(argument):
    time.sleep(WAIT_SECONDS)
    return argument
