"""Writes where a sandbox has its own folders in memory; at most 1 MiB each."""

from pathlib import Path

from common import MIB, attempt, write

for folder in ("/", "/dev", "/usr", "/usr/lib", "/kaggle/src", "/run", "/var/tmp"):
    file = Path(folder, "dfdc-conformance")
    attempt(folder, lambda file=file: file.write_bytes(bytes(MIB)))
    file.unlink(missing_ok=True) if file.exists() else None
write()
