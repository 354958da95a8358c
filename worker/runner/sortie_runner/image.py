"""Moves what the master has in memory of its own into a file in memory, mapped privately at the same places.

A fork copies an entry for each page that a process has of its own, and the end of the forked process takes each of them
away again: 5,000 here, half of what a fork costs. Pages of a file are not copied, but mapped where they are touched. And
mappings that lie together become one, where libraries had four or five each: a fork copies those too. The file is kept
in huge pages: what is mapped of one costs a fork, an access and an end less than as many pages that know nothing of each
other, and code is mapped at once.

A page must not change between its copy and its mapping, and Python writes to memory with every step that it takes. So all
of it is one list of system calls.
"""

import ctypes
import fcntl
import mmap
import os
from dataclasses import dataclass

from .syscalls import MAP_FAILED, Calls, Maker, libc

libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

PWRITE64, MMAP = 18, 9

# linux/mman.h, asm-generic/mman-common.h, linux/fcntl.h
MAP_FIXED = 0x10
MADV_COLLAPSE = 25
# A huge page of that machine.
HUGE = 2 * 1024 * 1024
F_SEAL_FUTURE_WRITE = 0x10
# It can neither grow nor shrink, nobody else can write to it, and that stays so.
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE


@dataclass
class Range:
    """Pages that lie together and get the same rights."""

    start: int
    end: int
    rights: int
    # Where it lies in the file.
    place: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start


def move(maker: Maker) -> int:
    """Moves all that can be moved; how many bytes that were. Call it while there is one thread. Where it can't be done,
    everything stays as it was, and the error says why."""
    image = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        ranges = _movable()
        size = arrange(ranges)
        os.ftruncate(image, size)
        calls = _calls(ranges, image)
        made = maker.make(calls)
        if made < len(ranges):
            # Nothing was mapped yet.
            raise OSError(f"the range at {ranges[made].start:x} can't be copied")
        fcntl.fcntl(image, fcntl.F_ADD_SEALS, SEALS)
        _use_huge_pages(image, size)
        return size
    finally:
        os.close(image)


def _movable() -> list[Range]:
    """What can be moved: memory that is written to, and all of programs and libraries."""
    with open("/proc/self/maps") as file:
        lines = [line.split(maxsplit=5) for line in file]
    programs = {line[5] for line in lines if len(line) == 6 and "x" in line[1] and line[5].startswith("/")}
    ranges: list[Range] = []
    for place, rights, *_, name in (line if len(line) == 6 else [*line, ""] for line in lines):
        writable, executable = rights[1] == "w", rights[2] == "x"
        # The stack is what we stand on; what can be written and executed is somebody's trampoline.
        if not rights.startswith("r") or rights[3] != "p" or (writable and executable):
            continue
        if writable and not name.startswith("[") or name == "[heap]\n":
            allowed = mmap.PROT_READ | mmap.PROT_WRITE
        elif name in programs:
            # Constants too: they lie between code and code.
            allowed = mmap.PROT_READ | mmap.PROT_EXEC
        else:
            continue
        start, end = (int(address, 16) for address in place.split("-"))
        if ranges and ranges[-1].end == start and ranges[-1].rights == allowed:
            ranges[-1].end = end
        else:
            ranges.append(Range(start, end, allowed))
    return ranges


def arrange(ranges: list[Range]) -> int:
    """Gives each range its place in the file; how large that is. A range that may hold a huge page lies so that huge pages
    of the file are huge pages of memory too; small ones fill what that leaves free."""
    small = sorted((part for part in ranges if part.size < HUGE), key=lambda part: part.size, reverse=True)
    size = 0
    for large in (part for part in ranges if part.size >= HUGE):
        place = size + (large.start - size) % HUGE
        for part in [*small]:
            if size + part.size <= place:
                small.remove(part)
                part.place = size
                size += part.size
        large.place = place
        size = place + large.size
    for part in small:
        part.place = size
        size += part.size
    return size


def _use_huge_pages(image: int, size: int) -> None:
    """Gathers the file's pages into huge ones, also where the host gives none unasked (Linux 6.1). Each for which there is
    no room stays as it is, which is as good but for the time."""
    area = libc.mmap(None, size + HUGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if area == MAP_FAILED:
        return
    start = area + -area % HUGE
    if libc.mmap(start, size, mmap.PROT_READ, mmap.MAP_SHARED | MAP_FIXED, image, 0) == start:
        for place in range(start, start + size - HUGE + 1, HUGE):
            libc.madvise(place, HUGE, MADV_COLLAPSE)
    libc.munmap(area, size + HUGE)


def _calls(ranges: list[Range], image: int) -> Calls:
    """First all copies, then all mappings: as long as a copy may fail, nothing has changed."""
    calls, flags = Calls(), mmap.MAP_PRIVATE | MAP_FIXED
    for part in ranges:
        calls.add(PWRITE64, image, part.start, part.size, part.place, least=part.size)
    for part in ranges:
        calls.add(MMAP, part.start, part.size, part.rights, flags, image, part.place, least=part.start)
    calls.close()
    return calls
