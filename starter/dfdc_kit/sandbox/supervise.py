"""The harness's side of a supervised run: start, follow, stop, and read what the supervisor says in the end."""

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
from dfdc_kit.sandbox.enforcement import SUPERVISOR, cores, file_bytes, why_not
from dfdc_kit.sandbox.monitor.gpu import GpuWatch, find
from dfdc_kit.sandbox.monitor.log import Log
from dfdc_kit.sandbox.monitor.watchdog import Watchdog, folder_bytes

TICK_S = 0.05
PIECE_BYTES = 1 << 16
PATIENCE_S = 45.0  # after the order to stop, for the supervisor to report: it may itself wait twice for 20 s


class Confinement(TypedDict, total=False):
    """What the supervisor does to the job's process before it becomes the job, and after it."""

    file_bytes: int  # no file may grow larger; 0: no limit
    wall_time_s: float | None  # when it is ended, whatever the harness is at; None: no limit
    cores: list[int]  # the CPU cores that it may use; empty: all
    filter: bool  # hold on to these cores by a filter of system calls; needs the mechanism "filter";
    guarded: list[int]  # with it: no user namespaces, and no signal to these, nor to the supervisor;
    network: str  # "": open; "namespace": one of its own; "filter": no sockets but Unix ones
    shm_bytes: int  # if given: mounts of its own, and a /dev/shm of this size;
    changing: list[str]  # all mounts are read-only but these folders
    read: list[str]  # if given: Landlock; what it may read and execute,
    listed: list[str]  # of which folders it may read the names only,
    write: list[str]  # and what it may change
    temporary: str  # with shm_bytes: the folder that is also found under the short name TEMPORARY
    plain: bool  # none of the above but file_bytes: the command sees to it
    afterwards: list[str]  # a command to run if the job had to be stopped, also when the harness is gone


def supervise(
    job: Job,
    command: list[str],
    environment: dict[str, str],
    limits: Limits,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    confinement: Confinement | None = None,
    handles: tuple[int, ...] = (),
    root: Callable[[], int | None] | None = None,
) -> Outcome:
    """Run `command` for `job` below a supervisor and within `limits`. Raises SandboxError if that cannot be done.

    `handles` are file descriptors that `command` inherits. `root()` is the process below which the job runs, if that is
    not the supervisor, or None while it is not known.
    """
    orders: Confinement = {**_common(limits), **(confinement or {})}
    started_unix_s = time.time()
    with (
        Log(job.log, limits.log_bytes) as log,
        _Supervisor(command, environment, job.working, orders, handles) as supervisor,
    ):

        def keep(data: bytes) -> None:
            log.write(data)
            on_output(data)

        cards = find()[0] if job.gpu else None
        gpu = GpuWatch(cards) if cards else None
        watchdog = Watchdog(root or (lambda: supervisor.process.pid), job.working, job.temporary, limits, gpu)
        stopped_for = supervisor.follow(lambda: watchdog.over() or (Ending.EARLY_STOP if should_stop() else None), keep)
        said = supervisor.report()
    _reopen(job)
    largest_process_bytes = max(0, said["largest_process_bytes"] - watchdog.peak_of_files_bytes)
    usage = Usage(
        wall_time_s=said["wall_time_s"],
        cpu_time_s=max(said["cpu_time_s"], watchdog.cpu_time_s),  # the kernel counts only who was waited for
        peak_memory_bytes=max(watchdog.peak_memory_bytes, largest_process_bytes),
        output_bytes=folder_bytes(job.working),
        log_bytes=log.seen_bytes,
        peak_processes=watchdog.peak_processes or None,
        memory_samples=watchdog.memory_samples,
        gpu=gpu.usage() if gpu else None,
    )
    over = _over_in_the_end(usage, limits, job)
    _prune(job)
    if stopped_for is None and said["out_of_time_unix_s"] is not None:
        stopped_for = Ending.WALL_TIME
    stopped_unix_s = said["out_of_time_unix_s"] or supervisor.stopped_unix_s
    return _outcome(said, stopped_for, over, usage, (started_unix_s, stopped_unix_s))


def _over_in_the_end(usage: Usage, limits: Limits, job: Job) -> Ending | None:
    """What happened between two looks counts as well: the kernel knows the largest process, the folders are there."""
    if limits.memory_bytes is not None and (usage.peak_memory_bytes or 0) > limits.memory_bytes:
        return Ending.MEMORY
    if limits.scratch_bytes is not None and folder_bytes(job.temporary) > limits.scratch_bytes:
        return Ending.SCRATCH
    if limits.output_bytes is not None and usage.output_bytes > limits.output_bytes:
        return Ending.OUTPUT
    return None


def _common(limits: Limits) -> Confinement:
    """What every backend asks of the supervisor."""
    orders: Confinement = {"file_bytes": file_bytes(limits), "wall_time_s": limits.wall_time_s}
    if limits.cpu_cores is not None:
        orders["cores"], orders["filter"] = cores(limits), not why_not("filter")
    return orders


def _outcome(
    said: dict[str, Any],
    stopped_for: Ending | None,
    over: Ending | None,
    usage: Usage,
    clock: tuple[float, float | None],
) -> Outcome:
    status: int | None = said["status"]
    killed_by = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
    ending = Ending.SIGNAL if killed_by else Ending.EXIT
    if killed_by == signal.SIGXFSZ:  # one file grew past the limit of output
        ending = Ending.OUTPUT
    if over is not None:
        ending = over
    if stopped_for is not None and not said["ended_by_itself"]:
        ending = stopped_for
    return Outcome(
        ending=ending,
        exit_code=None if status is None or killed_by else os.waitstatus_to_exitcode(status),
        signal=killed_by,
        usage=usage,
        left_running=said["left_running"],
        started_unix_s=clock[0],
        stopped_unix_s=clock[1],
    )


