"""Each child stays below the limit, together they pass it."""

import os
import time

from common import MIB

for _ in range(2):
    os.fork()
kept = bytearray(70 * MIB)
time.sleep(5)
