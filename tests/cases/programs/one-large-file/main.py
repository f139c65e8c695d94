"""Writes one file endlessly; stops by itself at 200 MiB."""

from pathlib import Path

from common import MIB

with Path("large").open("wb") as file:
    for _ in range(200):
        file.write(bytes(MIB))
print("ESCAPED: one large file")
