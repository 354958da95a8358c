"""Fills the holes that loading has left in memory, so that what is made from now on lies together.

Each page that a call writes to is copied first. What it makes would go into holes all over the place, one page each: this
way it is a few pages that follow each other. The holes are lost; they are half a megabyte, shared by all calls.
"""

import ctypes

from .syscalls import libc

# obmalloc.c: Python has a pool for objects of each size up to 512 bytes, by 16. A pool has 16 KiB and begins with what is to
# be known of it.
LARGEST, STEP = 512, 16
POOL, POOL_HEAD = 16 * 1024, 48
# Of each size: where there is room for more in holes, it isn't as we know it.
MOST_BYTES, MOST_BLOCKS = 256 * 1024, 4 * 1024
# What an object has beside its bytes.
BYTES_HEAD = 33
# From the largest on; what is smaller than a kilobyte has a list for each size.
SIZES = [*(2**power for power in range(16, 11, -1)), *range(2048, 1024, -128), *range(1032, 23, -16)]


class Mallinfo(ctypes.Structure):
    """What the C library tells of its memory (mallinfo2, glibc 2.33)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def fill() -> None:
    """Fills those of Python and those of the C library."""
    _fill_pools()
    _fill_heap()


def _fill_pools() -> None:
    """Has an object in every free place of each pool, and one in a new pool."""
    for size in range(STEP, LARGEST + 1, STEP):
        for number in range(MOST_BYTES // size):
            made = _object(size, number)
            _kept.append(made)
            if id(made) % POOL == POOL_HEAD:
                break


def _object(size: int, number: int) -> object:
    """An object of this size that is another one for each number."""
    if size == STEP:
        return object()
    # No bytes have as little as an integer of two digits.
    return 2**32 + number if size == 2 * STEP else bytes(size - BYTES_HEAD)


_kept: list[object] = []


def _fill_heap() -> None:
    """Has a block in every hole, and none beyond the last."""
    try:
        libc.mallinfo2.restype = Mallinfo
        end = _end_of_heap() - libc.mallinfo2().keepcost
    except AttributeError:  # It is another library, or an older one.
        return
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    for size in SIZES:
        for _ in range(MOST_BLOCKS):
            block = libc.malloc(size)
            if block is None or block >= end:
                libc.free(block)
                break


def _end_of_heap() -> int:
    libc.sbrk.restype = ctypes.c_void_p
    libc.sbrk.argtypes = (ctypes.c_long,)
    return libc.sbrk(0)
