"""A worker process: tasks in, one a line, and outcomes out.

`python -m dfdc_kit.competition.worker` is `dfdc judge-one` without the command line's imports, half of its start.
"""

import argparse
import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

import msgspec

from dfdc_kit.competition.judge import Judge, TaskOutcome
from dfdc_kit.competition.plan import load_plan
from dfdc_kit.errors import KitError


def judge_tasks(
    judging: Path, tasks: list[str] | None, engine: str, source: TextIO, sink: TextIO, *, stop_with_stdin: bool
) -> list[str]:
    """Judge `tasks`, or those read from `source` until it ends; the kinds of their outcomes, each written to `sink`.

    If `source` ends during a task, that run is stopped as by Ctrl-C: whoever started this process has gone.
    """
    judge = Judge(judging, load_plan(judging), engine)
    gc.freeze()  # modules and plan: else each collection would look through them
    reading = _Reader(source) if tasks is None or stop_with_stdin else None
    kinds: list[str] = []
    for task in tasks if tasks is not None else reading or []:
        outcome = judge.judge(task)
        _write(sink, outcome)
        kinds.append(outcome.kind)
    if reading is not None:
        reading.finish()
    return kinds


def _write(sink: TextIO, outcome: TaskOutcome) -> None:
    sink.write(msgspec.json.encode(outcome).decode() + "\n")
    sink.flush()


class _Reader:
    """Reads lines in a thread of its own; at the end of the source, the main thread gets SIGTERM if it is at work."""

    def __init__(self, source: TextIO) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._source, self._busy = source, True
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        while True:
            self._busy = False
            line = self._lines.get()
            if line is None:
                return
            self._busy = True
            yield line

    def finish(self) -> None:
        """The end of the source means nothing any more."""
        self._busy = False

    def _read(self) -> None:
        # os.read, not the text layer: its lock would be held while the process ends
        handle, rest = self._source.fileno(), b""
        while data := os.read(handle, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._lines.put(line.decode().strip())
        self._lines.put(None)
        if self._busy:
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    """Judge what the arguments (else those of the process) say; exit code 0 if each task has a result, else 3."""
    parser = argparse.ArgumentParser("dfdc judge-one")
    parser.add_argument("judging", type=Path)
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--engine", default="command")
    parser.add_argument("--cores", default="")
    parser.add_argument("--stop-with-stdin", action="store_true")
    given = parser.parse_args(arguments)
    if given.cores:
        os.sched_setaffinity(0, [int(core) for core in given.cores.split(",")])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        kinds = judge_tasks(
            given.judging,
            given.tasks or None,
            given.engine,
            sys.stdin,
            sys.stdout,
            stop_with_stdin=given.stop_with_stdin,
        )
    except KeyboardInterrupt:
        return 130
    except KitError as error:
        sys.stderr.write(f"error[{error.code}]: {error}\n  hint: {error.hint}\n")
        return error.exit_code
    return 0 if all(kind == "judged" for kind in kinds) else 3


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main())
