"""What a person sees while a submission runs: its output, and a bar that counts the videos it has opened."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Self

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
from dfdc_kit.formatting import duration, format_bytes, plural


class Screen:
    """The audience of a run. On a terminal it draws a bar; into a file or a pipe it writes plain lines."""

    def __init__(self, console: Console, *, show_output: bool) -> None:
        self._console = console
        self._show_output = show_output
        self._line = b""
        self._at_work = threading.Lock()  # held while output is drawn, which a paused terminal makes long
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
        with self._at_work, self._or_blind():
            self._progress.stop()

    def staged(self, done: int, total: int) -> None:
        """`done` of `total` videos are in place."""
        self._show("staging", "", done, total)

    def opened(self, name: str, count: int, total: int) -> None:
        """The submission has opened `count` different videos."""
        self._show("running", name, count, total)

    def output(self, data: bytes) -> None:
        """Show whole lines of what the submission prints; a line without an end is cut."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[:LINE_BYTES]
        if not self._show_output:
            return
        if self._console.is_terminal and len(lines) > MOST_LINES:  # drawing more would take the run's own time
            lines[:-MOST_LINES] = [f"... {plural(len(lines) - MOST_LINES, 'line')}: see log.txt".encode()]
        with self._at_work:
            for line in lines:
                text = line[:LINE_BYTES].rsplit(b"\r", 1)[-1].decode("utf-8", errors="replace")
                with self._or_blind():
                    self._progress.console.print(f"[dim]|[/] {plain(text)}", soft_wrap=True)

    @contextmanager
    def _or_blind(self) -> Iterator[None]:
        """Where nothing can be shown any more (a full disk, a reader that is gone), the run goes on unseen."""
        try:
            yield
        except (ReaderGoneError, OSError):
            self._show_output, self._progress.disable = False, True

    def _show(self, what: str, name: str, done: int, total: int) -> None:
        with self._or_blind():
            self._draw(what, name, done, total)

    def _draw(self, what: str, name: str, done: int, total: int) -> None:
        if self._task is None or self._progress.tasks[-1].description != what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total, name=name)
        self._progress.update(self._task, completed=done, name=name)


LINE_BYTES = 2000
MOST_LINES = 50  # of one piece of output, 64 KiB, on a terminal


COUNT_LINE_EVERY_S = 30.0


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function to be told how many of how many are done, by work that goes on where it was after Ctrl-C.

    What it shows goes to standard error, and goes away.
    """
    try:
        with _bar(what) if err.is_terminal else nullcontext(_Lines(what).told) as told:
            yield told
    except KeyboardInterrupt:
        err.print("stopped; the same command goes on where it was")
        raise


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=err, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Lines:
    """A line every half minute, with a guess of the time left."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = self._said = time.monotonic()
        self._first: int | None = None

    def told(self, done: int, total: int) -> None:
        self._first = done if self._first is None else self._first
        now = time.monotonic()
        if now - self._said < COUNT_LINE_EVERY_S or done == self._first:
            return
        self._said = now
        left_s = (now - self._started) / (done - self._first) * (total - done)
        err.print(f"{self._what}: {done:,} of {total:,}, about {left_s:.0f} s left", soft_wrap=True)


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
        size = format_bytes(self._size_bytes) if self._size_bytes else "size unknown"
        return f"{self._name}: {size}" + (f", going on at {format_bytes(self._bytes)}" if self._bytes else "")

    def advanced(self, count_bytes: int) -> str:
        """A line, if it is time for one; else empty."""
        self._bytes += count_bytes
        now_s = time.monotonic()
        if now_s - self._said_s < LINE_EVERY_S:
            return ""
        self._said_s = now_s
        rate = (self._bytes - self._start_bytes) / (now_s - self._start_s)
        text = f"{self._name}: {format_bytes(self._bytes)}"
        if self._size_bytes:
            left_s = (self._size_bytes - self._bytes) / max(rate, 1)
            text += (
                f" of {format_bytes(self._size_bytes)} ({self._bytes / self._size_bytes:.0%}), {duration(left_s)} left"
            )
        return f"{text}, {format_bytes(rate)}/s"
