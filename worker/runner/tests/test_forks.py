"""Hooks around forks: guarded ones are called as ever, but not in the fork of a call."""

import subprocess
import sys
import unittest
from pathlib import Path

RUNNER = Path(__file__).parent.parent
# Registers two sets of hooks, forks with the function that is named, and prints who was called in both processes.
SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from sortie_runner import forks
if sys.argv[2] == "guarded":
    forks.guard()
called = []
sys.unraisablehook = lambda trouble: called.append(str(trouble.exc_value))
def hook(what):
    return lambda: called.append(what)
for name in "ab":
    os.register_at_fork(
        before=hook(f"before {name}"), after_in_parent=hook(f"parent {name}"), after_in_child=hook(f"child {name}")
    )
    os.register_at_fork(before=lambda: exec("raise OSError('trouble')"))
for wrong in ({}, {"before": 1}, {"during": hook("never")}):
    try:
        os.register_at_fork(**wrong)
    except TypeError:
        called.append("refused")
read, write = os.pipe()
pid = {"os": os, "forks": forks}[sys.argv[3]].__dict__[sys.argv[4]]()
if pid == 0:
    os.write(write, repr(called).encode())
    os._exit(0)
os.waitpid(pid, 0)
print(called, os.read(read, 4096))
"""


def called(*how: str) -> str:
    """What the script prints."""
    command = [sys.executable, "-I", "-B", "-c", SCRIPT, str(RUNNER), *how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Forks(unittest.TestCase):
    def test_a_handler_forks_as_ever(self) -> None:
        as_ever = called("plain", "os", "fork")
        before = "'trouble', 'before b', 'trouble', 'before a'"
        self.assertIn(f"['refused', 'refused', 'refused', {before}, 'parent a', 'parent b']", as_ever)
        self.assertEqual(called("guarded", "os", "fork"), as_ever)

    def test_a_call_forks_without_them(self) -> None:
        refused = "['refused', 'refused', 'refused']"
        self.assertEqual(called("guarded", "forks", "bare_fork"), f'{refused} b"{refused}"\n')
