"""Immortal objects: a forked process that uses what the master made writes to few of its pages."""

import json
import subprocess
import sys
import unittest

# In a process of its own, for there is no way back.
PROGRAM = """
import gc, json, os, resource, sys
from sortie_runner import immortal

class Thing:
    def __init__(self, number):
        self.text, self.parts = f"text {number}", [("a", number), {"b": f"other {number}"}]

# Enough to lie on hundreds of pages.
things = [Thing(number) for number in range(20_000)]
before = things[7].parts

def faults():
    pid, (ours, theirs) = None, os.pipe()
    if os.fork() == 0:
        gc.disable()
        began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [(thing.text, thing.parts[0], thing.parts[1]["b"]) for thing in things]
        os.write(theirs, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began).encode())
        os._exit(0)
    os.wait()
    return int(os.read(ours, 100))

counted = faults()
made = immortal.make_all()
gc.collect()
gc.freeze()
things.pop()
assert before == [("a", 7), {"b": "other 7"}]
print(json.dumps([counted, faults(), made, immortal.make_all()]))
"""


class Immortal(unittest.TestCase):
    def test_using_them_writes_to_no_page(self) -> None:
        told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        counted, uncounted, made, again = json.loads(told)
        self.assertGreater(made, 100_000)
        self.assertLess(again, 1_000)
        # What is left are the pages of the list that the process makes.
        self.assertLess(uncounted, counted / 2)
