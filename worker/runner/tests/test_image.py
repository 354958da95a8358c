"""Memory that is moved into a file: it holds the same, everybody goes on, and a fork has little to copy."""

import json
import os
import subprocess
import sys
import unittest

from sortie_runner.image import HUGE, Range, arrange

# In a process of its own, for there is no way back.
PROGRAM = """
import json, os, resource, ssl
from sortie_runner import image, syscalls

class Thing:
    def __init__(self, number):
        self.text, self.parts = f"text {number}", [("a", number), {"b": f"other {number}"}]

things = [Thing(number) for number in range(50_000)]

def own_memory():
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("RssAnon:"))

def mappings():
    with open("/proc/self/maps") as told:
        return len(told.readlines())

def whole(some):
    return all(thing.text == f"text {number}" and thing.parts[1]["b"] == f"other {number}" for number, thing in some)

before = own_memory(), mappings()
moved = image.move(syscalls.Maker())
after = own_memory(), mappings()
numbered = list(enumerate(things))
assert whole(numbered)

# What one process writes the others don't see, and it still can start programs, threads and extensions.
if os.fork() == 0:
    for thing in things:
        thing.text = "changed"
    os._exit(0 if things[7].text == "changed" else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert whole(numbered)
things += [Thing(number) for number in range(50_000, 100_000)]
assert whole(enumerate(things))
ssl.create_default_context()
import sqlite3
assert sqlite3.connect(":memory:").execute("SELECT 7").fetchone() == (7,)
files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
         and os.path.islink(f"/proc/self/fd/{name}")]
assert not [name for name in files if "memfd" in name], files
print(json.dumps([moved, before, after]))
"""


@unittest.skipUnless(os.uname().machine == "x86_64", "memory is moved on this machine only")
class Image(unittest.TestCase):
    def test_nothing_is_lost_and_a_fork_has_little_to_copy(self) -> None:
        told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
        self.assertEqual(told.returncode, 0, told.stderr)
        moved, (own, mappings), (own_after, mappings_after) = json.loads(told.stdout)
        self.assertGreater(moved, own * 1024 // 2)
        self.assertLess(own_after, own / 4)
        self.assertLess(mappings_after, mappings)

    def test_ranges_lie_apart_and_large_ones_as_they_lie_in_memory(self) -> None:
        page = 4096
        sizes = [3 * page, 2 * HUGE + page, HUGE - page, page, HUGE, 5 * page, 40 * page]
        ranges, address = [], 7 * page
        for size in sizes:
            ranges.append(Range(address, address + size, 0))
            address += size + 11 * page
        total = arrange(ranges)
        end = 0
        for part in sorted(ranges, key=lambda part: part.place):
            self.assertGreaterEqual(part.place, end)
            self.assertEqual(part.place % page, 0)
            end = part.place + part.size
        self.assertEqual(end, total)
        self.assertEqual([part.place % HUGE for part in ranges if part.size >= HUGE],
                         [part.start % HUGE for part in ranges if part.size >= HUGE])
        # What large ranges leave free is used: there is less than a huge page more than needed for each.
        self.assertLess(total, sum(sizes) + 2 * HUGE)
        self.assertLess(ranges[0].place, ranges[1].place)
