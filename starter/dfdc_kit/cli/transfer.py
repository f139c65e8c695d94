"""What a person sees while files arrive: bars with bytes, rate and remaining time; plain lines where it is piped."""

import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dfdc_kit.amounts import amount, duration
from dfdc_kit.cli.console import plain

LINE_EVERY_S = 10.0
LARGE_BYTES = 16 << 20  # files of this size get lines of their own


class TransferScreen:
    """The watcher of transfers. On a terminal it draws bars; into a file or a pipe it writes a line now and then."""

    def __init__(self, console: Console) -> None:
        self._turn = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, _Line] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, name: str, have_bytes: int, size_bytes: int | None) -> None:
        """A file begins, or goes on, at `have_bytes`."""
        with self._turn:
            self._forget(name)
            self._tasks[name] = self._progress.add_task(plain(name), total=size_bytes, completed=have_bytes)
            self._lines[name] = line = _Line(name, have_bytes, size_bytes)
            if self._progress.disable and (size_bytes or 0) >= LARGE_BYTES:
                self._print(line.beginning())

    def advanced(self, name: str, count_bytes: int) -> None:
        """More bytes of it have arrived."""
        with self._turn:
            if name not in self._tasks:
                return
            self._progress.advance(self._tasks[name], count_bytes)
            if self._progress.disable and (text := self._lines[name].advanced(count_bytes)):
                self._print(text)

    def ended(self, name: str) -> None:
        """It is done, or given up."""
        with self._turn:
            self._forget(name)

    def said(self, sentence: str) -> None:
        """A sentence worth a line."""
        with self._turn:
            self._print(sentence)

    def _forget(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))

    def _print(self, text: str) -> None:
        self._progress.console.print(plain(text), soft_wrap=True)


class _Line:
    """The plain lines about one file."""

    def __init__(self, name: str, have_bytes: int, size_bytes: int | None) -> None:
        self._name, self._size_bytes = name, size_bytes
        self._start_bytes = self._bytes = have_bytes
        self._start_s = self._said_s = time.monotonic()

    def beginning(self) -> str:
        size = amount(self._size_bytes) if self._size_bytes else "size unknown"
        return f"{self._name}: {size}" + (f", going on at {amount(self._bytes)}" if self._bytes else "")

    def advanced(self, count_bytes: int) -> str:
        """A line, if it is time for one; else empty."""
        self._bytes += count_bytes
        now_s = time.monotonic()
        if now_s - self._said_s < LINE_EVERY_S:
            return ""
        self._said_s = now_s
        rate = (self._bytes - self._start_bytes) / (now_s - self._start_s)
        text = f"{self._name}: {amount(self._bytes)}"
        if self._size_bytes:
            left_s = (self._size_bytes - self._bytes) / max(rate, 1)
            text += f" of {amount(self._size_bytes)} ({self._bytes / self._size_bytes:.0%}), {duration(left_s)} left"
        return f"{text}, {amount(rate)}/s"
