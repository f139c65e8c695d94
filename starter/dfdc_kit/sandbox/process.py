"""The process backend: a child in a session of its own, watched and cleaned up. It is NO security boundary.

It keeps time, memory and output within their limits and leaves no process behind, on any Linux, without privileges.
Where the kernel has them it adds namespaces, Landlock and a filter of system calls, each found by a trial. What is
missing is said in each run's report, limit by limit. The program still sees which files and processes there are.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, WATCHED, Enforcement, Job, Outcome, never
from dfdc_kit.sandbox.enforcement import shared_memory_bytes, supervised, why_not
from dfdc_kit.sandbox.self_check import proven
from dfdc_kit.sandbox.supervise import Confinement, supervise
from dfdc_kit.sandbox.visible_paths import DEVICES, GRAPHICS, readable

TEMPORARY = Path("/dev/shm/tmp")  # noqa: S108  # as in confine.py
EVERYBODY = -1  # of kill: all processes that one may signal
KERNEL = ("/proc", "/sys/devices")  # numbers of processes, cores, memory and devices; other processes' data is guarded


class ProcessBackend:
    """Runs a job as an ordinary process tree, below a supervisor that outlives every descendant."""

    name = "process"

    def unavailable(self) -> str:
        """Why it cannot work here; empty if it can."""
        return "" if sys.platform.startswith("linux") else "it needs Linux"

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What becomes of each limit on this machine."""
        return list(proven(self, _claims(limits)))

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`."""
        orders = _confinement(job, limits)
        short: dict[str | Path, Path] = {job.temporary: TEMPORARY} if "temporary" in orders else {}
        environment = {name: str(short.get(value, value)) for name, value in job.environment.items()}
        return supervise(job, [str(part) for part in job.command], environment, limits, on_output, should_stop, orders)


def _confinement(job: Job, limits: Limits) -> Confinement:
    """As much as this kernel can do."""
    devices = [f"/dev/{name}" for name in (*DEVICES, *(GRAPHICS if job.gpu else ()))]
    write = [str(job.working), str(job.temporary)]
    orders: Confinement = {"write": [*write, *devices], "network": _network(limits)}
    if not why_not("namespaces"):
        orders["shm_bytes"] = shared_memory_bytes(limits)
        orders["changing"] = [str(job.stage)]
        orders["temporary"] = str(job.temporary)
    if not why_not("landlock"):
        read, orders["listed"] = readable(job.hidden)
        orders["read"] = [*read, *KERNEL, str(job.stage / "kaggle")]
    if not why_not("filter"):
        orders["filter"] = True
        orders["guarded"] = [os.getpid(), -os.getpgrp(), EVERYBODY]
    return orders


def _network(limits: Limits) -> str:
    if limits.network:
        return ""
    return next((kind for kind in ("namespace", "filter") if not why_not(kind.replace("space", "spaces"))), "")


def _claims(limits: Limits) -> Iterator[Enforcement]:
    yield from supervised(limits)
    yield _descendants()
    if not limits.network:
        yield _network_claim(limits)
    if rules := why_not("landlock"):
        how = f"a copy without write permission, compared after the run; its owner could restore it ({rules})"
        yield Enforcement(limit="read_only_input", status=WATCHED, how=how)
        how = f"a program that looks can read labels, home and credentials ({rules})"
        yield Enforcement(limit="hidden_files", status=NOT_ENFORCED, how=how)
        return
    how = "Landlock on a copy, compared after the run: the mode of a file can be changed, its content cannot"
    yield Enforcement(limit="read_only_input", status=ENFORCED, how=how)
    how = "Landlock: system libraries, Python and the stage can be read; names and sizes of other files be seen"
    yield Enforcement(limit="hidden_files", status=ENFORCED, how=how)


def _descendants() -> Enforcement:
    how = "subreaper; every descendant is killed at the end"
    if not (reason := why_not("signals")):
        return Enforcement(limit="descendants", status=ENFORCED, how=f"{how}; it gets no signal from them")
    return Enforcement(limit="descendants", status=WATCHED, how=f"{how}, unless one of them ends it ({reason})")


def _network_claim(limits: Limits) -> Enforcement:
    hows = {
        "namespace": "network namespace with a loopback of its own only; Unix sockets that have a path are open",
        "filter": "a filter of system calls: no sockets but Unix ones, not even on loopback",
    }
    if (kind := _network(limits)) in hows:
        return Enforcement(limit="network", status=ENFORCED, how=hows[kind])
    reasons = f"no namespaces ({why_not('namespaces')}), no filter ({why_not('filter')})"
    return Enforcement(limit="network", status=NOT_ENFORCED, how=f"it shares the machine's network: {reasons}")
