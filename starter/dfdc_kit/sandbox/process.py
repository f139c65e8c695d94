"""The process backend: a child process in its own session, watched and cleaned up. It is NO security boundary.

It enforces time, memory and output limits and leaves no process behind, on any Linux, without privileges. Where the
kernel offers them it adds namespaces, Landlock and a system call filter, each found by trying. Each run's report says,
limit by limit, what is missing. The program can still see which files and processes exist.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, WATCHED, Enforcement, Job, Outcome, SandboxBackend, never
from dfdc_kit.sandbox.enforcement import MECHANISMS, shared_memory_bytes, supervised_limits, why_unavailable
from dfdc_kit.sandbox.supervise import Confinement, supervise
from dfdc_kit.sandbox.visible_paths import DEVICES, GPU_DEVICES, readable_paths

TEMPORARY = Path("/dev/shm/tmp")  # noqa: S108  # as in confine.py
ALL_PROCESSES = -1  # for kill(2): every process that one may signal
KERNEL_PATHS = ("/proc", "/sys/devices")  # processes, cores, memory, devices; the kernel guards other users' data


class ProcessBackend(SandboxBackend):
    """Runs a job as an ordinary process tree, below a supervisor that outlives every descendant."""

    name = "process"
    aliases = ("none", "local", "subprocess", "host")
    optional = False

    def unavailable(self) -> str:
        """Why it cannot work here; empty if it can."""
        return "" if sys.platform.startswith("linux") else "it needs Linux"

    def fix(self, reason: str) -> str:  # noqa: ARG002
        """What to do about it."""
        return "Run dfdc on Linux (on Windows: in WSL 2)"

    def version(self) -> str:
        """The mechanisms that it uses here."""
        return repr([(mechanism, why_unavailable(mechanism)) for mechanism in MECHANISMS])

    def claims(self, limits: Limits) -> Iterator[Enforcement]:
        """How each limit is enforced, before the self-check."""
        yield from supervised_limits(limits)
        yield _descendants()
        if not limits.network:
            yield _network_claim(limits)
        if missing := why_unavailable("landlock"):
            how = f"a copy without write permission, compared after the run; its owner could restore it ({missing})"
            yield Enforcement(limit="read_only_input", status=WATCHED, how=how)
            how = f"the program can read labels, home and credentials ({missing})"
            yield Enforcement(limit="hidden_files", status=NOT_ENFORCED, how=how)
            return
        how = "Landlock on a copy, compared after the run: a file's mode can be changed, its content cannot"
        yield Enforcement(limit="read_only_input", status=ENFORCED, how=how)
        how = "Landlock: only system libraries, Python and the stage can be read; names and sizes of all files be seen"
        yield Enforcement(limit="hidden_files", status=ENFORCED, how=how)

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end."""
        confinement = _confinement(job, limits)
        short: dict[str | Path, Path] = {job.temporary: TEMPORARY} if "temporary" in confinement else {}
        environment = {name: str(short.get(value, value)) for name, value in job.environment.items()}
        command = [str(part) for part in job.command]
        return supervise(job, command, environment, limits, on_output, should_stop, confinement)


def _confinement(job: Job, limits: Limits) -> Confinement:
    """As much confinement as this kernel offers."""
    devices = [f"/dev/{name}" for name in (*DEVICES, *(GPU_DEVICES if job.gpu else ()))]
    write = [str(job.working), str(job.temporary)]
    confinement: Confinement = {"write": [*write, *devices], "network": _network(limits)}
    if not why_unavailable("namespaces"):
        confinement["shm_bytes"] = shared_memory_bytes(limits)
        confinement["writable_mounts"] = [str(job.stage)]
        confinement["temporary"] = str(job.temporary)
    if not why_unavailable("landlock"):
        read, confinement["list_only"] = readable_paths(job.hidden)
        confinement["read"] = [*read, *KERNEL_PATHS, str(job.stage / "kaggle")]
    if not why_unavailable("filter"):
        confinement["filter"] = True
        confinement["protected_pids"] = [os.getpid(), -os.getpgrp(), ALL_PROCESSES]
    return confinement


def _network(limits: Limits) -> str:
    """How the network is closed: "namespace", "filter", or "" for not at all."""
    if limits.network:
        return ""
    return "namespace" if not why_unavailable("namespaces") else "filter" if not why_unavailable("filter") else ""


def _descendants() -> Enforcement:
    how = "subreaper; every descendant is killed at the end"
    if not (reason := why_unavailable("signals")):
        return Enforcement(limit="descendants", status=ENFORCED, how=f"{how}; they cannot signal the supervisor")
    return Enforcement(limit="descendants", status=WATCHED, how=f"{how}, unless one kills the supervisor ({reason})")


def _network_claim(limits: Limits) -> Enforcement:
    hows = {
        "namespace": "network namespace with its own loopback only; Unix sockets with a path are reachable",
        "filter": "a system call filter: Unix sockets only, not even loopback",
    }
    if (kind := _network(limits)) in hows:
        return Enforcement(limit="network", status=ENFORCED, how=hows[kind])
    reasons = f"no namespaces ({why_unavailable('namespaces')}), no filter ({why_unavailable('filter')})"
    return Enforcement(limit="network", status=NOT_ENFORCED, how=f"it shares the machine's network: {reasons}")
