"""Stage a code submission, run it, watch it, and take over what it leaves: everything that is seen of a run."""

import os
import sys
from pathlib import Path

from dfdc_kit.csvtext import as_text
from dfdc_kit.harness.collect import collect, collect_fallbacks, last_lines
from dfdc_kit.harness.machine import OthersWatch
from dfdc_kit.harness.request import Audience, RunRequest
from dfdc_kit.harness.stage import Staged
from dfdc_kit.harness.watch import VideoWatch
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation
from dfdc_kit.sandbox.base import Job, SandboxBackend
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
    opened = 0

    def on_open(name: str) -> None:
        nonlocal opened
        opened += 1
        audience.opened(name, opened, total)

    with Staged(folder / "stage", request.challenge) as staged:
        staged.fill(request.submission, request.dataset, sample, audience.staged)
        job = Job(
            command=[sys.executable, *staged.program],
            environment=environment(staged),
            stage=staged.root,
            working=staged.working,
            temporary=staged.temporary,
            log=folder / LOG,
        )
        others = OthersWatch()
        with VideoWatch(staged.videos, on_open) as watch:
            outcome = backend.run(job, request.profile.limits, audience.output)
        others_share = others.share(outcome.usage.cpu_time_s)
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
        others_share=others_share,
        changed_input=changed_input,
        fallbacks=fallbacks,
        last_output=last_lines(folder / LOG),
    )
    return observation, table


def environment(staged: Staged) -> dict[str, str | Path]:
    """What the submission sees: Kaggle's variables of a hidden rerun, where its input lies, and nothing of ours."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": staged.temporary,
        "TMPDIR": staged.temporary,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "DFDC_INPUT_DIR": staged.input,
    }
