"""The process of a call: its bounds."""

import math
import os
import resource
import time
import unittest
from collections.abc import Callable

from sortie_runner.child import CpuLimit


def in_fork(check: Callable[[], None]) -> int:
    """The exit status of a process in which `check` ran: what it bounds is not ours."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Bounds(unittest.TestCase):
    def test_each_call_has_the_processor_time_of_every_core_for_its_remaining_time(self) -> None:
        def check() -> None:
            limit = CpuLimit(cores=2)
            for seconds in (5, 5, 60, 1):
                limit.bound(seconds)
                soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
                least = math.floor(time.process_time()) + 2 * seconds
                assert least <= soft <= least + 3, (seconds, soft)

        self.assertEqual(in_fork(check), 0)
