"""Runs a command on a host that lacks one piece of what isolates handlers: `host.py PIECE COMMAND ...`.

The host is made poorer for real, for this process and all that it becomes: by a limit on namespaces, in a user
namespace of our own; by a mask over a part of /proc; by a filter of system calls; by a capability that is gone; by a
kernel that calls itself old. Works as root and as an ordinary user.
"""

import ctypes
import os
import platform
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

# linux/prctl.h, linux/capability.h, linux/personality.h
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 22, 24, 38, 39
SECCOMP_MODE_FILTER, CAP_SETUID, UNAME26 = 2, 7, 0x0020000
# linux/mount.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000
# The numbers of system calls.
CALLS = {
    "x86_64": {"prctl": 157, "seccomp": 317, "pivot_root": 155},
    "aarch64": {"prctl": 167, "seccomp": 277, "pivot_root": 41},
}[platform.machine()]


def check(what: str, done: int) -> None:
    if done < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def own_user_namespace(flags: int = 0) -> None:
    """Goes on in a user namespace where everybody who can be is who they are outside, and we may set limits."""
    user, group = os.getuid(), os.getgid()
    read, write = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        # Root may map everybody, but only from outside.
        os.read(read, 1)
        everybody = user == 0
        for name, own in (("uid_map", user), ("gid_map", group)):
            with open(f"/proc/{parent}/{name}", "w") as file:
                file.write("0 0 4294967295" if everybody else f"{own} {own} 1")
        os._exit(0)
    os.unshare(os.CLONE_NEWUSER | flags)
    if user != 0:
        with open("/proc/self/setgroups", "w") as file:
            file.write("deny")
    os.write(write, b"x")
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise OSError("the user namespace has no users")
    os.close(read)
    os.close(write)


def allow_namespaces(kind: str, most: int) -> None:
    """Bounds how many namespaces of a kind there may be in ours and in all below it."""
    own_user_namespace()
    with open(f"/proc/sys/user/max_{kind}_namespaces", "w") as file:
        file.write(str(most))


def mask_proc() -> None:
    """Hides a part of /proc, as containers do: who can't see a whole one may not mount another."""
    if os.getuid() == 0:
        os.unshare(os.CLONE_NEWNS)
    else:
        own_user_namespace(os.CLONE_NEWNS)
    check("mount", libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    check("mount", libc.mount(b"none", b"/proc/tty", b"tmpfs", ctypes.c_ulong(0), None))


def drop_setuid() -> None:
    """Root that can't become anybody else; for others, a namespace whose root is alone in it."""
    if os.getuid() == 0:
        check("prctl", libc.prctl(PR_CAPBSET_DROP, CAP_SETUID, 0, 0, 0))
        return
    texts = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    os.unshare(os.CLONE_NEWUSER)
    for name, text in texts.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def refuse(*calls: tuple[str, int | None]) -> None:
    """Has the kernel answer EPERM to these system calls, with that first argument where one is given."""
    program = [(0x20, 0, 0, 0)]  # Load the number of the call.
    for name, argument in calls:
        # Skip the answer if it is another.
        program.append((0x15, 0, 1 if argument is None else 3, CALLS[name]))
        if argument is not None:
            # Load the argument, and skip the answer if it is another.
            program += [(0x20, 0, 0, 16), (0x15, 0, 1, argument)]
        # The answer; then the number again for the next one.
        program += [(0x06, 0, 0, 0x00050000 | 1), (0x20, 0, 0, 0)]
    program.append((0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    described = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    check("prctl", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    check("prctl", libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0))


POORER = {
    "kernel": lambda: check("personality", libc.personality(UNAME26)),
    "user": lambda: allow_namespaces("user", 0),
    "nested_user": lambda: allow_namespaces("user", 1),
    "handler_user": drop_setuid,
    "mount": lambda: allow_namespaces("mnt", 0),
    "pid": lambda: allow_namespaces("pid", 0),
    "ipc": lambda: allow_namespaces("ipc", 0),
    "uts": lambda: allow_namespaces("uts", 0),
    "network": lambda: allow_namespaces("net", 0),
    "root": lambda: refuse(("pivot_root", None)),
    "proc": mask_proc,
    "no_new_privileges": lambda: refuse(("prctl", PR_GET_NO_NEW_PRIVS), ("prctl", PR_SET_NO_NEW_PRIVS)),
    "filter": lambda: refuse(("seccomp", None), ("prctl", PR_SET_SECCOMP)),
    # Room for the master, and not for a slot.
    "network_of_a_slot": lambda: allow_namespaces("net", 1),
}

POORER[sys.argv[1]]()
os.execv(sys.argv[2], sys.argv[2:])
