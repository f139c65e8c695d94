"""Fills the folder for temporary files."""

import tempfile
import time
from pathlib import Path

for number in range(1024):
    Path(tempfile.gettempdir(), str(number)).write_bytes(bytes(1 << 16))
time.sleep(5)
