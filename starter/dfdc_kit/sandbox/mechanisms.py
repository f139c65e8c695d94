"""What this kernel lets a process take away from itself, each found by a trial in a child; tried once, then known."""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from dfdc_kit.profiles import Limits

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
