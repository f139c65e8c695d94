"""Reads files of the user who runs it."""

from pathlib import Path

from common import PLACES, attempt, write

for path in PLACES["home_files"]:
    attempt(path, Path(path).read_bytes)
write()
