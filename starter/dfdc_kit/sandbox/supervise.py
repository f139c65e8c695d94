"""The harness's side of a supervised run: start the supervisor, follow it, stop it, and read its report."""

import ast
import contextlib
import marshal
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from msgspec import structs

from dfdc_kit.errors import OutputError, SandboxError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending, Job, Outcome, Usage
from dfdc_kit.sandbox.enforcement import SUPERVISOR, cores, file_bytes, why_unavailable
from dfdc_kit.sandbox.monitor.gpu import GpuWatch, find_gpus
from dfdc_kit.sandbox.monitor.log import Log
from dfdc_kit.sandbox.monitor.watchdog import Watchdog, folder_bytes
from dfdc_kit.sandbox.scope import scope_command, scope_environment
from dfdc_kit.sandbox.visible_paths import Mount

TICK_S = 0.05
PIECE_BYTES = 1 << 16
REPORT_TIMEOUT_S = 45.0  # after the order to stop, for the supervisor to report: it may itself wait twice for 20 s


class Confinement(TypedDict, total=False):
    """How the supervisor confines the job's process, and what it does after it."""

    file_bytes: int  # RLIMIT_FSIZE: the largest file; 0: no limit
    wall_time_s: float | None  # the supervisor stops the job after this time, whatever the harness does; None: no limit
    cores: list[int]  # CPU affinity; empty: all
    filter: bool  # a system call filter keeps that affinity; needs the mechanism "filter"
    protected_pids: list[int]  # with `filter`: no user namespaces, and no signals to these nor to the supervisor
    network: str  # "": open; "namespace": its own; "filter": Unix and netlink sockets only
    view: list[Mount]  # if given: a mount namespace with these mounts only
    root: str  # with `view`: an empty folder that becomes the root
    working: str  # with `view`: the current directory, as the job sees it
    devices: list[str]  # with `view`: names in /dev
    shm_bytes: int  # with `view`: the size of /dev/shm
    read: list[str]  # if given: Landlock; what it may read and execute, in the view
    list_only: list[str]  # with `read`: folders of which it may only list the names
    write: list[str]  # with `read`: what it may change
    bare: bool  # none of the above but file_bytes: the command confines the job itself
    on_stop: list[str]  # a command to run if the job had to be stopped, even after the harness has died


def supervise(
    job: Job,
    command: list[str],
    environment: dict[str, str],
    limits: Limits,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    confinement: Confinement,
    pass_fds: tuple[int, ...] = (),
    tree_root: Callable[[], int | None] | None = None,
) -> Outcome:
    """Run `command` for `job` below a supervisor and within `limits`. Raises SandboxError if that cannot be done.

    `pass_fds` are file descriptors that `command` inherits. `tree_root()` is the process below which the job runs, if
    that is not the supervisor; None while it is unknown.
    """
    confinement = {**_common(limits), **confinement}
    started_unix_s = time.time()
    with (
        Log(job.log, limits.log_bytes) as log,
        _Supervisor(command, environment, job.working, confinement, limits, pass_fds) as supervisor,
    ):

        def on_data(data: bytes) -> None:
            log.write(data)
            on_output(data)

        gpus = find_gpus()[0] if job.gpu else None
        gpu = GpuWatch(gpus) if gpus else None
        watchdog = Watchdog(tree_root or (lambda: supervisor.process.pid), job.working, job.temporary, limits, gpu)
        stopped_for = supervisor.follow(
            lambda: watchdog.exceeded() or (Ending.EARLY_STOP if should_stop() else None), on_data
        )
        report = supervisor.report()
    _reopen(job)
    largest_process_bytes = max(0, report["largest_process_bytes"] - watchdog.peak_file_mapped_bytes)
    usage = Usage(
        wall_time_s=report["wall_time_s"],
        cpu_time_s=max(report["cpu_time_s"], watchdog.cpu_time_s),  # the kernel counts only who was waited for
        peak_memory_bytes=max(watchdog.peak_memory_bytes, largest_process_bytes),
        output_bytes=folder_bytes(job.working),
        log_bytes=log.seen_bytes,
        peak_processes=watchdog.peak_processes or None,
        memory_samples=watchdog.memory_samples,
        gpu=gpu.usage() if gpu else None,
    )
    exceeded = _exceeded_at_the_end(usage, limits, job)
    _prune(job)
    if stopped_for is None and report["out_of_time_unix_s"] is not None:
        stopped_for = Ending.WALL_TIME
    stopped_unix_s = report["out_of_time_unix_s"] or supervisor.stopped_unix_s
    return _outcome(report, stopped_for, exceeded, usage, (started_unix_s, stopped_unix_s))


