"""From one call to the next without Python: each has a process of its own, and what is unusual is left to the template."""

import json
import os
import select
import socket
import subprocess
import sys
import unittest
from typing import Any

from sortie_runner.quick import ANSWERS, CALLS, NEXT, NEXT_REHEARSED, SPARE

# The first process of a namespace, as a template is, with the socket as its standard input. It tells what it is left to
# do, as JSON; its forked processes do what they are told: Python.
PROGRAM = """
import ctypes, json, os, resource, socket
from sortie_runner import quick, syscalls
from sortie_runner.emptying import Writable

libc = ctypes.CDLL(None, use_errno=True)
user = os.getuid()
os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWPID | os.CLONE_NEWNS)
with open("/proc/self/uid_map", "w") as told:
    told.write(f"1000 {user} 1")
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
for kind, place, options in (("proc", "/proc", None), ("tmpfs", "/dev/shm", b"mode=700")):
    assert libc.mount(b"t", place.encode(), kind.encode(), 0, options) == 0, os.strerror(ctypes.get_errno())
control = socket.socket(fileno=os.dup(0))
if os.fork() == 0:
    os._exit(0)

def run(rehearse):
    told = {"pid": os.getpid(), "rehearse": rehearse, "directory": os.listdir("/dev/shm"), "group": os.getpgrp(),
            "descriptors": descriptors(), "most": resource.getrlimit(resource.RLIMIT_NOFILE),
            "inherited": [number for number in descriptors() if os.get_inheritable(number)]}
    os.write(quick.ANSWERS, json.dumps(told).encode())
    os.write(1, b"raw")
    while todo := os.read(quick.CALLS, 4096):
        exec(todo)
        os.write(quick.ANSWERS, b"done")
    os._exit(0)

def descriptors():
    return [number for number in sorted(map(int, os.listdir("/proc/self/fd"))) if os.path.exists(f"/proc/self/fd/{number}")]

resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
maker = syscalls.Maker()
forks = quick.Quick(maker, quick.usual(maker, control.fileno(), [Writable("/dev/shm", own=True)]), run)
control.send(json.dumps({"descriptors": descriptors()}).encode())
while True:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    heard = forks.hear()
    if not heard.packet:
        os._exit(0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    left = {"heard": heard.packet.decode(), "pid": heard.pid, "faults": faults, "descriptors": descriptors()}
    control.send(json.dumps(left).encode())
    if heard.packet == quick.NEXT:
        # What the template does about it.
        try:
            while os.wait():
                pass
        except ChildProcessError:
            pass
        os.listxattr("/dev/shm") and os.removexattr("/dev/shm", "user.x")
        if os.fork() == 0:
            os._exit(0)
"""


@unittest.skipUnless(os.uname().machine == "x86_64", "it is known for this machine only")
class Quick(unittest.TestCase):
    def setUp(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(30)
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=theirs)
        theirs.close()
        self.opened: list[int] = []
        self.descriptors = self.told()["descriptors"]

    def tearDown(self) -> None:
        self.ours.close()
        for descriptor in self.opened:
            os.close(descriptor)
        self.assertEqual(self.process.wait(30), 0)

    def told(self) -> dict[str, Any]:
        return json.loads(self.ours.recv(4096))

    def next(self, wish: bytes = NEXT) -> list[int]:
        """Asks for the next process; its descriptors."""
        self.ours.send(wish)
        packet, descriptors, _, _ = socket.recv_fds(self.ours, 4096, 8)
        self.opened += descriptors
        self.assertEqual((packet, len(descriptors)), (SPARE, 7))
        return descriptors

    def do(self, process: list[int], source: str) -> None:
        os.write(process[1], source.encode())
        self.assertEqual(os.read(process[2], 4096), b"done")

    def ended(self, process: list[int]) -> bool:
        return bool(select.select([process[6]], [], [], 30)[0])

    def test_each_call_has_a_process_of_its_own_and_the_template_writes_to_next_to_nothing(self) -> None:
        numbers = set()
        for number in range(20):
            process = self.next(NEXT_REHEARSED if number == 7 else NEXT)
            told = json.loads(os.read(process[2], 4096))
            self.assertEqual(told["rehearse"], number == 7)
            numbers.add(pid := told["pid"])
        self.assertEqual(len(numbers), 20)
        self.ours.send(b"another wish")
        left = self.told()
        self.assertEqual((left["heard"], left["pid"]), ("another wish", pid))
        self.assertEqual(left["descriptors"], self.descriptors)
        self.assertLess(left["faults"], 20 * 10)

    def test_the_process_of_a_call_has_its_pipes_and_nothing_else(self) -> None:
        process = self.next()
        told = json.loads(os.read(process[2], 4096))
        self.assertEqual(told["descriptors"], [0, 1, 2, CALLS, ANSWERS])
        self.assertEqual(told["inherited"], [0, 1, 2])
        self.assertEqual(told["group"], told["pid"])
        self.assertEqual(told["most"], [100, 100], "a quarter of what the template may have")
        self.assertEqual(os.read(process[4], 16), b"raw")

    def test_the_process_of_the_call_is_dead_before_the_next_is_there(self) -> None:
        first = self.next()
        os.read(first[2], 4096)
        os.write(first[1], b"import signal\nwhile True: signal.pause()")
        self.next()
        self.assertTrue(self.ended(first))

    def test_another_process_is_killed_and_left_to_the_template(self) -> None:
        first = self.next()
        os.read(first[2], 4096)
        self.do(first, "if os.fork() == 0:\n os.close(calls)\n os.read(os.pipe()[0], 1)")
        self.ours.send(NEXT)
        self.assertEqual(self.told()["heard"], NEXT.decode())
        # Nobody has an end of the pipe any more but we: it is dead.
        self.next()
        os.close(first[3])
        self.opened.remove(first[3])
        self.assertEqual(os.read(first[2], 1), b"")

    def test_a_directory_is_made_as_it_was(self) -> None:
        process = self.next()
        os.read(process[2], 4096)
        self.do(process, "os.chmod('/dev/shm', 0)\nos.utime('/dev/shm', (5, 5))")
        process = self.next()
        self.assertEqual(json.loads(os.read(process[2], 4096))["directory"], [], "it can be read again")
        self.do(process, "told = os.stat('/dev/shm')\nassert (told.st_mode & 0o777, told.st_mtime) == (0o700, 0), told")

    def test_an_attribute_of_a_directory_is_left_to_the_template(self) -> None:
        process = self.next()
        os.read(process[2], 4096)
        os.write(process[1], b"os.setxattr('/dev/shm', 'user.x', b'1')")
        if os.read(process[2], 4096) != b"done":
            self.skipTest("this kernel has no attributes there")
        self.ours.send(NEXT)
        self.assertEqual(self.told()["heard"], NEXT.decode())
        self.next()

    def test_it_ends_when_the_worker_is_gone(self) -> None:
        self.next()
        self.ours.close()
        self.assertEqual(self.process.wait(30), 0)
