"""Keeps what the master made in memory that all processes share: makes its objects immortal (PEP 683).

Whoever uses an object counts a reference in it, and so writes to its page; in a forked process each such page is copied
first, which is most of what a call costs. Counts of immortal objects are left alone. Nothing is lost by it: the master's
objects live as long as the master, and no process of ours ever takes its interpreter apart.
"""

import ctypes
import gc
import sys
import sysconfig
import types
from typing import Any

# Python's mark of an immortal object on machines with pointers of 8 bytes: the highest bit of the lower half of its count.
COUNT_BYTES = 4
IMMORTAL = 2**31
# Their references are part of a stack, which counts on them.
RUNNING = (types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def make_all() -> int:
    """Makes every object immortal that there is; how many these are. None where objects don't have such a count."""
    if sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "gettotalrefcount") or sys.maxsize < 2**32:
        return 0
    made = 0
    for known in gc.get_objects():
        # Those that the collector doesn't know are found below those that it does.
        todo = [known]
        while todo:
            item = todo.pop()
            if isinstance(item, RUNNING) or sys.getrefcount(item) >= IMMORTAL:
                continue
            ctypes.memset(id(item), 0xFF, COUNT_BYTES)
            made += 1
            todo += [part for part in _parts(item) if not gc.is_tracked(part)]
    return made


def _parts(item: Any) -> list[Any]:
    """What an object refers to."""
    if isinstance(item, types.CodeType):
        return [item.co_consts, item.co_names, item.co_qualname, *item.co_consts, *item.co_names, *item.co_varnames]
    return gc.get_referents(item)