def _exceeded_at_the_end(usage: Usage, limits: Limits, job: Job) -> Ending | None:
    """The limit exceeded between two samples: the kernel knows the largest process, the folders still exist."""
    if limits.memory_bytes is not None and (usage.peak_memory_bytes or 0) > limits.memory_bytes:
        return Ending.MEMORY
    if limits.scratch_bytes is not None and folder_bytes(job.temporary) > limits.scratch_bytes:
        return Ending.SCRATCH
    if limits.output_bytes is not None and usage.output_bytes > limits.output_bytes:
        return Ending.OUTPUT
    return None


def _common(limits: Limits) -> Confinement:
    """What every backend asks the supervisor for."""
    confinement: Confinement = {"file_bytes": file_bytes(limits), "wall_time_s": limits.wall_time_s}
    if limits.cpu_cores is not None:
        confinement["cores"], confinement["filter"] = cores(limits), not why_unavailable("filter")
    return confinement


def _outcome(
    report: dict[str, Any],
    stopped_for: Ending | None,
    exceeded: Ending | None,
    usage: Usage,
    clock: tuple[float, float | None],
) -> Outcome:
    status: int | None = report["status"]
    killed_by = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
    ending = Ending.SIGNAL if killed_by else Ending.EXIT
    if report.get("killed_for_memory") and (killed_by == signal.SIGKILL or (status and not killed_by)):
        ending = Ending.MEMORY  # by the kernel, between two samples
    if killed_by == signal.SIGXFSZ:  # one file grew beyond the output limit
        ending = Ending.OUTPUT
    if exceeded is not None:
        ending = exceeded
    if stopped_for is not None and not report["ended_by_itself"]:
        ending = stopped_for
    return Outcome(
        ending=ending,
        exit_code=None if status is None or killed_by else os.waitstatus_to_exitcode(status),
        signal=killed_by,
        usage=usage,
        left_running=report["left_running"],
        started_unix_s=clock[0],
        stopped_unix_s=clock[1],
    )


def from_exit_code(outcome: Outcome) -> Outcome:
    """The outcome of a job whose launcher (bwrap, a container engine) reports death by signal N as exit code 128 + N.

    Code 128 + SIGXFSZ is not taken for an exceeded output limit: a program may choose it, and the file is measured
    anyway. How many processes ended with the namespace is unknown.
    """
    code = outcome.exit_code
    if outcome.ending is not Ending.EXIT or code is None or code - 128 not in set(signal.Signals):
        return structs.replace(outcome, left_running=None)
    return structs.replace(outcome, left_running=None, ending=Ending.SIGNAL, signal=code - 128, exit_code=None)


def _reopen(job: Job) -> None:
    """Restore access to the folders above the working one: in the process backend the job owns them."""
    above = [folder for folder in job.working.parents if folder.is_relative_to(job.stage)]
    for folder in reversed(above):
        with contextlib.suppress(OSError):
            folder.chmod(0o700)


def _prune(job: Job) -> None:
    """Remove what the caller could not: too deep folders. Raises OutputError."""
    try:
        for folder in (job.working, job.temporary):
            prune(folder)
    except OSError as error:
        raise OutputError(f"Cannot clean up {job.working}: {error.strerror}.") from error


