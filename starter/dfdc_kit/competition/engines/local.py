"""Worker processes on this machine, within a budget of cores and memory."""

import os
import selectors
import signal
import subprocess
from collections import deque
from pathlib import Path
from typing import Self

import psutil

from dfdc_kit.competition.engines import EngineOptions, decode_outcome, judge_command
from dfdc_kit.competition.judge import TaskOutcome
from dfdc_kit.competition.plan import Plan
from dfdc_kit.errors import UsageError
from dfdc_kit.formatting import format_bytes, plural
from dfdc_kit.profiles import Limits

WAIT_S = 0.2
STOP_S = 30.0  # a worker that is asked to stop removes its stage first
LOG = "workers.log"


class Worker:
    """One worker process that reads tasks from a pipe, one a line."""

    def __init__(self, judging: Path, cores: list[int]) -> None:
        command = judge_command(judging, "local", "--cores", ",".join(map(str, cores)))
        with (judging / LOG).open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent
            )
        self.cores = cores
        self.task = ""

    def start(self, task: str) -> None:
        """Have it judge `task`."""
        self.task = task
        try:
            os.write(self._stdin, f"{task}\n".encode())
        except BrokenPipeError:  # it has died, which `outcome` finds
            return

    def outcome(self) -> TaskOutcome:
        """The outcome of its task, after output arrived or ended."""
        assert self.process.stdout is not None  # noqa: S101 - as asked for above
        line = self.process.stdout.readline().decode()
        if not line:
            code = self.process.wait()
            ending = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            return TaskOutcome(task=self.task, kind="died", message=f"The worker ended {ending}; see {LOG}.")
        return decode_outcome(self.task, line, f"The worker printed {line[:80]!r}.")

    @property
    def _stdin(self) -> int:
        assert self.process.stdin is not None  # noqa: S101 - as asked for above
        return self.process.stdin.fileno()

    def stop(self) -> None:
        """Ask it to stop, by the end of its input, and wait; kill it after STOP_S."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class LocalEngine:
    """Judges in worker processes; one that dies is replaced."""

    def __init__(self, judging: Path, plan: Plan, options: EngineOptions) -> None:
        self._judging = judging
        self._count = worker_count(plan.profile.limits, options)
        self._queue: deque[str] = deque()
        self._idle: list[Worker] = []
        self._free_cores = split_cores(self._count)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        working = [key.data for key in self._selector.get_map().values()]
        for worker in (*self._idle, *working):
            if worker.process.stdin is not None:
                worker.process.stdin.close()  # all of them at once
        for worker in (*self._idle, *working):
            worker.stop()
        self._selector.close()

    def submit(self, tasks: list[str]) -> None:
        """Queue these tasks."""
        self._queue.extend(tasks)
        self._dispatch()

    def ended(self) -> list[TaskOutcome]:
        """The tasks that have ended since the last call."""
        found = []
        for key, _ in self._selector.select(WAIT_S):
            worker = key.data
            outcome = worker.outcome()
            found.append(outcome)
            self._selector.unregister(key.fileobj)
            if outcome.kind == "died":
                worker.stop()
                self._free_cores.append(worker.cores)
            else:
                self._idle.append(worker)
        self._dispatch()
        return found

    def queued(self) -> dict[str, str]:
        """Nothing: the queue is this engine's own."""
        return {}

    def _dispatch(self) -> None:
        while self._queue and (self._idle or self._free_cores):
            worker = self._idle.pop() if self._idle else Worker(self._judging, self._free_cores.pop())
            worker.start(self._queue.popleft())
            self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]


def worker_count(limits: Limits, options: EngineOptions) -> int:
    """How many workers the budget allows: each may use the cores and the memory that the profile grants a run.

    Raises UsageError if more are asked for than the memory allows, or if no run fits into a stated budget.
    """
    if options.memory_bytes and not limits.memory_bytes:
        raise UsageError(
            "--memory cannot be kept: the profile does not limit the memory of a run.",
            hint="Choose a profile with memory_bytes, or limit --workers.",
        )
    if options.memory_bytes and options.memory_bytes < (limits.memory_bytes or 0):
        raise UsageError(
            f"One run may use {format_bytes(limits.memory_bytes or 0)}; --memory allows "
            f"{format_bytes(options.memory_bytes)}.",
            hint="Raise --memory.",
        )
    memory_bytes = options.memory_bytes or psutil.virtual_memory().total
    fitting = memory_bytes // limits.memory_bytes if limits.memory_bytes else None
    if options.workers is None:
        cores = len(os.sched_getaffinity(0)) // (limits.cpu_cores or 1)
        return max(1, cores if fitting is None else min(cores, fitting))
    if fitting is not None and options.workers > max(fitting, 1):
        raise UsageError(
            f"{plural(options.workers, 'worker')} may use {format_bytes(limits.memory_bytes or 0)} of memory each; "
            f"the budget is {format_bytes(memory_bytes)}.",
            hint=f"Use at most {plural(max(fitting, 1), 'worker')}: --workers, or raise --memory.",
        )
    return max(1, options.workers)


def split_cores(workers: int) -> list[list[int]]:
    """The cores of each worker: all for one, equal parts for several, shared only if there are more workers."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // workers)
    return [[cores[(at * share + i) % len(cores)] for i in range(share)] for at in range(workers)]
