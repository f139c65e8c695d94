"""Folders so deep that no path leads to the files there; stops by itself at 32 MiB."""

import os
import time
from pathlib import Path

for _ in range(60):
    Path("d" * 200).mkdir()
    os.chdir("d" * 200)
for number in range(32):
    Path(str(number)).write_bytes(bytes(1 << 20))
time.sleep(5)
