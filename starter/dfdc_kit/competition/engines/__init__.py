"""Engines: where tasks are judged. Each only starts worker processes (`competition/worker.py`), and keeps no state."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import msgspec

from dfdc_kit.competition.judge import TaskOutcome
from dfdc_kit.competition.plan import Plan
from dfdc_kit.errors import UsageError, suggest


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the organizer says about the machines."""

    workers: int | None = None  # at once; None: as many as fit, or what the cluster decides
    memory_bytes: int | None = None  # of all local workers together; None: this machine's
    dask_address: str = ""  # of a scheduler; empty: a cluster on this machine
    slurm: dict[str, str] = {}  # options of sbatch, such as partition


class Engine(Protocol):
    """Runs tasks somewhere until it is closed. A task that was submitted ends once, whatever happens to its worker."""

    def __enter__(self) -> Self:
        """Connect, or start workers. Raises KitError."""

    def __exit__(self, *_: object) -> None:
        """Stop what was started here."""

    def submit(self, tasks: list[str]) -> None:
        """Start these tasks, or queue them. Raises KitError."""

    def ended(self) -> list[TaskOutcome]:
        """The tasks that have ended since the last call; waits a moment for one. Raises KitError."""

    def queued(self) -> dict[str, str]:
        """Why tasks are still in the queue of a cluster, such as "Resources", by task, as of the last `ended`."""


def judge_command(judging: Path, engine: str, *arguments: str) -> list[str]:
    """The command that judges tasks of `judging` on any machine that has this kit."""
    return [sys.executable, "-m", "dfdc_kit.competition.worker", str(judging), *arguments, "--engine", engine]


def judge_in_child(judging: str, task: str, engine: str) -> str:
    """Judge one task in a process of its own, which ends with this one; its outcome as JSON, empty if it died.

    This is what a Dask worker or a Slurm job calls.
    """
    command = judge_command(Path(judging), engine, task, "--stop-with-stdin")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None  # noqa: S101 - as asked for above
        text = child.stdout.read()  # standard input stays open meanwhile, and closes if this process dies
    return text.strip()


def decode_outcome(task: str, text: str, died: str) -> TaskOutcome:
    """The outcome that a worker printed; if it printed none, `died` says why."""
    try:
        return msgspec.json.decode(text, type=TaskOutcome)
    except msgspec.MsgspecError:
        return TaskOutcome(task=task, kind="died", message=died)


def _local(judging: Path, plan: Plan, options: EngineOptions) -> Engine:
    from dfdc_kit.competition.engines.local import LocalEngine

    return LocalEngine(judging, plan, options)


def _dask(judging: Path, plan: Plan, options: EngineOptions) -> Engine:
    from dfdc_kit.competition.engines.dask import DaskEngine

    return DaskEngine(judging, plan, options)


def _slurm(judging: Path, plan: Plan, options: EngineOptions) -> Engine:
    from dfdc_kit.competition.engines.slurm import SlurmEngine

    return SlurmEngine(judging, plan, options)


ENGINES: dict[str, Callable[[Path, Plan, EngineOptions], Engine]] = {"local": _local, "dask": _dask, "slurm": _slurm}


def start_engine(name: str, judging: Path, plan: Plan, options: EngineOptions) -> Engine:
    """The engine `name`, to be entered. Raises UsageError for an unknown one."""
    check_engine(name)
    return ENGINES[name](judging, plan, options)


def check_engine(name: str) -> None:
    """Raises UsageError for an unknown engine."""
    if name not in ENGINES:
        raise UsageError(f"Unknown engine {name!r}.", hint=suggest(name, ENGINES, label="Engines"))
