"""One process takes more and more memory; stops by itself at 1 GiB."""

import time

from common import MIB

kept = []
while len(kept) < 64:
    kept.append(bytearray(16 * MIB))
    time.sleep(0.03)
time.sleep(3)
