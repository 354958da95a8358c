"""Starts the template process of one slot: `python -I -B <this directory>`.

The directory leaves the import path at once, so a handler's own names never meet ours.
"""

import sys

from sortie_runner import template

sys.path.pop(0)
template.main()
