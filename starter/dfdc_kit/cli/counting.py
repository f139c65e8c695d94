"""What a person sees while many files are read: a bar with the time left; without a terminal, a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dfdc_kit.cli.console import err

LINE_EVERY_S = 30.0


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
        if now - self._said < LINE_EVERY_S or done == self._first:
            return
        self._said = now
        left_s = (now - self._started) / (done - self._first) * (total - done)
        err.print(f"{self._what}: {done:,} of {total:,}, about {left_s:.0f} s left", soft_wrap=True)
