"""A call that is rehearsed in the master leaves nothing of itself there."""

import subprocess
import sys
import unittest

# In a process of its own: what is rehearsed stays in memory.
PROGRAM = """
import gc, os, resource, signal, sys, threading
from sortie_runner import child, forks, rehearsal
from sortie_runner.syscalls import Maker, Unavailable

def state():
    opened = sorted(map(int, os.listdir("/proc/self/fd")))
    return (opened, signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ()), sys.stdout, sys.stderr,
            [resource.getrlimit(which) for which in (resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE)])

signal.signal(signal.SIGINT, signal.SIG_IGN)
before = state()
MAKER
outfit = rehearsal.outfit(maker)
assert state() == before, (state(), before)
# It can still have a call.
calls, to_call = os.pipe()
from_call, answers = os.pipe()
os.write(to_call, rehearsal.encode("call", {**rehearsal.json.loads(child.REHEARSAL), "call": 7}))
if os.fork() == 0:
    child.main(outfit, calls, answers, None, False)
    os._exit(0)
print(os.read(from_call, 4096)[4:].decode())
"""


class Rehearsal(unittest.TestCase):
    def run_it(self, maker: str) -> str:
        command = [sys.executable, "-c", PROGRAM.replace("MAKER", maker)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout

    def test_it_leaves_nothing_and_a_call_can_follow(self) -> None:
        self.assertIn('"result","call":7', self.run_it("maker = None"))

    def test_the_usual_way_can_be_rehearsed_too(self) -> None:
        try:
            from sortie_runner.syscalls import Maker

            Maker()
        except OSError as unavailable:
            self.skipTest(str(unavailable))
        self.assertIn('"result","call":7', self.run_it("maker = Maker()"))
