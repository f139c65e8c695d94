"""Fills the disk with small files; stops by itself at 64 MiB."""

import time
from pathlib import Path

for number in range(1024):
    Path(str(number)).write_bytes(bytes(1 << 16))
time.sleep(5)
