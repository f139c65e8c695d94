"""32 MiB without one line feed."""

import sys

from common import MIB, write

for _ in range(32):
    sys.stdout.write("x" * MIB)
print("last words")
write()
