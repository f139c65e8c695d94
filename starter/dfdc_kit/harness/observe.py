"""Run a staged submission, watch it, and collect its files: everything that is observed of a run."""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from dfdc_kit.csv_text import as_text
from dfdc_kit.harness.collect import collect, collect_fallbacks, csv_files, last_lines
from dfdc_kit.harness.environment import NoiseWatch
from dfdc_kit.harness.forecast.time_forecast import EarlyStopper, video_sizes
from dfdc_kit.harness.missing import failed_imports, missing_inputs
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.stage import Staged
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation
from dfdc_kit.sandbox.base import Ending, Job, SandboxBackend, never
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.program import read_program
from dfdc_kit.submission.validate import SubmissionTable, validate

CSV_LIMIT_BYTES = 1 << 30
ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # passed on: no tokens, no home


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
    unmounted, unshown = missing_inputs(program, staged, last_output, shows_paths=can_mount)
    failed = outcome.exit_code != 0
    same_python = not backend.uses_image
    imports = failed_imports(submission, program, last_output, same_python=same_python) if failed else {}
    others = [] if csv_status == "collected" else csv_files(staged.working, request.challenge.submission.name)
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
