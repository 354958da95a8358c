"""What modules want done around a fork (`os.register_at_fork`), which the fork of a call does without.

A template has one thread and nothing under way: there is nothing to mend in its fork. Doing it all the same writes to
a hundred pages that were shared until then, which costs half as much as the fork itself. Forks of a handler do it all.
"""

import os
from collections.abc import Callable

Hook = Callable[[], object]

_register_at_fork = os.register_at_fork
_bare = False


def guard() -> None:
    """From now on, what is registered is left out of bare forks."""
    os.register_at_fork = _register  # type: ignore[assignment]


def bare_fork() -> int:
    """`os.fork` for a process with one thread, without what modules registered."""
    global _bare
    _bare = True
    try:
        return os.fork()
    finally:
        _bare = False


def _register(**hooks: Hook) -> None:
    # What can't be called is for the interpreter to refuse.
    _register_at_fork(**{when: _unless_bare(hook) if callable(hook) else hook for when, hook in hooks.items()})


def _unless_bare(hook: Hook) -> Hook:
    def guarded() -> None:
        if not _bare:
            hook()

    return guarded
