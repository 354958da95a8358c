"""Starts the master of a worker's slots: `python -I -B <this directory> SETTINGS` (JSON, see `master.Settings`).

The directory leaves the import path at once, so a handler's own names never meet ours.
"""

import sys

from sortie_runner import forks

# Before the first module that has something to do around forks.
forks.guard()

from sortie_runner import master  # noqa: E402

sys.path.pop(0)
master.main(sys.argv.pop())
