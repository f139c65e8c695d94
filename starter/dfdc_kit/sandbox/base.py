"""What every sandbox backend takes and returns: a job and its limits in, an outcome and its resource usage out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self

import msgspec

from dfdc_kit.profiles import Limits, Profile


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run in a stage.

    A Path in `command` or `environment` is below `stage`. A backend that mounts the stage elsewhere (`kaggle/input` as
    `/kaggle/input`) translates it into the path that the job sees.
    """

    command: list[str | Path]
    environment: dict[str, str | Path]  # the complete environment: no variable of ours is inherited
    stage: Path  # contains read-only input and sources, and the two folders below
    working: Path  # the current directory, and the only folder whose content is kept
    temporary: Path  # for temporary files, not kept; contains the folders of WRITABLE
    hidden: tuple[Path, ...] = ()  # what it must not read, wherever that is: labels, home, credentials
    mounts: dict[Path, Path] = {}  # path below `stage` -> file or folder that is mounted there, read-only
    log: Path  # receives standard output and standard error, interleaved, up to `Limits.log_bytes`
    gpu: bool = False  # whether it may use the GPUs of this machine

    def make_folders(self) -> None:
        """Create the folders of WRITABLE, and in that of /kaggle the mount points of input, sources and output."""
        for name in WRITABLE:
            (self.temporary / name).mkdir(exist_ok=True)
        for name in ("input", "src", "working", "temp", "tmp"):
            (self.temporary / "kaggle" / name).mkdir(exist_ok=True)

    def inside(self, part: str | Path) -> str:
        """A Path as a job sees it whose backend mounts the stage as on Kaggle; text unchanged."""
        if not isinstance(part, Path):
            return part
        for name, target in WRITABLE.items():
            if part.is_relative_to(self.temporary / name):
                return str(target / part.relative_to(self.temporary / name))
        return str(Path("/") / part.relative_to(self.stage))


# What is writable on Kaggle besides /kaggle/working: folder in `Job.temporary` -> where it is hosted
WRITABLE = {"tmp": Path("/tmp"), "home": Path("/root"), "kaggle": Path("/kaggle")}  # noqa: S108


class Ending(StrEnum):
    """Why the main process stopped."""

    EXIT = "exit"  # by itself; see exit_code
    SIGNAL = "signal"  # killed by a signal that we did not send; see signal
    WALL_TIME = "wall-time"  # stopped by us: over the wall-time limit
    MEMORY = "memory"  # stopped by us: over the memory limit
    PROCESSES = "processes"  # stopped by us: too many processes and threads at once
    OUTPUT = "output"  # stopped by us: too many bytes in the working folder
    SCRATCH = "scratch"  # stopped by us: too many bytes in its folder for temporary files
    GPU_MEMORY = "gpu-memory"  # stopped by us: over the memory limit on one GPU
    EARLY_STOP = "early-stop"  # stopped by us: the caller's `should_stop` said so
    INTERRUPTED = "interrupted"  # stopped by the user (Ctrl-C)


class GpuUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What sampling saw of the machine's NVIDIA GPUs during a run."""

    cards: list[str]  # their names
    peak_memory_bytes: int  # of the process tree, on one GPU
    busy_share: float | None  # 0 to 1: mean utilization of the busiest GPU, whoever used it; None: unknown
    samples: int  # how often the driver answered


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the process tree used. A sampled figure is a lower bound; None: this backend cannot know it."""

    wall_time_s: float
    cpu_time_s: float | None  # user + system, of every process that was waited for
    peak_memory_bytes: int | None  # sampled, without file mappings; at least the peak of the largest process
    output_bytes: int  # in the working folder at the end
    log_bytes: int  # everything that was written, kept or not
    peak_processes: int | None
    memory_samples: list[tuple[float, int]]  # (seconds after the start, bytes), thinned out; empty where unknown
    killed_for_memory: int | None = None  # processes that the kernel's out-of-memory killer ended
    gpu: GpuUsage | None = None  # None: the job was given no GPU, or none could be watched


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    ending: Ending
    exit_code: int | None
    signal: int | None
    usage: Usage
    left_running: int | None  # processes alive when the main one had ended, killed since; None: unknown
    started_unix_s: float
    stopped_unix_s: float | None  # when we stopped it, if we did


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """How one limit is enforced on this machine, or why it is not."""

    limit: str
    status: str  # ENFORCED, WATCHED or NOT_ENFORCED
    how: str  # the mechanism, or the exact reason


ENFORCED = "enforced"  # cannot be exceeded
WATCHED = "watched"  # can be exceeded for a moment, but is detected; the run is stopped or judged for it
NOT_ENFORCED = "NOT ENFORCED HERE"


def never() -> bool:
    """The default `should_stop`: no run is stopped early."""
    return False


class SandboxBackend(ABC):
    """A way to run a job. It must stop the job with all its descendants on every way out.

    Doctor, report, help and harness ask a backend for these attributes; none of them knows a backend by name.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()  # other words that users type for it, for "did you mean"
    optional: ClassVar[bool] = True  # whether `dfdc doctor` calls it optional where it is unavailable
    uses_image: ClassVar[bool] = False  # whether the job sees the packages of a container image, not this Python's

    def for_profile(self, profile: Profile) -> Self:  # noqa: ARG002  # a backend may need it
        """This backend as it runs jobs under `profile`."""
        return self

    @abstractmethod
    def unavailable(self) -> str:
        """Why it cannot work on this machine, found by trying; empty if it can."""

    def fix(self, reason: str) -> str:
        """What the user can do about `reason`, an answer of `unavailable`."""
        return f"Use another machine: {reason}"

    def mounts_files(self) -> bool:
        """Whether a job sees the stage under Kaggle's paths, with `Job.mounts`; else the stage must hold copies."""
        return False

    def version(self) -> str:
        """What identifies the program behind this backend: remembered checks hold for the same one only."""
        return ""

    @abstractmethod
    def claims(self, limits: Limits) -> Iterator[Enforcement]:
        """What this backend says that it does about each limit that is set, before that is checked."""

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """How each limit that is set is enforced on this machine: the claims that the self-check confirmed."""
        from dfdc_kit.sandbox.self_check import checked

        return list(checked(self, self.claims(limits)))

    @abstractmethod
    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says INTERRUPTED.

        `on_output` gets each piece of output as it arrives; nothing is watched until it returns. `should_stop` is
        called many times a second, and once it returns True, the job is stopped. Raises SandboxError.
        """
