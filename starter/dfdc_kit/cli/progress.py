"""What a person sees while a submission runs: its output, and a bar that counts the videos it has opened."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dfdc_kit.amounts import counted
from dfdc_kit.cli.console import ReaderGoneError, plain


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
            lines[:-MOST_LINES] = [f"... {counted(len(lines) - MOST_LINES, 'line')}: see log.txt".encode()]
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
