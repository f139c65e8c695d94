"""Run a staged submission, watch it, and collect its files: everything that is observed of a run."""

import os
import posixpath
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from dfdc_kit.csv_text import as_text
from dfdc_kit.harness.collect import collect, collect_fallbacks, csv_files, last_lines, lines_with, read_regular_file
from dfdc_kit.harness.environment import NoiseWatch
from dfdc_kit.harness.forecast.time_forecast import EarlyStopper, video_sizes
from dfdc_kit.harness.log_parser import failure_reason
from dfdc_kit.harness.python_start import MISSING_INPUT
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.stage import OWN_PYTHON, Staged
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation
from dfdc_kit.sandbox.base import Ending, Job, SandboxBackend, never
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.packages import installed_versions, is_installed
from dfdc_kit.submission.program import Program, read_program
from dfdc_kit.submission.validate import SubmissionTable, validate

CSV_LIMIT_BYTES = 1 << 30
MISSING_INPUT_LIMIT_BYTES = 1 << 16
ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # passed on: no tokens, no home
INPUT_PATH = re.compile(r"(?:/kaggle/input|(?:^|(?<=['\"\s:=(]))(?:\.\./)+input)/([\w.@+ -]+(?:/[\w.@+ -]+)*)(.?)")
WRITABLE_PATH = re.compile(r"'(/kaggle/(?:working|temp|tmp)\b[^']*)'")
PATTERN_SIGNS = ("*", "?", "[", "{", "%", "$", "\0")  # after these a name is only a beginning
MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named ['\"]([\w.]+)['\"]")


