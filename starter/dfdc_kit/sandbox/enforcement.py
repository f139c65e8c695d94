"""How supervision enforces limits, in whatever backend; and what this kernel can do, found by trying."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dfdc_kit.formatting import plural
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import check_cache, scope
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, WATCHED, Enforcement
from dfdc_kit.sandbox.monitor.gpu import NO_GPU, find_gpus
from dfdc_kit.sandbox.monitor.watchdog import SAMPLE_S, SLOW_SAMPLE_S

INSIDE = str(Path(__file__).resolve().parent / "inside")
START = f"import sys; sys.path.append({INSIDE!r}); import supervisor; supervisor.run()"
SUPERVISOR = (sys.executable, "-I", "-S", "-c", START)  # INSIDE is last on sys.path: shadows no standard module
TRIAL_S = 20.0
MECHANISMS = ("namespaces", "landlock", "signals", "filter")
FILE_SLACK_BYTES = 1 << 20  # how far one file may pass the limit, so that it is seen to be over it
SHARED_MEMORY_BYTES = 2 << 30  # size of /dev/shm: Kaggle's own test recipe for its image says --shm-size=2g


def supervised_limits(limits: Limits) -> Iterator[Enforcement]:
    """How the supervisor enforces each limit that is set."""
    sampled = f"sampled every {SAMPLE_S:g} s, then killed"
    by_kernel = "" if scope.why_unavailable() else "capped by the kernel: a systemd scope (cgroup v2); "
    status = ENFORCED if by_kernel else WATCHED
    if limits.wall_time_s is not None:
        how = "the supervisor's monotonic clock; the whole process tree is killed"
        yield Enforcement(limit="wall_time", status=ENFORCED, how=how)
    if limits.cpu_cores is not None:
        yield _cores(limits)
    if limits.memory_bytes is not None:
        yield Enforcement(limit="memory", status=status, how=f"{by_kernel}whole process tree, {sampled}")
    if limits.gpu_memory_bytes is not None:
        yield _gpu_memory()
    if limits.processes is not None:
        how = f"{by_kernel}processes and threads of the whole tree, {sampled}"
        yield Enforcement(limit="processes", status=status, how=how)
    if limits.output_bytes is not None:
        largest = file_bytes(limits)  # the larger of two limits: the kernel cannot tell the folders apart
        how = f"one file: {largest / 2**30:.3g} GiB by RLIMIT_FSIZE; the total is sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="output", status=WATCHED, how=how)
    if limits.scratch_bytes is not None:
        how = f"the total of temporary files is sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="scratch", status=WATCHED, how=how)
    if limits.log_bytes is not None:
        yield Enforcement(limit="log", status=ENFORCED, how="output beyond the limit is counted and dropped")


def _gpu_memory() -> Enforcement:
    gpus, reason = find_gpus()
    if gpus:
        how = f"whole process tree, on each GPU, by NVML, sampled every {SLOW_SAMPLE_S:g} s, then killed"
        return Enforcement(limit="gpu_memory", status=WATCHED, how=how)
    if reason == NO_GPU:
        return Enforcement(limit="gpu_memory", status=ENFORCED, how=f"{reason}: none can be used")
    return Enforcement(limit="gpu_memory", status=NOT_ENFORCED, how=reason)


def _cores(limits: Limits) -> Enforcement:
    available = len(cores(limits))
    fewer = available < (limits.cpu_cores or 0)
    note = f"; this machine has {available}, fewer than the limit of {limits.cpu_cores}" if fewer else ""
    if reason := why_unavailable("filter"):
        how = f"set at the start, but the program can undo it: no system call filter here ({reason}){note}"
        return Enforcement(limit="cpu_cores", status=NOT_ENFORCED, how=how)
    how = f"CPU affinity to {plural(available, 'core')}, kept by a system call filter{note}"
    return Enforcement(limit="cpu_cores", status=ENFORCED, how=how)


@cache
def why_unavailable(mechanism: str) -> str:
    """Why "namespaces", "landlock", "signals" or "filter" does not work here; empty if it does."""
    try:
        return check_cache.why_failing(f"mechanism {mechanism}", lambda: _try_mechanism(mechanism))
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


def _try_mechanism(mechanism: str) -> str:
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    with tempfile.TemporaryDirectory(prefix="dfdc-trial-") as folder:
        command = [*SUPERVISOR, "trial", mechanism, str(Path(folder).resolve())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S, cwd=folder, env={}, check=True)
    return done.stdout


def cores(limits: Limits) -> list[int]:
    """The CPU cores of a run: as many as its limit allows, or all that we may use where there are fewer."""
    ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ours[: limits.cpu_cores]


def file_bytes(limits: Limits) -> int:
    """How large one file may grow, in bytes: a little over the larger of the two folders' limits; 0: no limit."""
    largest = max(limits.output_bytes or 0, limits.scratch_bytes or 0)
    return largest + FILE_SLACK_BYTES if largest else 0


def shared_memory_bytes(limits: Limits) -> int:
    """The size of the run's own /dev/shm, in bytes: its files are memory that belongs to no process."""
    return min(SHARED_MEMORY_BYTES, limits.memory_bytes or SHARED_MEMORY_BYTES)
