"""What modules want done around a fork (`os.register_at_fork`), gathered, so that the fork of a call can do without.

A template has one thread and nothing under way: there is nothing to mend in its fork. Doing it all the same writes to
a hundred pages that were shared until then, which costs half as much as the fork itself. Forks of a handler do it all.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

Hook = Callable[[], object]


@dataclass(frozen=True)
class Hooks:
    """What one module registered."""

    before: Hook | None = None
    after_in_parent: Hook | None = None
    after_in_child: Hook | None = None


_gathered: list[Hooks] = []
_bare = False


def gather() -> None:
    """Gathers what is registered from now on. It is done in the order that the interpreter would do it in."""
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
    os.register_at_fork = _register  # type: ignore[assignment]


def bare_fork() -> int:
    """`os.fork` for a process with one thread, without what was gathered."""
    global _bare
    _bare = True
    try:
        return os.fork()
    finally:
        _bare = False


def _register(
    *, before: Hook | None = None, after_in_parent: Hook | None = None, after_in_child: Hook | None = None
) -> None:
    hooks = [hook for hook in (before, after_in_parent, after_in_child) if hook is not None]
    if not hooks or not all(map(callable, hooks)):
        raise TypeError("register_at_fork takes one hook or more, by their names, and each must be callable")
    _gathered.append(Hooks(before, after_in_parent, after_in_child))


def _before() -> None:
    if not _bare:
        _run([hooks.before for hooks in reversed(_gathered)])


def _after_in_parent() -> None:
    if not _bare:
        _run([hooks.after_in_parent for hooks in _gathered])


def _after_in_child() -> None:
    if not _bare:
        _run([hooks.after_in_child for hooks in _gathered])


def _run(hooks: list[Hook | None]) -> None:
    for hook in hooks:
        if hook is not None:
            hook()
