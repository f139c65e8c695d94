"""Stage a code submission, run it, watch it, and take over what it leaves: everything that is seen of a run."""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from dfdc_kit.csv_text import as_text
from dfdc_kit.harness.collect import collect, collect_fallbacks, last_lines
from dfdc_kit.harness.environment import NoiseWatch
from dfdc_kit.harness.forecast.summary import Forecaster
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.stage import Staged
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation
from dfdc_kit.sandbox.base import Ending, Job, SandboxBackend, never
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import SubmissionTable, validate

MOST_PIECES = 256  # that wait to be told, of up to 64 KiB each
PATIENCE_S = 2.0  # after the run, for what still waits


class BackgroundReporter:
    """Passes `opened` and `output` on to `audience` in a thread of its own, in order, while the context is open.

    Who is slow misses output, and is told how much; the log has all of it.
    """

    def __init__(self, audience: RunListener) -> None:
        self._audience = audience
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_PIECES)  # None: it is over
        self._missed_bytes = 0
        self._thread = threading.Thread(target=self._tell, name="audience", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(queue.Full):
            if self._missed_bytes:
                note = self._missed()
                self._waiting.put(lambda: self._audience.output(note), timeout=PATIENCE_S)
            self._waiting.put(None, timeout=PATIENCE_S)
            self._thread.join(PATIENCE_S)
        if self._thread.is_alive():  # it still waits for its audience: what it would have told after that is dropped
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            self._waiting.put_nowait(None)

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` of `total` videos have been opened; not told to who is behind: a later one says more."""
        self._offer(lambda: self._audience.opened(name, count, total))

    def output(self, data: bytes) -> None:
        """A piece of what the submission prints."""
        said = self._missed() + data
        if self._offer(lambda: self._audience.output(said)):
            self._missed_bytes = 0
        else:
            self._missed_bytes += len(data)

    def _missed(self) -> bytes:
        count = self._missed_bytes
        return b"\n[dfdc: %d bytes are not shown here; log.txt has them]\n" % count if count else b""

    def _offer(self, tell: Callable[[], None]) -> bool:
        try:
            self._waiting.put_nowait(tell)
        except queue.Full:
            return False
        return True

    def _tell(self) -> None:
        while (tell := self._waiting.get()) is not None:
            tell()


CSV_LIMIT_BYTES = 1 << 30
PASSED_ON = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # never a token, never the home folder


def observe(
    request: RunRequest,
    backend: SandboxBackend,
    folder: Path,
    expected: ExpectedRows,
    sample: bytes,
    audience: RunListener,
) -> tuple[Observation, SubmissionTable | None]:
    """Stage, run, watch, collect, validate. The stage is gone afterwards, whatever happened."""
    total = len(request.dataset.videos)
    opened, aside = 0, BackgroundReporter(audience)

    def on_open(name: str) -> None:
        nonlocal opened
        opened += 1
        aside.opened(name, opened, total)

    with Staged(folder / "stage", request.challenge) as staged:
        staged.fill(request.submission, request.dataset, sample, audience.staged)
        job = Job(
            command=[sys.executable, *staged.program],
            environment=environment(staged, gpu=request.profile.offers_gpu),
            stage=staged.root,
            working=staged.working,
            temporary=staged.temporary,
            hidden=tuple(_secrets(request, folder.parent)),
            log=folder / LOG,
            gpu=request.profile.offers_gpu,
        )
        with aside, NoiseWatch() as noises:
            forecaster = _forecaster(request, noises)
            with VideoWatch(staged.videos, on_open, forecaster.completed if forecaster else None) as watch:
                outcome = backend.run(
                    job, request.profile.limits, aside.output, forecaster.hopeless if forecaster else never
                )
            noise = noises.noise(outcome.usage.cpu_time_s)
        csv = collect(staged.working / request.challenge.submission.name, folder / CSV, CSV_LIMIT_BYTES)
        known = set(as_text(expected.ids))
        fallbacks = collect_fallbacks(staged.working / FALLBACKS, folder / FALLBACKS, known)
        changed_input = staged.changed_input()
    validation, table = validate(folder / CSV, request.challenge, expected) if csv == "collected" else (None, None)
    observation = Observation(
        outcome=outcome,
        csv=csv,
        validation=validation,
        refused="",
        harness_fault="",
        videos=total,
        reads=watch.reads(outcome.stopped_unix_s),
        reads_caveat=watch.caveat,
        noise=noise,
        hopeless=forecaster.reason if forecaster and outcome.ending is Ending.HOPELESS else "",
        changed_input=changed_input,
        fallbacks=fallbacks,
        last_output=last_lines(folder / LOG),
    )
    return observation, table


def _secrets(request: RunRequest, runs: Path) -> Iterator[Path]:
    """What no submission may read: labels, earlier runs, and what is the user's own, credentials among it."""
    yield request.dataset.folder
    if request.dataset.solution is not None:
        yield request.dataset.solution
    yield runs
    with suppress(RuntimeError):  # nobody knows it
        yield Path.home()
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        yield Path(folder)


def _forecaster(request: RunRequest, noises: NoiseWatch) -> Forecaster | None:
    """What tells that the hidden test cannot end in time; None where nobody asked for it, or nothing is limited."""
    profile, limit_s = request.profile, request.profile.limits.wall_time_s
    if not request.stop_early or limit_s is None:
        return None
    return Forecaster(profile.test_videos or len(request.dataset.videos), limit_s, noises.noise_now)


def environment(staged: Staged, *, gpu: bool) -> dict[str, str | Path]:
    """What the submission sees: Kaggle's variables of a hidden rerun, where its input lies, and nothing of ours."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        **hidden,
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": staged.temporary,
        "TMPDIR": staged.temporary,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "DFDC_INPUT_DIR": staged.input,
    }
