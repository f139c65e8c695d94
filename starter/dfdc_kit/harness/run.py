"""One run of a code submission, in one straight line: preflight, stage, observe, score, judge, report."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import prod
from pathlib import Path

from dfdc_kit import __version__
from dfdc_kit.errors import OutputError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.collect import fallback_rows
from dfdc_kit.harness.environment import environment_diffs, machine
from dfdc_kit.harness.forecast.memory_growth import memory_growth
from dfdc_kit.harness.forecast.time_forecast import forecast_time, video_sizes
from dfdc_kit.harness.judge import judge
from dfdc_kit.harness.observe import observe
from dfdc_kit.harness.preflight import RunInputs, preflight
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.score_run import baseline_score, loss_breakdown, partial_score, score_run
from dfdc_kit.harness.stage import stage
from dfdc_kit.report import html
from dfdc_kit.report.history import of_run, record_or_warn
from dfdc_kit.report.run_report import (
    CSV,
    FALLBACKS,
    PAGE,
    Judgement,
    MemoryGrowth,
    MountedInput,
    Observation,
    RunReport,
    Scoring,
    TimeForecast,
    save,
)
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.submission.code import CodeSubmission, files_sha256
from dfdc_kit.submission.external_data import folder_bytes, manifest_problems
from dfdc_kit.submission.validate import SubmissionTable


def run(
    request: RunRequest,
    backend: SandboxBackend,
    runs: Path,
    listener: RunListener,
    warn: Callable[[str], None] | None = None,
) -> RunReport:
    """Run a code submission and judge it; `runs`/<run id> contains its log, CSV and `run.json` afterwards.

    The page `report.html` and a row in the history of `runs` are written if `warn` is given, which gets a sentence
    where that fails; a rehearsal's trials have neither. Raises KitError where data, machine or harness are at fault,
    before or during the run. What the submission does wrong is a verdict, and so is Ctrl-C.
    """
    inputs = preflight(request, runs)
    started = datetime.now(UTC)
    folder = new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}")
    try:
        with stage(request, folder, inputs.sample, listener, can_mount=backend.mounts_files()) as staged:
            observation, table = observe(request, backend, folder, staged, inputs.expected, listener)
    except BaseException:
        with suppress(OSError):  # a log that was written stays
            folder.rmdir()
        raise
    scoring = score_run(observation, table, inputs, request.challenge)
    judgement = judge(observation, scoring, request.challenge, request.profile)
    report = _report(request, backend, inputs, folder, started, observation, scoring, judgement, table)
    save(report, folder)
    if warn is not None:
        try:
            html.write(report, folder)
        except OutputError as error:
            warn(f"No {PAGE}: {error}")
        record_or_warn(runs, of_run(report), warn)
    return report


def _report(
    request: RunRequest,
    backend: SandboxBackend,
    inputs: RunInputs,
    folder: Path,
    started: datetime,
    observation: Observation,
    scoring: Scoring,
    judgement: Judgement,
    table: SubmissionTable | None,
) -> RunReport:
    """Everything about the run in one record: what was run, what was observed, and what explains the score."""
    submission, dataset, challenge = request.submission, request.dataset, request.challenge
    local = machine(submission.settings.packages)
    sizes = video_sizes(dataset.videos) if observation.reads else {}
    growth = memory_growth(observation.outcome.usage.memory_samples, observation.reads, sizes)
    can_forecast = judgement.verdict is Verdict.COMPLETE or observation.early_stop_reason
    return RunReport(
        kit_version=__version__,
        run_id=folder.name,
        started=started.isoformat(timespec="seconds"),
        submission=submission.name,
        submission_folder=str(submission.folder),
        submission_sha256=submission.sha256(),
        manifest_problems=manifest_problems(submission, request.profile),
        data_folder=str(dataset.folder),
        input_sha256=request.input_sha256 or files_sha256(dataset.videos[0].parent, dataset.videos),
        solution=str(dataset.solution or ""),
        rows=len(inputs.expected.ids),
        challenge=challenge,
        metric_sha256=file_sha256(inputs.metric.path),
        profile_name=request.profile_name,
        profile=request.profile,
        backend=backend.name,
        enforcement=backend.enforcement(request.profile.limits),
        machine=local,
        environment_diffs=environment_diffs(request.profile, local),
        inputs=_inputs(submission),
        observation=observation,
        judgement=judgement,
        score=scoring.score,
        metric_rejection=scoring.rejection,
        metric_error=scoring.error,
        partial_score=partial_score(observation, table, folder / CSV, inputs, challenge),
        memory_growth=growth,
        forecast=_forecast(request, inputs, observation, growth, sizes) if can_forecast else None,
        loss_breakdown=loss_breakdown(scoring, table, fallback_rows(folder / FALLBACKS), inputs, challenge),
        submission_csv_sha256=file_sha256(folder / CSV),
        constant_score=baseline_score(scoring, inputs, challenge),
        message=request.message,
    )


def _inputs(submission: CodeSubmission) -> list[MountedInput]:
    """What the submission attaches, with its size here."""
    found = []
    for one in submission.settings.inputs:
        folder = one.folder(submission.folder)
        found.append(
            MountedInput(
                slug=one.slug,
                kind=one.kind,
                folder=str(folder or ""),
                size_bytes=folder_bytes(folder) if folder else 0,
                licence=one.licence,
                url=one.url,
            )
        )
    return found


def _forecast(
    request: RunRequest,
    inputs: RunInputs,
    observation: Observation,
    growth: MemoryGrowth | None,
    sizes: dict[str, float],
) -> TimeForecast | None:
    """Whether the hidden tests would finish in time; None where the profile has no time limit."""
    tests, usage = request.challenge.sizes, observation.outcome.usage
    return forecast_time(
        observation.reads,
        usage.wall_time_s,
        observation.videos,
        request.profile,
        profile_name=request.profile_name,
        videos={"public": tests.public_test_videos, "private": tests.private_test_videos},
        cpu_time_s=usage.cpu_time_s,
        noise=observation.noise,
        gpu_declared=request.submission.settings.gpu,
        leaking=growth is not None and growth.leaks,
        sizes=sizes,
        typical_size=float(prod(tests.typical_video or (0,))),
        local=inputs.local_calibration,
        hosted=inputs.hosted_calibration,
    )


def new_folder(runs: Path, name: str) -> Path:
    """Create `runs`/`name`, or with a random suffix if that exists. Raises OutputError."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            folder = runs / name
            try:
                folder.mkdir()
            except FileExistsError:
                name = f"{name}-{secrets.token_hex(2)}"
            else:
                return folder.resolve()
    except OSError as error:
        raise OutputError(
            f"Cannot create a run folder in {runs}: {error.strerror}.", hint="Choose a writable folder: --out DIR"
        ) from error