def translated(outcome: Outcome) -> Outcome:
    """An outcome told by a starter that outlives the job: it reports a death by signal N as exit code 128 + N.

    A file that grew past the limit is there to be measured, so a program that chose such a code is not blamed for one.
    What still ran inside has ended with its namespace: how much that was is not known.
    """
    code = outcome.exit_code
    if outcome.ending is not Ending.EXIT or code is None or code - 128 not in set(signal.Signals):
        return structs.replace(outcome, left_running=None)
    return structs.replace(outcome, left_running=None, ending=Ending.SIGNAL, signal=code - 128, exit_code=None)


def _reopen(job: Job) -> None:
    """Open the folders above the working one again: with the process backend the job owns them."""
    above = [folder for folder in job.working.parents if folder.is_relative_to(job.stage)]
    for folder in reversed(above):
        with contextlib.suppress(OSError):
            folder.chmod(0o700)


def _prune(job: Job) -> None:
    """What a caller could not even remove is removed here. Raises OutputError."""
    try:
        for folder in (job.working, job.temporary):
            prune(folder)
    except OSError as error:
        raise OutputError(f"Cannot clean up {job.working}: {error.strerror}.") from error


class _Supervisor:
    """A running supervisor. Closing the control pipe is the order to stop; leaving the context gives it."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        working: Path,
        orders: Confinement,
        handles: tuple[int, ...],
    ) -> None:
        control_read, control_write = os.pipe()
        self._result, result_write = os.pipe()
        self._control: int | None = control_write
        self._said = b""
        self.stopped_unix_s: float | None = None  # when a limit or the keyboard made us stop it
        arguments = [str(control_read), str(result_write), marshal.dumps(dict(orders)).hex()]
        try:
            self.process = subprocess.Popen(
                [*SUPERVISOR, *arguments, *command],
                cwd=working,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(control_read, result_write, *handles),
                start_new_session=True,  # Ctrl-C at the terminal is ours to handle
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
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
        os.close(self._result)

    def stop(self) -> None:
        """Order the supervisor to end everything below it. Harmless when it has ended."""
        if self._control is not None:
            os.close(self._control)
            self._control = None

    def follow(self, over: Callable[[], Ending | None], keep: Callable[[bytes], None]) -> Ending | None:
        """Pass output on and ask what is `over` until the supervisor has reported; why we stopped it, if we did."""
        stopped_for: Ending | None = None
        deadline = float("inf")
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._result, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                try:
                    reported = self._pass_on(selector, keep)
                    if reported:
                        break
                    reason = over() if stopped_for is None else None
                except KeyboardInterrupt:
                    reason = Ending.INTERRUPTED
                if reason is not None:
                    stopped_for, self.stopped_unix_s = reason, time.time()
                    deadline = time.monotonic() + PATIENCE_S
                    self.stop()
        self._drain(keep)
        return stopped_for

    def report(self) -> dict[str, Any]:
        """What the supervisor said. Raises SandboxError if it said nothing: it was killed, and not by us."""
        try:
            said: dict[str, Any] = ast.literal_eval(
                self._said.decode().split("\n")[0]
            )  # the first: why it cannot start
        except (ValueError, SyntaxError):
            raise SandboxError(
                "The supervisor of the run ended without a report.",
                hint="Was it killed from outside, or by the submission? Look into the log, then run again.",
            ) from None
        if "cannot_start" in said:
            raise SandboxError(f"Cannot start the submission: {said['cannot_start']}")
        return said

    def _pass_on(self, selector: selectors.BaseSelector, keep: Callable[[bytes], None]) -> bool:
        """One round of waiting: output to `keep`; whether the supervisor has reported."""
        for key, _ in selector.select(TICK_S):
            if key.fileobj is self._output:
                data = self._output.read(PIECE_BYTES)
                if data:
                    keep(data)
                elif data == b"":
                    selector.unregister(self._output)
            else:
                data = os.read(self._result, PIECE_BYTES)
                self._said += data
                if not data or self._said.endswith(b"\n"):
                    return True
        return False

    def _drain(self, keep: Callable[[bytes], None]) -> None:
        """What is still in the pipe; at most one pipe's worth, since no writer is left."""
        with contextlib.suppress(ValueError):
            while data := self._output.read(PIECE_BYTES):
                keep(data)


DEEPEST = 64  # levels
LONGEST = 2000  # characters of a path; the kernel takes 4095


def prune(folder: Path) -> None:
    """Cut off what lies too deep below `folder`, and open every folder above, so that its owner can remove the rest.

    Nothing may run in it any more. Raises OSError.
    """
    folders = [(str(folder), 0)]
    while folders:
        path, depth = folders.pop()
        os.chmod(path, 0o700)  # noqa: PTH101  # its owner's; the program may have closed it
        with os.scandir(path) as entries:
            below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in below:
            if depth + 1 >= DEEPEST or len(entry.path) > LONGEST:
                _remove(path, entry.name)
            else:
                folders.append((entry.path, depth + 1))


def _remove(parent: str, name: str) -> None:
    """Remove a folder of any depth: each folder in it is first moved up beside it, so that no path grows."""
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
