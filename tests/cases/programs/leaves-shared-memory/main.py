"""Leaves a file in /dev/shm and a System V segment, which outlive a process."""

import ctypes
from pathlib import Path

from common import PLACES, write

Path("/dev/shm", PLACES["shm"]).write_bytes(b"left")
ctypes.CDLL(None).shmget(PLACES["shm_key"], 4096, 0o1600)
write()
