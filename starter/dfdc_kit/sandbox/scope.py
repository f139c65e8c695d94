"""Limits kept by the kernel: a transient scope of the user's systemd caps memory and tasks of a whole run (cgroup v2).

`systemd-run --scope` becomes the command that it starts, so the supervisor keeps its process number and open files.
"""

import os
import shutil
import subprocess
from functools import cache

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import check_cache

OWN_MEMORY_BYTES = 64 << 20  # for the supervisor and bwrap, which are in the scope, too
OWN_TASKS = 16
BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # where systemd-run finds the user's systemd
TRIAL = Limits(memory_bytes=256 << 20, processes=100)
SHOW_CAPS = 'cd "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)" && cat memory.max pids.max'
TRIAL_S = 20.0


def scope_command(environment: dict[str, str], limits: Limits) -> list[str]:
    """What goes before a command that gets `environment`, so that it runs in a scope; empty where none can be made."""
    if (limits.memory_bytes is None and limits.processes is None) or why_unavailable():
        return []
    return _scope_command(environment, limits)


def _scope_command(environment: dict[str, str], limits: Limits) -> list[str]:
    memory_bytes, tasks = caps(limits)
    properties = [] if memory_bytes is None else [f"MemoryMax={memory_bytes}", "MemorySwapMax=0"]
    properties += [] if tasks is None else [f"TasksMax={tasks}"]
    run = ["systemd-run", "--user", "--scope", "--quiet", "--collect", *(f"--property={text}" for text in properties)]
    return [*run, "--", "env", "-i", *(f"{name}={value}" for name, value in environment.items())]


def scope_environment() -> dict[str, str]:
    """The environment of `systemd-run` itself, which the command does not get: how to reach the user's systemd."""
    bus = {name: os.environ[name] for name in BUS if name in os.environ}
    return {**bus, "PATH": os.environ.get("PATH", os.defpath)}


def caps(limits: Limits) -> tuple[int | None, int | None]:
    """Memory in bytes and tasks that the kernel allows to a run and its supervisor; None: no limit."""
    memory_bytes = None if limits.memory_bytes is None else limits.memory_bytes + OWN_MEMORY_BYTES
    return memory_bytes, None if limits.processes is None else limits.processes + OWN_TASKS


@cache
def why_unavailable() -> str:
    """Why no scope can be made here, found by making one and reading its limits; empty if it can."""
    if shutil.which("systemd-run") is None:
        return "no systemd-run"
    if "XDG_RUNTIME_DIR" not in os.environ:
        return "no user session of systemd (XDG_RUNTIME_DIR is not set)"
    try:
        return check_cache.why_failing("systemd scope", _try)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


def _try() -> str:
    command = [*_scope_command({"PATH": os.defpath}, TRIAL), "sh", "-c", SHOW_CAPS]
    done = subprocess.run(
        command, env=scope_environment(), capture_output=True, text=True, timeout=TRIAL_S, check=False
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"systemd-run: exit code {done.returncode}"])[-1]
    if done.stdout.split() != [str(cap) for cap in caps(TRIAL)]:
        return f"the scope's limits are not kept: {done.stdout.split()}"
    return ""
