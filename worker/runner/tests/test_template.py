"""The template's own tools: finding processes, emptying a directory that a handler has had."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from sortie_runner import template
from sortie_runner.emptying import Writable

RUNNER = Path(__file__).parent.parent
SETTINGS = {
    "libraries": False,
    "namespaces": False,
    "filters": None,
    "tmp_bytes": 1 << 20,
    "tmp_files": 64,
    "processes": 16,
    "file_bytes": 1 << 20,
}


class Template(unittest.TestCase):
    def test_children_are_found_and_the_dead_are_told_apart(self) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        os.close(read)
        self.assertIn(pid, template.children(os.getpid()))
        self.assertIn(pid, template.descendants(os.getpid()))
        self.assertNotEqual(template.state(pid), "Z")
        template.kill(pid)
        os.waitpid(pid, 0)
        self.assertEqual(template.state(pid), "Z")
        template.kill(pid)
        os.close(write)

    def test_a_directory_is_emptied_whatever_is_in_it(self) -> None:
        with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(outside, "kept"), "w"):
                pass
            os.symlink(outside, os.path.join(directory, "link"))
            deep = os.path.join(directory, "locked", "deep")
            os.makedirs(deep)
            with open(os.path.join(deep, "file"), "w"):
                pass
            os.chmod(deep, 0)
            os.chmod(os.path.dirname(deep), 0o500)
            Writable(directory).empty()
            self.assertEqual(os.listdir(directory), [])
            self.assertEqual(os.listdir(outside), ["kept"])

    def test_what_touched_a_directory_is_undone_even_if_nothing_is_in_it(self) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            writable = Writable(directory, own=True)
            writable.empty()

            def touch_times() -> None:
                os.utime(directory, (1, 1))

            def make_and_remove() -> None:
                os.close(os.open(f"{directory}/file", os.O_CREAT))
                os.unlink(f"{directory}/file")

            def lock() -> None:
                os.chmod(directory, 0)

            def make_and_set_times_back() -> None:
                os.close(os.open(f"{directory}/file", os.O_CREAT))
                os.utime(directory, (0, 0))

            for change in touch_times, make_and_remove, lock, make_and_set_times_back:
                change()
                writable.empty()
                told = os.stat(directory)
                self.assertEqual((told.st_mtime, told.st_atime, told.st_mode & 0o777), (0, 0, 0o700), change.__name__)
                # Last, for looking changes the time.
                self.assertEqual(os.listdir(directory), [], change.__name__)
                os.utime(directory, (0, 0))

    def test_a_directory_does_not_tell_that_nobody_touched_it(self) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            writable = Writable(directory, own=True)
            writable.empty()
            before, until = os.stat(directory).st_ctime_ns, time.monotonic() + 10
            # The kernel's clock for this may stand still for some milliseconds.
            while os.stat(directory).st_ctime_ns == before:
                self.assertLess(time.monotonic(), until, "the time of its last change stays")
                writable.empty()

    def test_a_directory_that_became_a_link_is_not_touched(self) -> None:
        with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as parent:
            path = os.path.join(parent, "link")
            os.mkdir(path)
            directory = Writable(path)
            os.rmdir(path)
            os.symlink(outside, path)
            with self.assertRaises(NotADirectoryError):
                directory.empty()

    def test_it_ends_with_its_processes_when_the_worker_is_gone(self) -> None:
        master, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, slot = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryDirectory() as parent:
            directory = os.path.join(parent, "slot")
            os.mkdir(directory)
            command = [sys.executable, "-I", "-B", str(RUNNER), json.dumps(SETTINGS)]
            with subprocess.Popen(command, stdin=theirs) as process:
                theirs.close()
                self.assertEqual(json.loads(master.recv(4096))["kind"], "ready")
                request = json.dumps({"kind": "slot", "directory": directory}).encode()
                socket.send_fds(master, [request], [slot.fileno()])
                slot.close()
                told, descriptors = {}, []
                while "spare" not in told:
                    packet, sent, _, _ = socket.recv_fds(ours, 4096, 7)
                    told[json.loads(packet)["kind"]] = sent
                    descriptors += sent
                # The worker dies with something unread: the socket is reset, not just closed.
                ours.send(b'{"kind":"sweep","keep":true,"rehearse":true}')
                select.select([ours], [], [], 30)
                ours.close()
                master.close()
                self.assertEqual(process.wait(30), 0)
                # The template and its call's process are gone: a pidfd is readable then.
                for pidfd in (told["template"][0], told["spare"][6]):
                    self.assertEqual(select.select([pidfd], [], [], 30)[0], [pidfd])
            self.assertFalse(os.path.exists(directory))
            for descriptor in descriptors:
                os.close(descriptor)
