"""Locks a slot in: namespaces of its own, a private directory, limits, no capabilities, the filter of system calls.

The outer sandbox (worker/sandbox) is there already; this is what each slot has for itself. Every step that fails ends
the slot: none is left out on the quiet. The steps that Python has no function for are called by `ctypes`.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .master import Settings

# What a slot has of its own, by the kernel's names; the first gives the right to the others.
NAMESPACES = {
    "user": os.CLONE_NEWUSER,
    "mnt": os.CLONE_NEWNS,
    "pid": os.CLONE_NEWPID,
    "ipc": os.CLONE_NEWIPC,
    "uts": os.CLONE_NEWUTS,
    "net": os.CLONE_NEWNET,
}
# What a slot can write to.
WRITABLE = ["/tmp", "/dev/shm"]
# Files of /proc that tell of the whole machine: keys of whoever has our user number, what hardware is doing, and locks:
# those of open file descriptions belong to no process, so each slot would see all.
COVERED = ["keys", "key-users", "interrupts", "softirqs", "locks"]
# sandbox::tree: the one user there is.
USER = 1000

# linux/mount.h, linux/prctl.h, linux/capability.h, linux/sockios.h, linux/if.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

libc = ctypes.CDLL(None, use_errno=True)


def tell(control: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Sends one packet to the worker."""
    socket.send_fds(control, [json.dumps(message).encode()], descriptors or [])


def enter_namespaces(control: socket.socket) -> None:
    """Goes on in the first process of new namespaces, and tells the worker how to kill it. The process that calls
    this ends here."""
    user, group = os.getuid(), os.getgid()
    for kind, flag in NAMESPACES.items():
        try:
            os.unshare(flag)
        except OSError as error:
            # The limit has room for the namespace of the master, and not for those of all slots.
            mend = f" (raise the sysctl user.max_{kind}_namespaces)" if error.errno == errno.ENOSPC else ""
            raise OSError(error.errno, f"a slot gets no {kind} namespace: {error.strerror}{mend}") from error
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{USER} {user} 1")
    write("/proc/self/gid_map", f"{USER} {group} 1")
    pid = os.fork()
    if pid != 0:
        tell(control, {"kind": "template"}, [os.pidfd_open(pid)])
        os._exit(0)


def adopt_orphans() -> None:
    """Makes us the parent of every daemon that a call leaves, where there are no process namespaces."""
    prctl("PR_SET_CHILD_SUBREAPER", PR_SET_CHILD_SUBREAPER, 1)


def furnish(settings: "Settings") -> socket.socket:
    """Mounts what is private, brings the loopback up; the socket of the way out. Needs all capabilities over the new
    namespaces, which are given up afterwards."""
    mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in COVERED:
        if os.path.exists(f"/proc/{name}"):
            mount("", f"/proc/{name}", MS_BIND, source="/dev/null")
    size = f"size={settings.tmp_bytes},nr_inodes={settings.tmp_files},mode=700"
    for directory in WRITABLE:
        interpreter = open_below(directory)
        mount("tmpfs", directory, MS_NOSUID | MS_NODEV, options=size)
        show_again(directory, interpreter)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def open_below(directory: str) -> dict[str, int]:
    """Where the interpreter's own directories lie below one that is about to be covered, open."""
    paths = {path for prefix in (sys.prefix, sys.base_prefix) for path in (prefix, os.path.realpath(prefix))}
    return {path: os.open(path, os.O_PATH) for path in sorted(paths) if path.startswith(directory + "/")}


def show_again(directory: str, places: dict[str, int]) -> None:
    """Makes them visible where they were. What leads to them is a mount too, so that no call can move or fill it."""
    made = set()
    for path, opened in places.items():
        top = "/".join(path.split("/")[: directory.count("/") + 2])
        if top != path and top not in made:
            os.mkdir(top)
            mount("tmpfs", top, MS_NOSUID | MS_NODEV, options="size=64k,mode=755")
            made.add(top)
        os.makedirs(path, exist_ok=True)
        mount("", path, MS_BIND | MS_REC, source=f"/proc/self/fd/{opened}")
        os.close(opened)
    for top in made:
        mount("", top, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def lock_down(settings: "Settings") -> None:
    """Gives up what this process and everything that it forks doesn't need. There is no way back from here."""
    bound(resource.RLIMIT_CORE, 0)
    bound(resource.RLIMIT_FSIZE, settings.file_bytes)
    bound(resource.RLIMIT_MEMLOCK, 8 * 1024 * 1024)
    bound(resource.RLIMIT_MSGQUEUE, 0)
    bound(resource.RLIMIT_RTPRIO, 0)
    # Queued signals and timers are memory of the kernel, which counts them for the user, over all slots.
    bound(resource.RLIMIT_SIGPENDING, 1024)
    if settings.namespaces:
        # The kernel counts processes in each user namespace by itself.
        bound(resource.RLIMIT_NPROC, settings.processes)
        drop_capabilities()
        # Nobody of the same user may look into the template, or into calls.
        prctl("PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0)
    prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1)
    if settings.filters is not None:
        with open(settings.filters, "rb") as file:
            install_filters(file.read())


def drop_capabilities() -> None:
    """Empties every set: effective, permitted, inheritable, bounding (the ambient one can't outlive the others)."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as told:
        last = int(told.read())
    for capability in range(last + 1):
        prctl("PR_CAPBSET_DROP", PR_CAPBSET_DROP, capability)
    header, data = struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    check("capset", libc.capset(header, data))


def install_filters(data: bytes) -> None:
    """Installs filters as sandbox::filters wrote them."""
    at = 0
    while at < len(data):
        (count,) = struct.unpack_from("I", data, at)
        program = ctypes.create_string_buffer(data[at + 4 : at + 4 + 8 * count], 8 * count)
        # struct sock_fprog: a count, padding, a pointer.
        described = struct.pack("HxxxxxxP", count, ctypes.addressof(program))
        prctl("PR_SET_SECCOMP", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described)
        at += 4 + 8 * count


def mount(kind: str, target: str, flags: int, options: str = "", source: str = "sortie") -> None:
    """Mounts a file system of the kernel's own, or a file over another."""
    done = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    check(f"mounting {target}", done)


def prctl(name: str, option: int, *arguments: int | bytes) -> None:
    """Calls prctl, whose arguments are as wide as pointers."""
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)[:4]]
    check(f"prctl {name}", libc.prctl(option, *wide))


def check(what: str, done: int) -> None:
    """Raises the error of a call that failed."""
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)}")


def bound(which: int, most: int) -> None:
    """Lowers a limit for good."""
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def write(path: str, text: str) -> None:
    """Writes a file of the kernel's in one step, as it demands."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
