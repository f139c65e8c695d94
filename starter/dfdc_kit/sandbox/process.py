"""The process backend: a child process in its own session, watched and cleaned up. It is NO security boundary.

It enforces time, memory and output limits and leaves no process behind, on any Linux, without privileges. Where the
kernel offers them it adds namespaces, Landlock and a system call filter, each found by trying. Each run's report says,
limit by limit, what is missing. The program can still see which files and processes exist.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import (
    ENFORCED,
    NOT_ENFORCED,
    WATCHED,
    WRITABLE,
    Enforcement,
    Job,
    Outcome,
    SandboxBackend,
    never,
)
from dfdc_kit.sandbox.enforcement import MECHANISMS, shared_memory_bytes, supervised_limits, why_unavailable
from dfdc_kit.sandbox.supervise import Confinement, supervise
from dfdc_kit.sandbox.visible_paths import DEVICES, GPU_DEVICES, mounts, readable_paths

SHORT_PATH = 60  # characters; multiprocessing adds up to 32
ALL_PROCESSES = -1  # for kill(2): every process that one may signal
KERNEL_PATHS = ("/proc",)  # processes, cores, memory; the kernel guards other users' data


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

    def mounts_files(self) -> bool:
        """Where the kernel offers mount namespaces."""
        return not why_unavailable("namespaces")

    def version(self) -> str:
        """The mechanisms that it uses here."""
        return repr([(mechanism, why_unavailable(mechanism)) for mechanism in MECHANISMS])

    def claims(self, limits: Limits) -> Iterator[Enforcement]:
        """How each limit is enforced, before the self-check."""
        yield from supervised_limits(limits)
        yield _descendants()
        if not limits.network:
            yield _network_claim(limits)
        yield from _file_claims()

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end."""
        job.make_folders()
        confinement = _confinement(job, limits)
        with _short_path(job.temporary / "tmp", needed="view" not in confinement) as temporary:

            def path(part: str | Path) -> str:
                if "view" in confinement:
                    return job.inside(part)
                return str(temporary if part == job.temporary / "tmp" else part)

            environment = {name: path(value) for name, value in job.environment.items()}
            command = [path(part) for part in job.command]
            return supervise(job, command, environment, limits, on_output, should_stop, confinement)


@contextmanager
def _short_path(folder: Path, *, needed: bool) -> Iterator[Path]:
    """A short name of `folder` while the context is open: a Unix socket's path has at most 107 characters."""
    if not needed or len(str(folder)) <= SHORT_PATH:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="dfdc-") as place:
        link = Path(place) / "tmp"
        link.symlink_to(folder)
        yield link


def _confinement(job: Job, limits: Limits) -> Confinement:
    """As much confinement as this kernel offers."""
    devices = [*DEVICES, *(GPU_DEVICES if job.gpu else ())]
    confinement: Confinement = {"network": _network(limits)}
    if not why_unavailable("namespaces"):
        root = job.stage / "root"
        root.mkdir(exist_ok=True)
        confinement["view"], confinement["root"] = list(mounts(job)), str(root)
        confinement["working"], confinement["devices"] = job.inside(job.working), devices
        confinement["shm_bytes"] = shared_memory_bytes(limits)
    if not why_unavailable("landlock"):
        write = [*map(str, WRITABLE.values()), job.inside(job.working)]
        read, confinement["list_only"] = ["/"], []
        if "view" not in confinement:
            write = [str(job.temporary), str(job.working)]
            read, confinement["list_only"] = readable_paths(job.hidden)
            read += [*KERNEL_PATHS, str(job.stage / "kaggle")]
        confinement["read"] = read
        confinement["write"] = [*write, *(f"/dev/{name}" for name in (*devices, "pts", "ptmx", "shm"))]
    if not why_unavailable("filter"):
        confinement["filter"] = True
        confinement["protected_pids"] = [os.getpid(), -os.getpgrp(), ALL_PROCESSES]
    return confinement


def _network(limits: Limits) -> str:
    """How the network is closed: "namespace", "filter", or "" for not at all."""
    if limits.network:
        return ""
    return "namespace" if not why_unavailable("namespaces") else "filter" if not why_unavailable("filter") else ""


def _file_claims() -> Iterator[Enforcement]:
    if not why_unavailable("namespaces"):
        yield Enforcement(limit="read_only_input", status=ENFORCED, how="read-only bind mount of a copy")
        how = "mount namespace: system libraries, Python and the stage only; the list of processes can be seen"
        yield Enforcement(limit="hidden_files", status=ENFORCED, how=how)
        return
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


def _descendants() -> Enforcement:
    how = "subreaper; every descendant is killed at the end"
    if not (reason := why_unavailable("signals")):
        return Enforcement(limit="descendants", status=ENFORCED, how=f"{how}; they cannot signal the supervisor")
    return Enforcement(limit="descendants", status=WATCHED, how=f"{how}, unless one kills the supervisor ({reason})")


def _network_claim(limits: Limits) -> Enforcement:
    hows = {
        "namespace": "network namespace with its own loopback only",
        "filter": "a system call filter: Unix and netlink sockets only, not even loopback",
    }
    if (kind := _network(limits)) in hows:
        return Enforcement(limit="network", status=ENFORCED, how=hows[kind])
    reasons = f"no namespaces ({why_unavailable('namespaces')}), no filter ({why_unavailable('filter')})"
    return Enforcement(limit="network", status=NOT_ENFORCED, how=f"it shares the machine's network: {reasons}")
