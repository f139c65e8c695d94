"""What every sandbox backend takes and gives: a job and limits in, what happened and what it used out."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from dfdc_kit.profiles import Limits


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run in a stage. A Path in `command` or `environment` lies below `stage`; a backend may show the
    stage elsewhere (`kaggle/input` as `/kaggle/input`), so each says by what name the job sees a path.
    """

    command: list[str | Path]
    environment: dict[str, str | Path]  # all of it: nothing of ours is passed on
    stage: Path  # holds read-only input and sources, and the two folders below
    working: Path  # current directory, and the only folder whose content is kept
    temporary: Path  # room for the job's temporary files
    hidden: tuple[Path, ...] = ()  # what it must not read, wherever that lies: labels, home, credentials
    log: Path  # where standard output and standard error go, interleaved, up to `Limits.log_bytes`
    gpu: bool = False  # whether it may see the graphics cards of this machine


class Ending(StrEnum):
    """Why the main process stopped."""

    EXIT = "exit"  # by itself; see exit_code
    SIGNAL = "signal"  # killed by a signal that was not ours; see signal
    WALL_TIME = "wall-time"  # we stopped it: over the wall-time limit
    MEMORY = "memory"  # we stopped it: over the memory limit
    PROCESSES = "processes"  # we stopped it: too many processes and threads at once
    OUTPUT = "output"  # we stopped it: too many bytes in the working folder
    SCRATCH = "scratch"  # we stopped it: too many bytes in its folder for temporary files
    GPU_MEMORY = "gpu-memory"  # we stopped it: over the limit of memory on one graphics card
    EARLY_STOP = "early-stop"  # we stopped it: the caller asked for it, see should_stop
    INTERRUPTED = "interrupted"  # the person at the keyboard stopped it


class GpuUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the machine's NVIDIA graphics cards during a run, by sampling."""

    cards: list[str]  # their names
    peak_memory_bytes: int  # of the process tree, on one card
    busy_share: float | None  # 0 to 1: mean over the samples of the busiest card's use, whoever used it; None: unknown
    samples: int  # how often the driver answered


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole process tree used. A figure seen by sampling is a lower bound; None: this backend cannot know."""

    wall_time_s: float
    cpu_time_s: float | None  # user + system, of every process that was waited for
    peak_memory_bytes: int | None  # sampled, without what is mapped from files; at least the largest process's peak
    output_bytes: int  # in the working folder at the end
    log_bytes: int  # all that was written, kept or not
    peak_processes: int | None
    memory_samples: list[tuple[float, int]]  # (seconds after the start, bytes), thinned out; none where not known
    killed_for_memory: int | None = None  # processes that the kernel ended for want of memory
    gpu: GpuUsage | None = None  # None: no card was given to it, or none could be watched


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    ending: Ending
    exit_code: int | None
    signal: int | None
    usage: Usage
    left_running: int | None  # processes that still ran when the main one had ended; all are gone now. None: not known
    started_unix_s: float
    stopped_unix_s: float | None  # when we gave the order to stop, if we did


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one limit on this machine: a promise, a watch, or an admission."""

    limit: str
    status: str  # ENFORCED, WATCHED or NOT_ENFORCED
    how: str  # the mechanism, or the exact reason


ENFORCED = "enforced"  # it cannot be passed
WATCHED = "watched"  # it can be passed for a moment, or is found out afterwards; the run does not get away with it
NOT_ENFORCED = "NOT ENFORCED HERE"


def never() -> bool:
    """Never stop a run early."""
    return False


class SandboxBackend(Protocol):
    """A way to run a job. It must stop the job with all its descendants in every path out."""

    name: str

    def __hash__(self) -> int:
        """What is found out about a backend is kept for it."""
        ...

    def unavailable(self) -> str:
        """Why it cannot work on this machine, found by a real trial; empty if it can."""
        ...

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What this backend does about each limit on this machine."""
        ...

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end. `on_output` gets each piece of its output as it comes and must return at once, for
        nothing is watched meanwhile; `should_stop` is called many times a second, and True stops the job.
        Raises SandboxError.
        """
        ...
