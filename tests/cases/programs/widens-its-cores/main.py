"""Allows itself every core of the machine."""

import os

from common import write

os.sched_setaffinity(0, range(os.cpu_count()))
print("ESCAPED: cores" if len(os.sched_getaffinity(0)) > 1 else "held: cores")
write()
