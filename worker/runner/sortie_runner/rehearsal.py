"""What a call does, done some times in the master, before there is one: from the fork to the answer.

Python writes to code when it runs for the first times (it adapts it to what it meets), to the types that it looks
attributes up in, and to whatever it makes once. In a forked process each such page is copied first, for every call again.
"""

import gc
import json
import os
import resource
import signal
import sys
from dataclasses import replace

from . import child, holes, quick
from .bounds import Bounds, least_memory
from .frames import encode
from .syscalls import Maker

# So often that the interpreter has adapted the code to what it does with it.
TIMES = 10


def outfit(maker: Maker | None) -> child.Outfit:
    """The outfit of all calls, rehearsed."""
    cores = len(os.sched_getaffinity(0))
    made = child.outfit(Bounds(0, cores, rehearses=True))
    with_signals, limits = signal.getsignal(signal.SIGINT), resource.getrlimit(resource.RLIMIT_CPU)
    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    # A process of a call heeds it; we don't, and it waits until we are ourselves again.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _rehearse(made, maker)
    gc.collect()
    holes.fill()
    for _ in range(TIMES):
        _rehearse(made, maker)
    signal.signal(signal.SIGINT, with_signals)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    resource.setrlimit(resource.RLIMIT_CPU, limits)
    sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
    return replace(made, bounds=Bounds(least_memory(), cores))


def _rehearse(outfit: child.Outfit, maker: Maker | None) -> None:
    """One call over pipes of its own, by the usual way to it if there is one."""
    calls, to_call = os.pipe()
    from_call, answers = os.pipe()
    os.write(to_call, encode("call", json.loads(child.REHEARSAL)))

    def run(rehearse: bool) -> None:
        child.main(outfit, calls, answers, None, rehearse)

    if maker is None:
        run(True)
    else:
        quick.Quick(maker, quick.rehearsal(), run).hear()
    outfit.channel.disown()
    for end in (to_call, from_call):
        os.close(end)
