"""What becomes of the limits that supervision itself keeps, in whatever backend."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, WATCHED, Enforcement
from dfdc_kit.sandbox.monitor.gpu import NO_CARD, find
from dfdc_kit.sandbox.monitor.watchdog import SAMPLE_S, SLOW_SAMPLE_S


def supervised(limits: Limits) -> Iterator[Enforcement]:
    """The claim on each limit that is set."""
    sampled = f"sampled every {SAMPLE_S:g} s, then killed"
    if limits.wall_time_s is not None:
        yield Enforcement(
            limit="wall_time", status=ENFORCED, how="the supervisor's monotonic clock; the whole tree is killed"
        )
    if limits.cpu_cores is not None:
        yield _cores(limits)
    if limits.memory_bytes is not None:
        yield Enforcement(limit="memory", status=WATCHED, how=f"of the whole tree, {sampled}")
    if limits.gpu_memory_bytes is not None:
        yield _graphics()
    if limits.processes is not None:
        yield Enforcement(limit="processes", status=WATCHED, how=f"processes and threads of the whole tree, {sampled}")
    if limits.output_bytes is not None:
        largest = file_bytes(limits)  # the larger of two limits: the kernel does not know the folders apart
        how = f"one file: {largest / 2**30:.3g} GiB by RLIMIT_FSIZE; all together sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="output", status=WATCHED, how=how)
    if limits.scratch_bytes is not None:
        how = f"all temporary files together sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="scratch", status=WATCHED, how=how)
    if limits.log_bytes is not None:
        yield Enforcement(limit="log", status=ENFORCED, how="what is over is counted and dropped")


def _graphics() -> Enforcement:
    cards, reason = find()
    if cards:
        how = f"of the whole tree, on each card, by NVML, sampled every {SLOW_SAMPLE_S:g} s, then killed"
        return Enforcement(limit="gpu_memory", status=WATCHED, how=how)
    if reason == NO_CARD:
        return Enforcement(limit="gpu_memory", status=ENFORCED, how=f"{reason}: none can be used")
    return Enforcement(limit="gpu_memory", status=NOT_ENFORCED, how=reason)


def _cores(limits: Limits) -> Enforcement:
    given = len(cores(limits))
    few = f"; this machine has {given}, fewer than the limit of {limits.cpu_cores}" * (given < (limits.cpu_cores or 0))
    if reason := why_not("filter"):
        how = f"set at the start, but the program can undo it: no filter of system calls here ({reason}){few}"
        return Enforcement(limit="cpu_cores", status=NOT_ENFORCED, how=how)
    how = f"allowed on {given} cores; a filter of system calls keeps it there{few}"
    return Enforcement(limit="cpu_cores", status=ENFORCED, how=how)


FOLDER = str(Path(__file__).resolve().parent / "inside")
START = f"import sys; sys.path.append({FOLDER!r}); import supervisor; supervisor.run()"
SUPERVISOR = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    START,
)  # its path ends there: nothing of the standard library is shadowed
TRIAL_S = 20.0
BEYOND_BYTES = 1 << 20  # that a single file may grow beyond the limit: so it is seen to be over it
SHARED_MEMORY_BYTES = 2 << 30  # size of /dev/shm: what Kaggle's own test recipe gives its image (--shm-size=2g)


@cache
def why_not(mechanism: str) -> str:
    """Why "namespaces", "landlock", "signals" or "filter" does not work here; empty if it does."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    with tempfile.TemporaryDirectory(prefix="dfdc-trial-") as folder:
        command = [*SUPERVISOR, "trial", mechanism, str(Path(folder).resolve())]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TRIAL_S, cwd=folder, env={}, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return done.stdout if done.returncode == 0 else (done.stderr.strip().splitlines() or ["its trial failed"])[-1]


def cores(limits: Limits) -> list[int]:
    """The CPU cores that a run gets: as many as its limit says, or all that we may use where there are fewer."""
    ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ours[: limits.cpu_cores]


def file_bytes(limits: Limits) -> int:
    """How large a single file may grow: one number for both folders, a little over their limit; 0: no limit."""
    largest = max(limits.output_bytes or 0, limits.scratch_bytes or 0)
    return largest + BEYOND_BYTES if largest else 0


def shared_memory_bytes(limits: Limits) -> int:
    """The size of the run's own /dev/shm: it lives in memory, but no process has to hold it."""
    return min(SHARED_MEMORY_BYTES, limits.memory_bytes or SHARED_MEMORY_BYTES)