class _Supervisor:
    """A running supervisor. It stops the job when the control pipe is closed; leaving the context closes it."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        working: Path,
        confinement: Confinement,
        limits: Limits,
        pass_fds: tuple[int, ...],
    ) -> None:
        control_read, control_write = os.pipe()
        self._result, result_write = os.pipe()
        self._control: int | None = control_write
        self._report = b""
        self.stopped_unix_s: float | None = None  # when a limit or Ctrl-C made us stop it
        arguments = [str(control_read), str(result_write), marshal.dumps(dict(confinement)).hex()]
        scoped = scope_command(environment, limits)
        try:
            self.process = subprocess.Popen(
                [*scoped, *SUPERVISOR, *arguments, *command],
                cwd=working,
                env=scope_environment() if scoped else environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(control_read, result_write, *pass_fds),
                start_new_session=True,  # Ctrl-C is for us alone
            )
        except OSError as error:
            os.close(control_write)
            os.close(self._result)
            raise SandboxError(f"Cannot start a process: {error}") from error
        finally:
            os.close(control_read)
            os.close(result_write)
        assert self.process.stdout is not None  # noqa: S101  # PIPE was asked for
        self._output = self.process.stdout
        os.set_blocking(self._output.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        try:
            self.process.wait(REPORT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
        os.close(self._result)

    def stop(self) -> None:
        """Have the supervisor end everything below it; no effect once it has ended."""
        if self._control is not None:
            os.close(self._control)
            self._control = None

    def follow(self, exceeded: Callable[[], Ending | None], on_data: Callable[[bytes], None]) -> Ending | None:
        """Pass output on and check for `exceeded` limits until the supervisor reports; why we stopped it, if we did."""
        stopped_for: Ending | None = None
        deadline = float("inf")
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._result, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                try:
                    reported = self._pass_on(selector, on_data)
                    if reported:
                        break
                    reason = exceeded() if stopped_for is None else None
                except KeyboardInterrupt:
                    reason = Ending.INTERRUPTED
                if reason is not None:
                    stopped_for, self.stopped_unix_s = reason, time.time()
                    deadline = time.monotonic() + REPORT_TIMEOUT_S
                    self.stop()
        self._drain(on_data)
        return stopped_for

    def report(self) -> dict[str, Any]:
        """The supervisor's report. Raises SandboxError if there is none: something else killed the supervisor."""
        try:
            first_line = self._report.decode().split("\n")[0]  # where the command cannot start, it says why
            report: dict[str, Any] = ast.literal_eval(first_line)
        except (ValueError, SyntaxError):
            raise SandboxError(
                "The supervisor of the run ended without a report.",
                hint="Something killed it: another program, or the submission. See log.txt, then run again.",
            ) from None
        if "cannot_start" in report:
            raise SandboxError(f"Cannot start the submission: {report['cannot_start']}")
        return report

    def _pass_on(self, selector: selectors.BaseSelector, on_data: Callable[[bytes], None]) -> bool:
        """Wait once; output goes to `on_data`. Returns whether the supervisor has reported."""
        for key, _ in selector.select(TICK_S):
            if key.fileobj is self._output:
                data = self._output.read(PIECE_BYTES)
                if data:
                    on_data(data)
                elif data == b"":
                    selector.unregister(self._output)
            else:
                data = os.read(self._result, PIECE_BYTES)
                self._report += data
                if not data or self._report.endswith(b"\n"):
                    return True
        return False

    def _drain(self, on_data: Callable[[bytes], None]) -> None:
        """Pass on what is left in the pipe: no writer is left."""
        with contextlib.suppress(ValueError):
            while data := self._output.read(PIECE_BYTES):
                on_data(data)


MAX_DEPTH = 64  # levels
MAX_PATH = 2000  # characters; the kernel accepts 4095


def prune(folder: Path) -> None:
    """Remove what is nested too deeply below `folder`, and make the rest removable by its owner.

    No process may use it any more. Raises OSError.
    """
    folders = [(str(folder), 0)]
    while folders:
        path, depth = folders.pop()
        os.chmod(path, 0o700)  # noqa: PTH101  # the program may have removed our permission
        with os.scandir(path) as entries:
            below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in below:
            if depth + 1 >= MAX_DEPTH or len(entry.path) > MAX_PATH:
                _remove(path, entry.name)
            else:
                folders.append((entry.path, depth + 1))


def _remove(parent: str, name: str) -> None:
    """Remove a folder of any depth: each folder in it is first moved to its own level, so that no path grows."""
    top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        waiting, moved = [name], 0
        while waiting:
            name = waiting.pop()
            os.chmod(name, 0o700, dir_fd=top)
            here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for entry in list(os.scandir(here)):
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.name, 0o700, dir_fd=here)
                        moved += 1
                        waiting.append(f".dfdc-removed-{moved}")
                        os.rename(entry.name, waiting[-1], src_dir_fd=here, dst_dir_fd=top)
                    else:
                        os.unlink(entry.name, dir_fd=here)
            finally:
                os.close(here)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
