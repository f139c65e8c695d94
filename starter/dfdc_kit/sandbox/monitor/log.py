"""The log of a job: everything that it prints, up to a limit."""

from collections import deque
from pathlib import Path
from typing import Self

from dfdc_kit.errors import OutputError

TAIL_BYTES = 1 << 16  # kept of a log that was cut: tracebacks are at the end


class Log:
    """A log file of limited size: the beginning and, if something was dropped, the end. Raises OutputError."""

    def __init__(self, path: Path, limit_bytes: int | None) -> None:
        self.seen_bytes = 0
        self._path, self._limit = path, limit_bytes
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

    def write(self, data: bytes) -> None:
        """Keep `data` below the limit, then only the latest."""
        kept = len(data) if self._limit is None else max(0, self._limit - self.seen_bytes)
        self.seen_bytes += len(data)
        self._write(data[:kept])
        if data[kept:]:
            self._tail.append(data[kept:])
            self._tail_bytes += len(data[kept:])
            while self._tail_bytes - len(self._tail[0]) >= TAIL_BYTES:
                self._tail_bytes -= len(self._tail.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            if self._limit is not None and self._tail_bytes:
                dropped = self.seen_bytes - self._limit - self._tail_bytes
                self._write(b"\n[dfdc: %d bytes of output dropped here]\n" % dropped + b"".join(self._tail))

    def _write(self, data: bytes) -> None:
        try:
            while data:  # a nearly full disk takes a part
                data = data[self._file.write(data) :]
        except OSError as error:
            raise OutputError(f"Cannot write {self._path}: {error.strerror}.") from error


def last_line(path: Path) -> str:
    """The last line of a log, decoded leniently; empty if there is none."""
    lines = path.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
