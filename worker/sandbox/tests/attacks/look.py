"""What a slot looks like to a call: everything that an earlier one could have changed."""

import asyncio
import builtins
import gc
import hashlib
import json
import locale
import os
import resource
import signal
import socket
import stat
import sys
import threading


def handle_event(data):
    return {
        # The template's start: another number is another slot.
        "slot": open("/proc/1/stat").read().rpartition(") ")[2].split()[19],
        "files": {path: tree(path) for path in ("/tmp", "/dev/shm")},
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "descriptors": descriptors(),
        # Without the port of the gate, which another slot has another one of.
        "environment": {name: value.rstrip("0123456789") for name, value in os.environ.items()},
        "directory": os.getcwd(),
        "modules": hashlib.sha256(" ".join(sorted(sys.modules)).encode()).hexdigest(),
        "python": [json.dumps({"a": [1]}), json.dumps.__module__, len(dir(builtins)), len(sys.path), __name__],
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "limits": [resource.getrlimit(number) for number in range(16) if number != resource.RLIMIT_CPU],
        "scheduling": [os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
        "user": [os.getresuid(), os.getresgid(), os.getgroups()],
        "mask": mask(),
        "host": [socket.gethostname(), os.getsid(0), os.getpgrp() == os.getpid()],
        "status": status(),
        "mounts": len(open("/proc/self/mountinfo").readlines()),
        "unix sockets": len(open("/proc/net/unix").readlines()),
        "listening": [line.split()[1].partition(":")[0] for line in open("/proc/net/tcp") if line.split()[3] == "0A"],
        "locks": len(open("/proc/locks").readlines()) if os.path.exists("/proc/locks") else 0,
        "locale": locale.setlocale(locale.LC_ALL),
        "collector": [gc.isenabled(), gc.get_threshold()],
        "loop": type(asyncio.get_event_loop_policy()).__name__,
    }


def tree(path):
    """Everything about a writable directory but its times."""
    told, space = os.stat(path), os.statvfs(path)
    return {
        "entries": os.listdir(path),
        "mode": stat.filemode(told.st_mode),
        "owner": [told.st_uid, told.st_gid],
        "attributes": os.listxattr(path),
        "free": [space.f_bfree, space.f_ffree],
    }


def descriptors():
    """The kinds of what is open."""
    found = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
        except OSError:
            pass
    return found


def mask():
    told = os.umask(0)
    os.umask(told)
    return told


def status():
    """Rights and filters, as the kernel tells them."""
    wanted = ("Cap", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "Umask")
    return [line.strip() for line in open("/proc/self/status") if line.startswith(wanted)]
