"""Progress on the screen: of a run (its output and a bar of opened videos), of counted work, and of downloads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dfdc_kit.cli.console import ReaderGoneError, err, plain
from dfdc_kit.formatting import format_bytes, format_time, plural


class Screen:
    """Listens to a run. Draws a bar on a terminal; writes plain lines into a file or a pipe."""

    def __init__(self, console: Console, *, show_output: bool) -> None:
        self._console = console
        self._show_output = show_output
        self._line = b""
        self._drawing = threading.Lock()  # held while output is written, which blocks on a paused terminal
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("[dim]{task.fields[name]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line:
            self.output(b"\n")
        with self._drawing, self._hide_on_error():
            self._progress.stop()

    def staged(self, done: int, total: int) -> None:
        """`done` of `total` videos are in place."""
        self._show("staging", "", done, total)

    def opened(self, name: str, count: int, total: int) -> None:
        """The submission has opened `count` different videos."""
        self._show("running", name, count, total)

    def output(self, data: bytes) -> None:
        """Show complete lines of what the submission prints; lines longer than LINE_BYTES are cut."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[:LINE_BYTES]
        if not self._show_output:
            return
        if self._console.is_terminal and len(lines) > MAX_LINES:  # drawing more would slow the run down
            lines[:-MAX_LINES] = [f"... {plural(len(lines) - MAX_LINES, 'line')}: see log.txt".encode()]
        with self._drawing:
            for line in lines:
                last = line[:LINE_BYTES].removesuffix(b"\r").rsplit(b"\r", 1)[-1]  # CR LF ends a line of a terminal
                text = last.decode("utf-8", errors="replace")
                with self._hide_on_error():
                    self._progress.console.print(f"[dim]|[/] {plain(text)}", soft_wrap=True)

    @contextmanager
    def _hide_on_error(self) -> Iterator[None]:
        """Where nothing can be written any more (disk full, pipe closed), the run continues without output."""
        try:
            yield
        except (ReaderGoneError, OSError):
            self._show_output, self._progress.disable = False, True

    def _show(self, what: str, name: str, done: int, total: int) -> None:
        with self._hide_on_error():
            self._draw(what, name, done, total)

    def _draw(self, what: str, name: str, done: int, total: int) -> None:
        if self._task is None or self._progress.tasks[-1].description != what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total, name=name)
        self._progress.update(self._task, completed=done, total=total, name=name)


LINE_BYTES = 2000
MAX_LINES = 50  # of one chunk of output (64 KiB) on a terminal


COUNT_LINE_EVERY_S = 30.0


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function (done, total) that shows progress on standard error, for work that Ctrl-C only interrupts."""
    try:
        with _bar(what) if err.is_terminal else nullcontext(_CountLines(what).update) as update:
            yield update
    except KeyboardInterrupt:
        err.print("Stopped. Run the same command again to continue.")
        raise typer.Exit(130) from None


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=err, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _CountLines:
    """A line every COUNT_LINE_EVERY_S, with an estimate of the remaining time."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = self._printed = time.monotonic()
        self._first: int | None = None

    def update(self, done: int, total: int) -> None:
        self._first = done if self._first is None else self._first
        now = time.monotonic()
        if now - self._printed < COUNT_LINE_EVERY_S or done == self._first:
            return
        self._printed = now
        left_s = (now - self._started) / (done - self._first) * (total - done)
        err.print(f"{self._what}: {done:,} of {total:,}, about {format_time(left_s, 2)} left", soft_wrap=True)


LINE_EVERY_S = 10.0
LARGE_BYTES = 16 << 20  # smaller files get no lines when piped


class TransferScreen:
    """Progress of file transfers: bars on a terminal, a line per LINE_EVERY_S into a file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, _TransferLines] = {}
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
        """A transfer starts, or continues at `have_bytes`."""
        with self._lock:
            self._remove(name)
            self._tasks[name] = self._progress.add_task(plain(name), total=size_bytes, completed=have_bytes)
            self._lines[name] = line = _TransferLines(name, have_bytes, size_bytes)
            if self._progress.disable and (size_bytes or 0) >= LARGE_BYTES:
                self._print(line.first_line())

    def advanced(self, name: str, count_bytes: int) -> None:
        """`count_bytes` more have arrived."""
        with self._lock:
            if name not in self._tasks:
                return
            self._progress.advance(self._tasks[name], count_bytes)
            if self._progress.disable and (text := self._lines[name].advanced(count_bytes)):
                self._print(text)

    def ended(self, name: str) -> None:
        """The transfer is complete or was given up."""
        with self._lock:
            self._remove(name)

    def info(self, sentence: str) -> None:
        """Print a sentence on a line of its own."""
        with self._lock:
            self._print(sentence)

    def _remove(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))

    def _print(self, text: str) -> None:
        self._progress.console.print(plain(text), soft_wrap=True)


class _TransferLines:
    """The lines about one file, without a terminal."""

    def __init__(self, name: str, have_bytes: int, size_bytes: int | None) -> None:
        self._name, self._size_bytes = name, size_bytes
        self._start_bytes = self._bytes = have_bytes
        self._start_s = self._printed_s = time.monotonic()

    def first_line(self) -> str:
        size = format_bytes(self._size_bytes) if self._size_bytes else "size unknown"
        return f"{self._name}: {size}" + (f", continuing at {format_bytes(self._bytes)}" if self._bytes else "")

    def advanced(self, count_bytes: int) -> str:
        """A line, if LINE_EVERY_S have passed since the last one; else empty."""
        self._bytes += count_bytes
        now_s = time.monotonic()
        if now_s - self._printed_s < LINE_EVERY_S:
            return ""
        self._printed_s = now_s
        rate = (self._bytes - self._start_bytes) / (now_s - self._start_s)
        text = f"{self._name}: {format_bytes(self._bytes)}"
        if self._size_bytes:
            left_s = (self._size_bytes - self._bytes) / max(rate, 1)
            share = self._bytes / self._size_bytes
            text += f" of {format_bytes(self._size_bytes)} ({share:.0%}), {format_time(left_s, 2)} left"
        return f"{text}, {format_bytes(rate)}/s"
