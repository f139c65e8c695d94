"""One run of a code submission, in one straight line: preflight, stage, observe, score, judge, report."""

import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import prod
from pathlib import Path

import numpy as np

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.errors import MetricError, OutputError, SubmissionError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.collect import fallback_rows
from dfdc_kit.harness.environment import environment_diffs, machine
from dfdc_kit.harness.forecast.memory_growth import memory_growth
from dfdc_kit.harness.forecast.time_forecast import forecast_time, video_sizes
from dfdc_kit.harness.judge import judge
from dfdc_kit.harness.observe import observe
from dfdc_kit.harness.preflight import RunInputs, preflight
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.stage import stage
from dfdc_kit.report import html
from dfdc_kit.report.history import of_run, record_or_warn
from dfdc_kit.report.run_report import (
    CSV,
    FALLBACKS,
    PAGE,
    Judgement,
    LossBreakdown,
    LossBreakdownEntry,
    MemoryGrowth,
    MountedInput,
    Observation,
    PartialScore,
    RunReport,
    Scoring,
    TimeForecast,
    save,
)
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import Ending, SandboxBackend
from dfdc_kit.scoring.score import constant_score, row_losses, score_submission
from dfdc_kit.scoring.uncertainty import with_uncertainty
from dfdc_kit.submission.code import CodeSubmission, files_sha256
from dfdc_kit.submission.external_data import folder_bytes, manifest_problems
from dfdc_kit.submission.label_text import parse_labels
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


REPEATED_ROWS = 3  # a value in at least this many rows looks like a default
FILL_VALUE = 0.5  # for rows that an unfinished run had not written: half of the test videos are FAKE


def score_run(
    observation: Observation, table: SubmissionTable | None, inputs: RunInputs, challenge: Challenge
) -> Scoring:
    """Score a run that exited 0 with a valid file; of any other, and where no solution is known, there is no score.

    table: the valid rows of its submission file; None if it is invalid or missing.
    """
    outcome = observation.outcome
    finished = outcome.ending is Ending.EXIT and outcome.exit_code == 0
    if inputs.solution is None or table is None or not finished:
        return Scoring()
    try:
        score = score_submission(inputs.metric, inputs.solution, table, challenge)
        solution = inputs.solution
        return Scoring(score=with_uncertainty(score, inputs.metric, solution, table, challenge, solution.originals))
    except SubmissionError as error:
        return Scoring(rejection=str(error))
    except MetricError as error:
        return Scoring(error=str(error))


def baseline_score(scoring: Scoring, inputs: RunInputs, challenge: Challenge) -> float | None:
    """The score of the same prediction in every row, to compare with; None without a score or ground truth."""
    if scoring.score is None or inputs.solution is None:
        return None
    try:
        return constant_score(inputs.metric, inputs.solution, challenge).value
    except MetricError:  # only an addition to a score
        return None


def loss_breakdown(
    scoring: Scoring, table: SubmissionTable | None, fallbacks: set[str], inputs: RunInputs, challenge: Challenge
) -> LossBreakdown | None:
    """What fallback rows and rows of one repeated value cost; None without a score, or if the metric has no `losses`.

    fallbacks: row ids that the submission reports as fallback predictions.
    """
    if scoring.score is None or table is None or inputs.solution is None:
        return None
    by_row = row_losses(inputs.metric, inputs.solution, table, challenge)
    if by_row is None:
        return None
    predicted = dict(zip(as_text(table.ids), table.labels.tolist(), strict=True))
    entries = [_entry("fallbacks", fallbacks & by_row.keys(), by_row)]
    value, count = Counter(predicted.values()).most_common(1)[0]
    if count >= REPEATED_ROWS:
        rows = {row for row, prediction in predicted.items() if prediction == value} & by_row.keys()
        entries.append(_entry(f"rows of exactly {value!r}", rows, by_row))
    return LossBreakdown(
        mean_loss=sum(by_row.values()) / len(by_row), entries=[entry for entry in entries if entry.rows]
    )


def _entry(what: str, rows: set[str], losses: dict[str, float]) -> LossBreakdownEntry:
    cost = sum(losses[row] for row in sorted(rows))
    total = sum(losses.values())
    return LossBreakdownEntry(
        what=what,
        rows=len(rows),
        mean_loss=cost / len(rows) if rows else 0.0,
        share=cost / total if total else 0.0,
    )


def partial_score(
    observation: Observation, table: SubmissionTable | None, path: Path, inputs: RunInputs, challenge: Challenge
) -> PartialScore | None:
    """The score of the known and valid rows of an invalid file, with FILL_VALUE in all others.

    None for a valid file, without a solution, or if no row is usable.
    """
    if table is not None or inputs.solution is None or observation.csv_status != "collected":
        return None
    text = read_csv(path)
    ids, labels = text.column(challenge.submission.row_id), text.column(challenge.submission.label)
    if ids is None or labels is None:
        return None
    values = parse_labels(labels).values
    valid = (values >= 0) & (values <= 1)  # NaN is neither
    written = dict(zip(ids[valid].tolist(), values[valid].tolist(), strict=True))
    solution = inputs.solution
    rows = solution.ids.tolist()
    count = sum(row in written for row in rows)
    if not count:
        return None
    filled = np.array([written.get(row, FILL_VALUE) for row in rows])  # (n_rows,)
    try:
        score = score_submission(
            inputs.metric,
            solution,
            SubmissionTable(solution.ids, filled, solution.columns),
            challenge,
        )
    except (SubmissionError, MetricError):  # only an extra for a run that failed anyway
        return None
    return PartialScore(rows_written=count, fill_value=FILL_VALUE, value=score.value, displayed=score.displayed)
