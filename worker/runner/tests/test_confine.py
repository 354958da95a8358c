"""How a slot locks itself in: in processes of their own, for there is no way back. That nothing gets out of it is tested
by worker/sandbox/tests."""

import errno
import json
import os
import resource
import socket
import struct
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortie_runner import confine
from sortie_runner.master import Settings

# BPF_RET | BPF_K, SECCOMP_RET_ALLOW: a filter of one instruction that lets everything through.
ALLOW_ALL = struct.pack("IHBBI", 1, 6, 0, 0, 0x7FFF0000)


def settings(namespaces: bool, filters: str | None = None) -> Settings:
    """Limits that are easily told from those of the host."""
    return Settings(False, namespaces, filters, tmp_bytes=1 << 20, tmp_files=64, processes=16, file_bytes=1 << 20)


def elsewhere(body: Callable[[], Any]) -> Any:
    """What `body` returns in a process of its own, or in another that goes on for it; a text if it raises."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            told = body()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        told = json.load(answer)
    os.wait()
    return told


def status() -> dict[str, str]:
    """What the kernel tells about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limits() -> dict[str, tuple[int, int]]:
    """Some limits of this process."""
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "FSIZE", "NPROC")}


class Confine(unittest.TestCase):
    def test_a_limit_is_lowered_for_good_and_never_raised(self) -> None:
        def body() -> Any:
            confine.bound(resource.RLIMIT_NOFILE, 64)
            confine.bound(resource.RLIMIT_NOFILE, 128)
            return resource.getrlimit(resource.RLIMIT_NOFILE)

        self.assertEqual(elsewhere(body), [64, 64])

    def test_a_call_that_fails_is_an_error_with_its_name(self) -> None:
        with self.assertRaisesRegex(OSError, "prctl PR_NONE: EINVAL") as raised:
            confine.prctl("PR_NONE", 0x7FFFFFFF)
        self.assertEqual(raised.exception.errno, errno.EINVAL)

    def test_without_namespaces_limits_and_the_filter_remain(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(ALLOW_ALL + ALLOW_ALL)
            file.flush()

            def body() -> Any:
                confine.lock_down(settings(False, file.name))
                return status(), limits()

            told, bounds = elsewhere(body)
        self.assertEqual((told["NoNewPrivs"], told["Seccomp"]), ("1", "2"))
        self.assertEqual((bounds["CORE"], bounds["FSIZE"]), ([0, 0], [1 << 20, 1 << 20]))

    def test_a_filter_that_can_not_be_had_ends_the_slot(self) -> None:
        told = elsewhere(lambda: confine.lock_down(settings(False, "/nonexistent/filters")))
        self.assertIn("FileNotFoundError", told)
        # A jump beyond the end: the kernel refuses it.
        told = elsewhere(lambda: confine.install_filters(struct.pack("IHBBI", 1, 5, 0, 0, 7)))
        self.assertIn("PR_SET_SECCOMP: EINVAL", told)

    def test_in_namespaces_it_is_the_first_process_and_has_no_capability(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def body() -> Any:
            confine.enter_namespaces(theirs)
            listener = confine.furnish(settings(True))
            confine.lock_down(settings(True))
            with listener, socket.create_connection(listener.getsockname()) as peer:
                address = peer.getpeername()[0]
            # This interpreter may lie below /tmp.
            tmp = [name for name in os.listdir("/tmp") if not os.path.ismount(f"/tmp/{name}")]
            return os.getpid(), os.getuid(), tmp, address, status(), limits()

        pid, user, tmp, address, told, bounds = elsewhere(body)
        self.assertEqual((pid, user, tmp, address), (1, confine.USER, [], "127.0.0.1"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(told[name], 16), 0, name)
        self.assertEqual((told["NoNewPrivs"], bounds["NPROC"]), ("1", [16, 16]))
        packet, descriptors, _, _ = socket.recv_fds(ours, 4096, 4)
        self.assertEqual((json.loads(packet), len(descriptors)), ({"kind": "template"}, 1))
        for descriptor in descriptors:
            os.close(descriptor)
        ours.close()
        theirs.close()
