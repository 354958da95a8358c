"""The usual way from one call to the next, without a step of Python: the worker asks for the next process, that of the call
is killed and waited for, its directories are made as they were, and the next process is forked.

With Python it costs twice as much: every page that a step writes to was shared by the last fork, and is copied again. What
is unusual (another process, an attribute of a directory, another wish) gets an answer that is not expected, and Python goes
on from there: all of it can be done once more. What the call left in its directories the worker sees, and has it swept.

For a template that is the first process of its namespace: "all processes" are those of the slot.
"""

import ctypes
import json
import mmap
import os
import signal
import threading
from dataclasses import dataclass
from socket import MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET

from .emptying import FS_IOC_SETFLAGS, MODE, Writable
from .syscalls import MOST, Calls, Maker, Unavailable, libc

# The worker's wish (worker/src/python/slot.rs), which no other is as long as, and our answer.
NEXT = b'{"kind":"next","rehearse":0}'
NEXT_REHEARSED = b'{"kind":"next","rehearse":1}'
SPARE = json.dumps({"kind": "spare", "leftovers": 0}).encode()

# asm/unistd_64.h
IOCTL, RECVFROM, SENDMSG, CLONE, KILL, FCHMOD = 16, 45, 46, 56, 62, 91
FLISTXATTR, WAITID, UTIMENSAT, PIPE2, CLOSE_RANGE = 196, 247, 280, 293, 436
# linux/sched.h, linux/prctl.h, linux/wait.h, asm-generic/errno-base.h
CLONE_PIDFD, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x1000, 0x200000, 0x1000000
PR_GET_TID_ADDRESS = 40
P_ALL, ECHILD = 0, 10
ALL_DESCRIPTORS = 2**32 - 1
FOREVER = MOST

# Three pipes, of calls, answers and raw output, each with its reading end first; and the pidfd.
DESCRIPTORS = 7


class Memory(ctypes.Structure):
    """What the calls read and write."""

    _fields_ = [
        ("packet", ctypes.c_char * 1024),
        # struct msghdr: no name, one piece, one ancillary message (struct cmsghdr), no flags.
        ("name", ctypes.c_uint64 * 2),
        ("pieces", ctypes.c_uint64 * 2),
        ("ancillaries", ctypes.c_uint64 * 2),
        ("message_flags", ctypes.c_uint64),
        ("piece", ctypes.c_uint64 * 2),
        ("ancillary_size", ctypes.c_uint64),
        ("ancillary_kind", ctypes.c_int32 * 2),
        ("descriptors", ctypes.c_int32 * (DESCRIPTORS + 1)),
        ("spare", ctypes.c_char * 64),
        ("times", ctypes.c_int64 * 4),
        ("flags", ctypes.c_char * 8 * 8),
    ]


@dataclass(frozen=True)
class Forked:
    """We are the process of the next call. Its pipes: the reading and the writing end of each."""

    pipes: list[int]
    rehearse: bool


@dataclass(frozen=True)
class Heard:
    """What the worker wishes; empty if it is gone."""

    packet: bytes
    # The process that was forked last, if one was.
    pid: int | None


class Quick:
    """The calls of one template."""

    def __init__(self, maker: Maker, control: int, directories: list[Writable]) -> None:
        # All that can be missing, before anything is opened. The range is an empty one.
        tid, unused = tid_address(), first_free() + len(directories)
        if maker.answer(CLOSE_RANGE, ALL_DESCRIPTORS, ALL_DESCRIPTORS) != 0:
            raise Unavailable("the kernel can't close all descriptors from one on (Linux 5.9)")
        self._maker = maker
        self._opened = [os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY) for directory in directories]
        area = mmap.mmap(-1, ctypes.sizeof(Memory), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory = memory = Memory.from_buffer(area)
        memory.spare = SPARE
        memory.pieces[:] = self._at("piece"), 1
        memory.piece[:] = self._at("spare"), len(SPARE)
        memory.ancillary_size = 16 + 4 * DESCRIPTORS
        memory.ancillary_kind[:] = SOL_SOCKET, SCM_RIGHTS
        memory.ancillaries[:] = self._at("ancillary_size"), memory.ancillary_size

        calls = self._calls = Calls()
        self._hears = calls.add(RECVFROM, control, self._at("packet"), 1024, least=len(NEXT))
        calls.add(KILL, -1, signal.SIGKILL, least=0)
        # The process of the call, and no other.
        calls.add(WAITID, P_ALL, 0, 0, os.WEXITED, least=0)
        calls.add(WAITID, P_ALL, 0, 0, os.WEXITED, least=-ECHILD)
        for number, (descriptor, directory) in enumerate(zip(self._opened, directories, strict=True)):
            calls.add(FCHMOD, descriptor, MODE, least=0)
            calls.add(FLISTXATTR, descriptor, 0, 0, least=maker.answer(FLISTXATTR, descriptor, 0, 0))
            if directory.flags is not None:
                memory.flags[number].raw = directory.flags
                calls.add(IOCTL, descriptor, FS_IOC_SETFLAGS, self._at("flags") + 8 * number, least=0)
            calls.add(UTIMENSAT, descriptor, 0, self._at("times"), least=0)
        pipes = self._at("descriptors")
        calls.add(PIPE2, pipes, os.O_CLOEXEC, least=0)
        calls.add(PIPE2, pipes + 8, os.O_CLOEXEC, least=0)
        calls.add(PIPE2, pipes + 16, os.O_CLOEXEC, least=0)
        how = CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | signal.SIGCHLD
        self._forks = calls.add(CLONE, how, 0, pipes + 24, tid, least=1, most=MOST)
        self._tells = calls.add(SENDMSG, control, self._at("name"), MSG_NOSIGNAL, least=len(SPARE))
        calls.add(CLOSE_RANGE, unused, ALL_DESCRIPTORS, least=0)
        calls.close()

    def hear(self) -> Forked | Heard:
        """Gives the worker one process after the other, until it wishes something else, or something is unusual."""
        calls = self._calls
        calls.forget(self._forks)
        stopped = self._maker.make(calls, FOREVER)
        pid = calls.answer(self._forks)
        if stopped == self._forks and pid == 0:
            return Forked(self._memory.descriptors[:6], self._memory.packet.startswith(NEXT_REHEARSED))
        if stopped >= self._forks and stopped != self._tells:
            error = -calls.answer(stopped)
            raise OSError(error, os.strerror(error))
        heard = max(calls.answer(self._hears), 0)
        packet = b"" if stopped == self._tells else ctypes.string_at(self._at("packet"), heard)
        return Heard(packet, pid or None)

    def close(self) -> None:
        """Closes what the process of a call needs not have."""
        for descriptor in self._opened:
            os.close(descriptor)

    def _at(self, field: str) -> int:
        return ctypes.addressof(self._memory) + getattr(Memory, field).offset


def first_free() -> int:
    """The number from which on no descriptor is open, while each below it is: what is opened next lies there."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    opened = sorted(int(name) for name in os.listdir(listing))
    os.close(listing)
    if opened[: listing + 1] != list(range(listing + 1)) or len(opened) > listing + 2:
        raise Unavailable(f"the descriptors {opened} don't lie together")
    return listing


def tid_address() -> int:
    """Where the C library keeps the number of this thread, which the kernel is to set in a forked process."""
    address = ctypes.c_uint64()
    libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address))
    if not address.value or ctypes.c_int32.from_address(address.value).value != threading.get_native_id():
        raise Unavailable("it is not known where the C library keeps the number of a thread")
    return address.value
