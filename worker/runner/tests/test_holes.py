"""What is made after holes are filled lies together."""

import subprocess
import sys
import unittest

# In a process of its own, in which holes are made first.
PROGRAM = """
from sortie_runner import holes

kept = [bytes(number % 480) for number in range(40_000)]
large = [bytearray(600 + number % 3_000) for number in range(4_000)]
del kept[::3], large[::3]

def pages():
    made = [bytes(number * 16) for number in range(1, 29) for _ in range(8)]
    made += [bytearray(600 + number) for number in range(60)]
    places = [id(thing) for thing in made if type(thing) is bytes]
    places += [holes.ctypes.addressof(holes.ctypes.c_char.from_buffer(thing)) for thing in made if type(thing) is bytearray]
    return len({place // 4096 for place in places})

before = pages()
holes.fill()
print(before, pages())
"""


class Holes(unittest.TestCase):
    def test_what_is_made_afterwards_is_on_fewer_pages(self) -> None:
        command = [sys.executable, "-c", PROGRAM]
        before, after = map(int, subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout.split())
        self.assertLess(after, 0.8 * before, (before, after))
