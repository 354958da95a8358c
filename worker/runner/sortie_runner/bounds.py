"""What the calls of a process may use: memory, processor time, descriptors. The kernel holds them to it (setrlimit)."""

import resource
import time

MIB = 1024 * 1024
# What a process needs beyond what it has when it starts, however small `memory_mb` is.
MEMORY_FLOOR = 16 * MIB
# Kept back from the handler, to tell that its memory is used up.
MEMORY_RESERVE = 8 * MIB


class Bounds:
    """The bounds of one process, which follow its calls."""

    def __init__(self, least_memory: int, cores: int, rehearses: bool = False) -> None:
        """`least_memory` in bytes, however little a call may have. One that `rehearses` leaves memory as it is bounded, for
        what is taken away there can't be had again."""
        self._least_memory = least_memory
        self._cores = cores
        self._rehearses = rehearses
        self._cpu = -1

    def memory(self, most: int) -> None:
        """Bounds private memory, in bytes (RLIMIT_DATA: unlike the address space, it doesn't count what threads only
        reserve)."""
        most = max(most, self._least_memory)
        limits = (most, most + MEMORY_RESERVE)
        if self._rehearses:
            limits = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, limits)

    def time(self, seconds: float) -> None:
        """Bounds the processor time of calls, in case that the clock that ends them fails: every core for as long as the call
        may last. Told to the kernel where it is another second than for the call before."""
        most = int(time.process_time() + seconds * self._cores) + 2
        if most != self._cpu:
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (most, hard))
            self._cpu = most


def least_memory() -> int:
    """The least that a call may be bounded to, in bytes: more than this process has."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[5]) * resource.getpagesize() + MEMORY_FLOOR


def free_memory_reserve() -> None:
    """Lets the report of a failure have the memory that was kept back for it."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    except (ValueError, OSError):
        pass


def descriptors() -> int:
    """How many descriptors a call may have open: a quarter of what its template may. Those under way in messages that nobody
    takes are counted for the user, over all slots, and refused to whoever may have fewer than there are: so calls
    can't keep a template from passing its own."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4


def bound_descriptors() -> None:
    """Holds this process to it."""
    most = descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
