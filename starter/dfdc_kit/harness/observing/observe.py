"""Stage a code submission, run it, watch it, and take over what it leaves: everything that is seen of a run."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dfdc_kit.csvtext import as_text
from dfdc_kit.harness.forecast.summary import Forecaster
from dfdc_kit.harness.machine import NoiseWatch
from dfdc_kit.harness.observing.aside import Aside
from dfdc_kit.harness.observing.collect import collect, collect_fallbacks, last_lines
from dfdc_kit.harness.observing.stage import Staged
from dfdc_kit.harness.observing.watch import VideoWatch
from dfdc_kit.harness.request import Audience, RunRequest
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation
from dfdc_kit.sandbox.base import Ending, Job, SandboxBackend, never
from dfdc_kit.submission.check import SubmissionTable, validate
from dfdc_kit.submission.expected import Expected

CSV_LIMIT_BYTES = 1 << 30
PASSED_ON = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # never a token, never the home folder


def observe(
    request: RunRequest,
    backend: SandboxBackend,
    folder: Path,
    expected: Expected,
    sample: bytes,
    audience: Audience,
) -> tuple[Observation, SubmissionTable | None]:
    """Stage, run, watch, collect, validate. The stage is gone afterwards, whatever happened."""
    total = len(request.dataset.videos)
    opened, aside = 0, Aside(audience)

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
    if request.dataset.truth is not None:
        yield request.dataset.truth
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
