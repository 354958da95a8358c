"""System calls one after the other, without a step of Python between them: a list of calls, each with what it may answer,
and a few instructions that make them.

Python writes to memory with every step that it takes. Where that must not happen (image.py), or would cost more than all
the calls (quick.py), this is how to do without.
"""

import ctypes
import mmap
import os
from typing import Any

# long make(long (*calls)[10], long count, long rounds): makes each call (number, six arguments) as long as the answers are
# between the least and the most that are expected (the eighth and the ninth), and all of them so many times; puts each
# answer behind (the tenth); how many were made in the last round.
CODE = bytes.fromhex(
    "53 55 4154 4155 4156"  # push rbx; push rbp; push r12; push r13; push r14
    "4889fd 4989f4 4989d6"  # mov rbp, rdi; mov r12, rsi; mov r14, rdx
    "4889eb 4531ed"  # round: mov rbx, rbp; xor r13d, r13d
    "4d39e5 7436"  # next: cmp r13, r12; je again
    "488b03 488b7b08 488b7310 488b5318"  # mov rax, [rbx]; mov rdi, [rbx+8]; mov rsi, [rbx+16]; mov rdx, [rbx+24]
    "4c8b5320 4c8b4328 4c8b4b30"  # mov r10, [rbx+32]; mov r8, [rbx+40]; mov r9, [rbx+48]
    "0f05 48894348"  # syscall; mov [rbx+72], rax
    "483b4338 7c14 483b4340 7f0e"  # cmp rax, [rbx+56]; jl done; cmp rax, [rbx+64]; jg done
    "4883c350 49ffc5 ebc5"  # add rbx, 80; inc r13; jmp next
    "49ffce 75ba"  # again: dec r14; jnz round
    "4c89e8"  # done: mov rax, r13
    "415e 415d 415c 5d 5b c3"  # pop r14; pop r13; pop r12; pop rbp; pop rbx; ret
)
# The machine whose code and numbers of calls these are.
MACHINE = "x86_64"
FIELDS = 10
CALL = ctypes.c_int64 * FIELDS
ANSWER = 9
# Whatever a call may answer.
LEAST, MOST = -(2**63), 2**63 - 1
MAP_FAILED = ctypes.c_void_p(-1).value

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


class Unavailable(OSError):
    """This machine, or the host, doesn't let us."""


class Calls:
    """A list of calls, in memory of its own: what is written there as they are made is on no other page."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []

    def add(self, number: int, *arguments: int, least: int, most: int | None = None) -> int:
        """Adds a call, and what it may answer; its place."""
        most = least if most is None else most
        self._rows.append((number, *arguments, *[0] * (6 - len(arguments)), least, most, 0))
        return len(self._rows) - 1

    def close(self) -> None:
        """No more will be added."""
        rows = (CALL * len(self._rows))(*self._rows)
        self._memory = mmap.mmap(-1, ctypes.sizeof(rows), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.write(rows)
        self.address, self.count = ctypes.addressof(type(rows).from_buffer(self._memory)), len(rows)
        self._fields = memoryview(self._memory).cast("q")

    def answer(self, place: int) -> int:
        """What a call has answered last; 0 if it was never made, or forgotten."""
        return self._fields[place * FIELDS + ANSWER]

    def forget(self, place: int) -> None:
        """Takes the last answer away."""
        self._fields[place * FIELDS + ANSWER] = 0


class Maker:
    """Makes calls. What it needs is there when it is made, and stays where it is."""

    def __init__(self) -> None:
        if os.uname().machine != MACHINE:
            raise Unavailable(f"it is known for {MACHINE} only")
        code = os.memfd_create("code", os.MFD_CLOEXEC)
        try:
            os.write(code, CODE)
            place = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, code, 0)
        finally:
            os.close(code)
        if place == MAP_FAILED:
            raise Unavailable(ctypes.get_errno(), "no memory that can be executed")
        # One that keeps the interpreter's lock: letting go of it would be something to do in between.
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
        self._make: Any = kind(place)

    def make(self, calls: Calls, rounds: int = 1) -> int:
        """Makes all of the calls, so many times; stops at the first with another answer than it may have. How many of
        them had theirs in the last round."""
        return self._make(calls.address, calls.count, rounds)

    def answer(self, number: int, *arguments: int) -> int:
        """What one call answers: minus an error number, if that is it."""
        calls = Calls()
        place = calls.add(number, *arguments, least=LEAST, most=MOST)
        calls.close()
        self.make(calls)
        return calls.answer(place)
