"""Moves what the master has in memory of its own into a file in memory, mapped privately at the same places.

A fork copies an entry for each page that a process has of its own, and the end of the forked process takes each of them
away again: 5,000 here, half of what a fork costs. Pages of a file are not copied, but mapped where they are touched. And
mappings that lie together become one, where libraries had four or five each: a fork copies those too. The file is kept
in huge pages: what is mapped of one costs a fork, an access and an end less than as many pages that know nothing of each
other, and code is mapped at once.

A page must not change between its copy and its mapping, and Python writes to memory with every step that it takes. So all
of it is one list of system calls, which a few instructions make one after the other without going back to Python.
"""

import ctypes
import fcntl
import mmap
import os
from dataclasses import dataclass

# long make(const unsigned long (*calls)[8], long count): makes each call (number, six arguments) as long as they answer
# what is expected (the eighth); how many did.
CODE = bytes.fromhex(
    "53 4154 4155"  # push rbx; push r12; push r13
    "4889fb 4989f4 4531ed"  # mov rbx, rdi; mov r12, rsi; xor r13d, r13d
    "4d39e5 742c"  # next: cmp r13, r12; je done
    "488b03 488b7b08 488b7310 488b5318"  # mov rax, [rbx]; mov rdi, [rbx+8]; mov rsi, [rbx+16]; mov rdx, [rbx+24]
    "4c8b5320 4c8b4328 4c8b4b30"  # mov r10, [rbx+32]; mov r8, [rbx+40]; mov r9, [rbx+48]
    "0f05 483b4338 7509"  # syscall; cmp rax, [rbx+56]; jne done
    "4883c340 49ffc5 ebcf"  # add rbx, 64; inc r13; jmp next
    "4c89e8 415d 415c 5b c3"  # done: mov rax, r13; pop r13; pop r12; pop rbx; ret
)
# The machine whose code and calls these are. Elsewhere, forks cost what they cost.
MACHINE = "x86_64"
PWRITE64, MMAP = 18, 9
CALL = ctypes.c_uint64 * 8

# linux/mman.h, asm-generic/mman-common.h, linux/fcntl.h
MAP_FIXED = 0x10
MAP_FAILED = ctypes.c_void_p(-1).value
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


def move() -> int:
    """Moves all that can be moved; how many bytes that were. Call it while there is one thread. Where it can't be done,
    everything stays as it was, and the error says why."""
    if os.uname().machine != MACHINE:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    image = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    code = os.memfd_create("code", os.MFD_CLOEXEC)
    try:
        os.write(code, CODE)
        place = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, code, 0)
        if place == MAP_FAILED:
            raise OSError(ctypes.get_errno(), "no memory that can be executed")
        # One that keeps the interpreter's lock: letting go of it would be something to do in between.
        make = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long)(place)
        # What is mapped from here on stays where it is.
        ranges = _movable()
        size = arrange(ranges)
        os.ftruncate(image, size)
        calls = _calls(ranges, image)
        made = make(ctypes.addressof(calls), len(calls))
        libc.munmap(place, mmap.PAGESIZE)
        if made < len(ranges):
            # Nothing was mapped yet.
            raise OSError(f"the range at {ranges[made].start:x} can't be copied")
        fcntl.fcntl(image, fcntl.F_ADD_SEALS, SEALS)
        _use_huge_pages(libc, image, size)
        return size
    finally:
        os.close(image)
        os.close(code)


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


def _use_huge_pages(libc: ctypes.CDLL, image: int, size: int) -> None:
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


def _calls(ranges: list[Range], image: int) -> ctypes.Array[CALL]:
    """First all copies, then all mappings: as long as a copy may fail, nothing has changed."""
    calls = (CALL * (2 * len(ranges)))()
    flags = mmap.MAP_PRIVATE | MAP_FIXED
    for number, part in enumerate(ranges):
        size, place = part.size, part.place
        calls[number][:] = (PWRITE64, image, part.start, size, place, 0, 0, size)
        calls[len(ranges) + number][:] = (MMAP, part.start, size, part.rights, flags, image, place, part.start)
    return calls
