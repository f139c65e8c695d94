"""Fills /dev/shm, which is memory that no process holds; at most 1 GiB."""

from pathlib import Path

from common import MIB

with Path("/dev/shm/dfdc-conformance").open("wb", buffering=0) as file:
    for _ in range(1024):
        if file.write(bytes(MIB)) < MIB:
            raise OSError("no space left")
print("ESCAPED: shared memory")
