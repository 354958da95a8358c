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
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from socket import MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET

from . import bounds, child
from .emptying import FS_IOC_SETFLAGS, MODE, Writable
from .syscalls import MOST, Calls, Maker, Unavailable, libc

# The worker's wish (worker/src/python/slot.rs), which no other is as long as, and our answer.
NEXT = b'{"kind":"next","rehearse":0}'
NEXT_REHEARSED = b'{"kind":"next","rehearse":1}'
SPARE = json.dumps({"kind": "spare", "leftovers": 0}).encode()
# Where a wish says whether it is the second.
REHEARSES, YES = len(NEXT) - 2, ord("1")
# Where the process of a call has its pipes: one in the place of the control socket, the other behind it.
CALLS, ANSWERS = 3, 4

# asm/unistd_64.h
IOCTL, SCHED_YIELD, RECVFROM, SENDMSG, CLONE, KILL, FCHMOD, SETPGID = 16, 24, 45, 46, 56, 62, 91, 109
FLISTXATTR, WAITID, UTIMENSAT, DUP3, PIPE2, PRLIMIT64, CLOSE_RANGE = 196, 247, 280, 292, 293, 302, 436
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
        # struct rlimit64
        ("descriptor_limit", ctypes.c_uint64 * 2),
    ]


@dataclass(frozen=True)
class Heard:
    """What the worker wishes; empty if it is gone."""

    packet: bytes
    # The process that was forked last, if one was.
    pid: int | None


@dataclass(frozen=True)
class Way:
    """The calls of one template, and where among them something is to be known."""

    calls: Calls
    hears: int
    forks: int
    tells: int
    # The forked process makes itself that of a call.
    settles: Calls
    # What was heard last.
    packet: memoryview


class Quick:
    """Goes this way."""

    def __init__(self, maker: Maker, way: Way, run: Callable[[bool], None]) -> None:
        """`run` runs in each process of a call, and never returns; it is told whether there is time for a rehearsal."""
        self._maker = maker
        self._way = way
        self._run = run

    def hear(self) -> Heard:
        """Gives the worker one process after the other, until it wishes something else, or something is unusual."""
        way = self._way
        calls = way.calls
        calls.forget(way.forks)
        stopped = self._maker.make(calls, FOREVER)
        pid = calls.answer(way.forks)
        if stopped == way.forks and pid == 0:
            if self._maker.make(way.settles) != way.settles.count:
                os._exit(child.FAILED)
            self._run(way.packet[REHEARSES] == YES)
        if stopped >= way.forks and stopped != way.tells:
            error = -calls.answer(stopped)
            raise OSError(error, os.strerror(error))
        heard = max(calls.answer(way.hears), 0)
        packet = b"" if stopped == way.tells else bytes(way.packet[:heard])
        return Heard(packet, pid or None)


def rehearsal() -> Way:
    """A way that does nothing, and where one is the process of the next call at once."""
    calls, settles = Calls(), Calls()
    calls.add(SCHED_YIELD, least=1)
    settles.add(SCHED_YIELD, least=0)
    calls.close()
    settles.close()
    return Way(calls, 0, 0, 0, settles, memoryview(bytearray(NEXT_REHEARSED)))


def usual(maker: Maker, control: int, directories: list[Writable]) -> Way:
    """The way of a template with this control socket."""
    # All that can be missing, before anything is opened. The range is an empty one.
    tid, unused = tid_address(), first_free() + len(directories)
    if maker.answer(CLOSE_RANGE, ALL_DESCRIPTORS, ALL_DESCRIPTORS) != 0:
        raise Unavailable("the kernel can't close all descriptors from one on (Linux 5.9)")
    if unused <= ANSWERS:
        raise Unavailable("there is no room for the pipes of a call")
    opened = [os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY) for directory in directories]
    area = mmap.mmap(-1, ctypes.sizeof(Memory), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = Memory.from_buffer(area)

    def at(field: str) -> int:
        return ctypes.addressof(memory) + getattr(Memory, field).offset

    memory.spare = SPARE
    memory.pieces[:] = at("piece"), 1
    memory.piece[:] = at("spare"), len(SPARE)
    memory.ancillary_size = 16 + 4 * DESCRIPTORS
    memory.ancillary_kind[:] = SOL_SOCKET, SCM_RIGHTS
    memory.ancillaries[:] = at("ancillary_size"), memory.ancillary_size
    memory.descriptor_limit[:] = [bounds.descriptors()] * 2

    calls = Calls()
    hears = calls.add(RECVFROM, control, at("packet"), 1024, least=len(NEXT))
    calls.add(KILL, -1, signal.SIGKILL, least=0)
    # The process of the call, and no other.
    calls.add(WAITID, P_ALL, 0, 0, os.WEXITED, least=0)
    calls.add(WAITID, P_ALL, 0, 0, os.WEXITED, least=-ECHILD)
    for number, (descriptor, directory) in enumerate(zip(opened, directories, strict=True)):
        calls.add(FCHMOD, descriptor, MODE, least=0)
        calls.add(FLISTXATTR, descriptor, 0, 0, least=maker.answer(FLISTXATTR, descriptor, 0, 0))
        if directory.flags is not None:
            memory.flags[number].raw = directory.flags
            calls.add(IOCTL, descriptor, FS_IOC_SETFLAGS, at("flags") + 8 * number, least=0)
        calls.add(UTIMENSAT, descriptor, 0, at("times"), least=0)
    pipes = at("descriptors")
    calls.add(PIPE2, pipes, os.O_CLOEXEC, least=0)
    calls.add(PIPE2, pipes + 8, os.O_CLOEXEC, least=0)
    calls.add(PIPE2, pipes + 16, os.O_CLOEXEC, least=0)
    how = CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | signal.SIGCHLD
    forks = calls.add(CLONE, how, 0, pipes + 24, tid, least=1, most=MOST)
    tells = calls.add(SENDMSG, control, at("name"), MSG_NOSIGNAL, least=len(SPARE))
    calls.add(CLOSE_RANGE, unused, ALL_DESCRIPTORS, least=0)
    calls.close()

    settles = Calls()
    # The pipes are the first that were opened.
    settles.add(DUP3, unused + 5, 1, least=1)
    settles.add(DUP3, unused + 5, 2, least=2)
    settles.add(DUP3, unused, CALLS, os.O_CLOEXEC, least=CALLS)
    settles.add(DUP3, unused + 3, ANSWERS, os.O_CLOEXEC, least=ANSWERS)
    settles.add(CLOSE_RANGE, ANSWERS + 1, ALL_DESCRIPTORS, least=0)
    settles.add(SETPGID, least=0)
    settles.add(PRLIMIT64, 0, resource.RLIMIT_NOFILE, at("descriptor_limit"), least=0)
    settles.close()
    return Way(calls, hears, forks, tells, settles, memoryview(area))


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
