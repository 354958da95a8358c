"""What the calls of a process may use."""

import os
import resource
import time
import unittest
from collections.abc import Callable

from sortie_runner import bounds


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


class Call(unittest.TestCase):
    def test_each_call_has_the_processor_time_of_every_core_for_its_remaining_time(self) -> None:
        def check() -> None:
            limit = bounds.Bounds(0, cores=2)
            for seconds in (5, 5, 60, 1):
                limit.time(seconds)
                soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
                spare = soft - time.process_time() - 2 * seconds
                assert 0 < spare <= 2, (seconds, soft)

        self.assertEqual(in_fork(check), 0)

    def test_memory_is_bounded_but_never_below_what_it_takes(self) -> None:
        def check() -> None:
            limit = bounds.Bounds(bounds.least_memory(), cores=1)
            limit.memory(512 * bounds.MIB)
            assert resource.getrlimit(resource.RLIMIT_DATA) == (512 * bounds.MIB, 520 * bounds.MIB)
            limit.memory(1)
            bytearray(8 * bounds.MIB)

        self.assertEqual(in_fork(check), 0)

    def test_a_rehearsal_leaves_memory_as_it_is_bounded(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_DATA)
        bounds.Bounds(0, cores=1, rehearses=True).memory(1)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_DATA), before)
