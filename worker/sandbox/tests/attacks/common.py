"""What the attacks have in common: system calls by name, and the outcome of what is tried as a word."""

import ctypes
import errno
import fcntl
import functools
import itertools
import json
import mmap
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

import _socket

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# Name: number on x86_64, number on aarch64 (None: there is none).
CALLS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mlockall": (151, 230),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semget": (64, 190),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "setgroups": (116, 159),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
COLUMN = ["x86_64", "aarch64"].index(os.uname().machine)


def raw(number, *arguments):
    """A system call by number; its result, or the name of its error."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *wide)
    return result if result >= 0 else named(ctypes.get_errno())


def syscall(name, *arguments):
    """A system call by name; `done` or the name of its error. `absent` where the machine has none."""
    number = CALLS[name][COLUMN]
    if number is None:
        return "absent"
    result = raw(number, *arguments)
    return result if isinstance(result, str) else "done"


def named(number):
    return errno.errorcode.get(number, str(number))


def outcome(function, *arguments, **more):
    """`done`, or the name of the error."""
    try:
        function(*arguments, **more)
        return "done"
    except OSError as error:
        return named(error.errno) if error.errno else type(error).__name__
    except Exception as error:
        return type(error).__name__


def read(path):
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read(65536)


def in_child(function):
    """What `function` returns in a child process (as JSON); `killed by N` if a signal ended it."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    told = b""
    while piece := os.read(ours, 65536):
        told += piece
    os.close(ours)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"killed by {os.WTERMSIG(status)}"
    return json.loads(told)


def daemon(body):
    """Starts a daemon (double fork, setsid) that runs `body`; returns its number when it runs."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(theirs, str(os.getpid()).encode())
            os.close(theirs)
            try:
                body()
            finally:
                os._exit(0)
        os._exit(0)
    return int(os.read(ours, 20))


def forever():
    """Sleeps and takes no signal that can be refused."""
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def processes():
    """All processes that can be seen."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def frame_descriptors():
    """What the runner talks to the worker by: every socket or pipe but the standard streams."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and target.startswith(("socket:", "pipe:")):
            found.append(int(name))
    return found


def handle_event(data, context):
    return globals()[data["function"]](data, context)


def entries(directory):
    """What is in a directory of the slot's own, except where the interpreter lies below it and was mounted there."""
    return [name for name in os.listdir(directory) if not os.path.ismount(f"{directory}/{name}")]