class BackgroundReporter:
    """Passes `opened` and `output` on to `listener` in a thread of its own, in order, while the context is open.

    A slow listener never delays the run. It misses output, and a note says how much; the log has all of it.
    capacity: pieces of up to 64 KiB that wait. patience_s: how long the end waits for those that still do.
    """

    def __init__(self, listener: RunListener, *, capacity: int = 256, patience_s: float = 2.0) -> None:
        self._listener = listener
        self._patience_s = patience_s
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(capacity)  # None: the end
        self._missed_bytes = 0
        self._thread = threading.Thread(target=self._report, name="background-reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(queue.Full):
            if self._missed_bytes:
                note = self._missed()
                self._waiting.put(lambda: self._listener.output(note), timeout=self._patience_s)
            self._waiting.put(None, timeout=self._patience_s)
            self._thread.join(self._patience_s)
        if self._thread.is_alive():  # the listener still blocks: drop what waits
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            self._waiting.put_nowait(None)

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` of `total` videos have been opened; dropped if the listener is behind, as a later call says more."""
        self._offer(lambda: self._listener.opened(name, count, total))

    def output(self, data: bytes) -> None:
        """A piece of the submission's output."""
        piece = self._missed() + data
        if self._offer(lambda: self._listener.output(piece)):
            self._missed_bytes = 0
        else:
            self._missed_bytes += len(data)

    def _missed(self) -> bytes:
        count = self._missed_bytes
        return b"\n[dfdc: %d bytes are not shown here; log.txt has them]\n" % count if count else b""

    def _offer(self, call: Callable[[], None]) -> bool:
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            return False
        return True

    def _report(self) -> None:
        while (call := self._waiting.get()) is not None:
            call()


def observe(
    request: RunRequest,
    backend: SandboxBackend,
    folder: Path,
    staged: Staged,
    expected: ExpectedRows,
    listener: RunListener,
) -> tuple[Observation, SubmissionTable | None]:
    """Run, watch, collect, validate; and the valid rows of its file, None if there are none.

    Raises KitError where data, machine or harness are at fault.
    """
    total = len(request.dataset.videos)
    opened, reporter = 0, BackgroundReporter(listener)

    def on_open(name: str) -> None:
        nonlocal opened
        opened += 1
        reporter.opened(name, opened, total)

    can_mount = backend.mounts_files()
    job = Job(
        command=staged.command,
        environment=environment(staged, gpu=request.profile.offers_gpu),
        stage=staged.root,
        working=staged.working,
        temporary=staged.temporary,
        mounts=staged.mounts,
        hidden=tuple(_secrets(request, folder.parent)),
        log=folder / LOG,
        gpu=request.profile.offers_gpu,
    )
    with reporter, NoiseWatch() as noise_watch:
        stopper = _early_stopper(request, noise_watch)
        with VideoWatch(staged.videos, on_open, stopper.completed if stopper else None) as watch:
            outcome = backend.run(
                job, request.profile.limits, reporter.output, stopper.should_stop if stopper else never
            )
        noise = noise_watch.noise(outcome.usage.cpu_time_s)
    csv_status = collect(staged.working / request.challenge.submission.name, folder / CSV, CSV_LIMIT_BYTES)
    known = set(as_text(expected.ids))
    fallbacks = collect_fallbacks(staged.working / FALLBACKS, folder / FALLBACKS, known)
    changed_input = staged.changed_input()
    last_output = last_lines(folder / LOG)
    submission = request.submission
    program = read_program(submission.folder, submission.program, alone=submission.alone)
    unmounted, unshown = _missing_inputs(submission, program, staged, folder / LOG, shows_paths=can_mount)
    failed = outcome.exit_code != 0
    same_python = not backend.uses_image
    imports = _failed_imports(submission, program, last_output, same_python=same_python) if failed else {}
    others = [] if csv_status == "collected" else _other_csv_files(staged, request.challenge.submission.name)
    validation, table = (
        validate(folder / CSV, request.challenge, expected) if csv_status == "collected" else (None, None)
    )
    observation = Observation(
        outcome=outcome,
        csv_status=csv_status,
        validation=validation,
        videos=total,
        reads=watch.reads(outcome.stopped_unix_s),
        reads_caveat=watch.caveat,
        noise=noise,
        early_stop_reason=stopper.reason if stopper and outcome.ending is Ending.EARLY_STOP else "",
        changed_input=changed_input,
        fallbacks=fallbacks,
        last_output=last_output,
        withheld=staged.withheld,
        staging_notes=staged.notes,
        unmounted_inputs=unmounted,
        hidden_inputs=unshown,
        other_csv_files=others,
        **imports,
    )
    return observation, table


def _secrets(request: RunRequest, runs: Path) -> Iterator[Path]:
    """What no submission may read: labels, earlier runs, and the user's own files with the credentials among them."""
    yield from request.hidden
    yield request.dataset.folder
    if request.dataset.solution is not None:
        yield request.dataset.solution
    yield runs
    with suppress(RuntimeError):  # no home folder
        yield Path.home()
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        yield Path(folder)


def _early_stopper(request: RunRequest, noise_watch: NoiseWatch) -> EarlyStopper | None:
    """Decides when a run cannot finish in time; None without --stop-early or a time limit."""
    profile, limit_s = request.profile, request.profile.limits.wall_time_s
    if not request.stop_early or limit_s is None:
        return None
    videos = request.dataset.videos
    return EarlyStopper(profile.test_videos or len(videos), limit_s, noise_watch.noise_now, video_sizes(videos))


PIP = {  # without internet: one attempt, and build tools from the environment instead of the index
    "PIP_RETRIES": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "no",  # in the environment, "no" turns the option on
}


def environment(staged: Staged, *, gpu: bool) -> dict[str, str | Path]:
    """The submission's environment variables: those of Kaggle's hidden rerun, the input folder, and a few of ours."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {
        **{name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        **hidden,
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": staged.temporary / "home",
        "TMPDIR": staged.temporary / "tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **PIP,
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "DFDC_INPUT_DIR": staged.input,
    }


def input_paths(texts: Iterable[str]) -> set[str]:
    """Paths below /kaggle/input in texts of a program or lines of a log, as far as they are fixed.

    >>> sorted(input_paths(["../input/weights/a.pt", "open '/kaggle/input/faces/*.png'"]))
    ['faces', 'weights/a.pt']
    """
    found = set()
    for text in texts:
        for match in INPUT_PATH.finditer(text):
            path, follows = match[1].rstrip(" ."), match[2]
            if follows in PATTERN_SIGNS and follows:
                path = path.rpartition("/")[0]
            if path:
                found.add(path)
    return found


def _other_csv_files(staged: Staged, wanted: str) -> list[str]:
    """Files that may have been meant as the submission file: in the working folder, and by name in other folders."""
    found = csv_files(staged.working, wanted)
    for folder, shown in (("tmp", "/tmp"), ("home", "~"), ("kaggle/temp", "/kaggle/temp")):  # noqa: S108
        names = csv_files(staged.temporary / folder, wanted)
        found += [f"{shown}/{name}" for name in names if name.rpartition("/")[2].casefold().startswith("sub")]
    return found


def _missing_inputs(
    submission: CodeSubmission, program: Program, staged: Staged, log: Path, *, shows_paths: bool
) -> tuple[list[str], list[str]]:
    """Paths below /kaggle/input that the submission attaches, that code or log name, or that Python looked for: those
    that are not mounted; and those that are, but that this sandbox does not show there (`shows_paths` False).
    """
    lines = lines_with((b"input/", b"/kaggle/"), log)
    looked_for = _looked_for(staged)
    logged = input_paths(lines) | looked_for
    commands = [text for text, _ in program.commands]
    texts = [text for text, _ in program.texts if text not in commands]
    named = input_paths([*texts, *(word for command in commands for word in command.split())])
    attached = {one.mount_points[-1] for one in submission.settings.inputs}
    missing = {path for path in logged | named | attached if staged.lacks(path)}
    longest = {path for path in missing if not any(other.startswith(f"{path}/") for other in missing)}
    written = {path for line in lines for path in WRITABLE_PATH.findall(line)}
    if any("DFDC_INPUT_DIR" in text for text in texts):  # it looked whether there is a /kaggle/input, and has a way out
        logged -= looked_for
    return sorted(longest), [] if shows_paths else sorted(logged - missing | written)


def _looked_for(staged: Staged) -> set[str]:
    """Paths below /kaggle/input that the run's Python did not find; the submission could have written the file."""
    content = read_regular_file(staged.temporary / "home" / OWN_PYTHON / MISSING_INPUT, MISSING_INPUT_LIMIT_BYTES)
    lines = [] if isinstance(content, str) else content.decode("utf-8", "backslashreplace").splitlines()
    lines = [staged.input.name if line == "." else line for line in lines if len(line) < 500]  # ".": the input itself
    return {path for line in lines for path in input_paths([f"/kaggle/input/{line}"])}


def _failed_imports(
    submission: CodeSubmission, program: Program, last_output: list[str], *, same_python: bool
) -> dict[str, Any]:
    """What explains the failure of a program, as fields of an Observation: all modules that it imports and that are
    missing, and the versions of the packages that are not. same_python: it ran with the packages of this Python.
    """
    exception = failure_reason(last_output).exception
    found: dict[str, Any] = {"package_versions": installed_versions() if same_python else {}}
    first = MISSING_MODULE.search(exception)
    own_file = _own_file(submission, exception, first[1].partition(".")[0] if first else "")
    if first is None or own_file:
        return {**found, "own_file": own_file}
    names = {first[1].partition(".")[0]}
    if same_python:  # all at once, not only the first
        imported = {one.module.partition(".")[0] for one in program.imports if not one.optional}
        names |= {name for name in imported - program.local_modules if not is_installed(name)}
    neighbours = [path for name in sorted(names) if (path := _beside(submission, name))]
    return {**found, "missing_modules": sorted(names), "module_beside": neighbours[0].name if neighbours else ""}


def _own_file(submission: CodeSubmission, exception: str, module: str) -> str:
    """The file of the submission that a failed program looked for in another folder; `module`: that it imported."""
    if submission.alone:
        return ""
    files = [path.relative_to(submission.folder).as_posix() for path in submission.files()]
    if module:
        wanted = (f"{module}.py", f"{module}/__init__.py")
        return next((name for name in files if any(f"/{name}".endswith(f"/{one}") for one in wanted)), "")
    path = re.search(r"No such file or directory: '([^'/][^']*)'", exception)
    name = posixpath.normpath(path[1]) if path else ""
    return name if name in files else ""


def _beside(submission: CodeSubmission, module: str) -> Path | None:
    """The file or folder of a module next to a single-file submission, which does not belong to it."""
    candidates = (submission.folder / f"{module}.py", submission.folder / module)
    return next((path for path in candidates if submission.alone and path.exists()), None)
