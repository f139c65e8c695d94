"""One run, in one straight line: prepare, observe, judge, score, report."""

import csv
import io
import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from dfdc_kit import __version__
from dfdc_kit.data.solution import Solution, labels_in_order, read_solution_for
from dfdc_kit.errors import MetricError, OutputError, SubmissionError, UsageError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.collect import fallback_rows
from dfdc_kit.harness.environment import environment_diffs, machine
from dfdc_kit.harness.forecast.calibration import Calibration, kept_here, kept_hosted
from dfdc_kit.harness.forecast.summary import memory_growth, summarise
from dfdc_kit.harness.judge import judge
from dfdc_kit.harness.observe import observe
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.score_run import loss_breakdown, partial_score
from dfdc_kit.report.run_report import (
    CSV,
    FALLBACKS,
    LossBreakdown,
    MemoryGrowth,
    Observation,
    PartialScore,
    RunReport,
    TimeForecast,
    save,
)
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.sandbox.visible_paths import places
from dfdc_kit.scoring.metric import LoadedMetric, load_metric
from dfdc_kit.scoring.score import Score, score_submission
from dfdc_kit.submission.code import RUNS, files_sha256, manifest_faults
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import SubmissionTable


class Prepared(NamedTuple):
    """What must be right before a run is worth its time."""

    metric: LoadedMetric
    expected: ExpectedRows  # the rows, with their truth where it is known
    sample: bytes  # the sample submission as the run will see it
    solution: Solution | None
    here: Calibration | None  # of this machine, if `dfdc calibrate` was run
    there: Calibration | None  # of the hosted machine, if its notebook was run


class Scored(NamedTuple):
    """The score of a run, what explains it, and what was seen, with what the metric said against it."""

    seen: Observation
    score: Score | None = None
    ledger: LossBreakdown | None = None
    partial: PartialScore | None = None


def run(request: RunRequest, backend: SandboxBackend, runs: Path, audience: RunListener) -> RunReport:
    """Run a code submission and judge it. Log, CSV and `run.json` lie in `runs`/<run id> afterwards.

    Raises KitError where data, machine or harness are at fault, before or during the run; what the submission does
    wrong is a verdict, and so is Ctrl-C.
    """
    prepared = _prepare(request)
    _refuse_what_cannot_be_hidden(request, runs)
    _refuse_what_would_be_handed_over(request, runs)
    started = datetime.now(UTC)
    folder = _new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}")
    try:
        seen, table = observe(request, backend, folder, prepared.expected, prepared.sample, audience)
    except BaseException:
        with suppress(OSError):  # a log that is there already stays
            folder.rmdir()
        raise
    scored = _score(request, prepared, folder, seen, table)
    report = _report(request, backend, prepared, folder, started, scored)
    save(report, folder)
    return report


def _refuse_what_cannot_be_hidden(request: RunRequest, runs: Path) -> None:
    """Labels and reports of earlier runs are hidden below a place that a submission may read. Raises UsageError."""
    for what, path in (("The data folder", request.dataset.folder), ("The folder of runs", runs)):
        if path.resolve() in {place.resolve() for place in places()}:
            raise UsageError(
                f"{what}, {path}, is where the system's or Python's own programs lie, which a submission may read.",
                hint="Move it into a folder of its own.",
            )


def _refuse_what_would_be_handed_over(request: RunRequest, runs: Path) -> None:
    """Whatever lies in a submission's folder goes with it: labels and reports must not. Raises UsageError."""
    folder = request.submission.folder
    if request.submission.alone:
        return
    data = request.dataset
    for what, path in (("The data folder", data.folder), ("The truth", data.solution), ("The folder of runs", runs)):
        real = None if path is None else path.resolve()
        if real is not None and real.is_relative_to(folder) and not real.is_relative_to(folder / RUNS):  # left out
            raise UsageError(
                f"{what}, {path}, lies in the submission's own folder, {folder}, and would be handed to it.",
                hint="Put the submission into a folder of its own, or move the other.",
            )


def _prepare(request: RunRequest) -> Prepared:
    """Read metric, rows and truth. Raises KitError if they do not fit each other."""
    metric = load_metric(request.challenge.metric_path)
    expected, sample = _rows(request)
    truth = request.dataset.solution
    here, there = kept_here(), kept_hosted()
    if truth is None:
        return Prepared(metric, expected, sample, None, here, there)
    solution = read_solution_for(truth, request.challenge, expected.ids)
    expected = replace(expected, labels=labels_in_order(solution, expected.ids))
    return Prepared(metric, expected, sample, solution, here, there)


def _rows(request: RunRequest) -> tuple[ExpectedRows, bytes]:
    """The rows that a submission must have, and the sample submission it is given: the data's own, or a made one."""
    columns, sample = request.challenge.submission, request.dataset.sample_submission
    if sample is not None:
        return ExpectedRows.from_sample(sample, request.challenge), sample.read_bytes()
    names = [video.name for video in request.dataset.videos]
    made = io.StringIO()
    table = csv.writer(made, lineterminator="\n")
    table.writerow((columns.row_id, columns.label))
    table.writerows((name, 0) for name in names)  # an integer, as in the official one
    return ExpectedRows.from_names(names, str(request.dataset.folder)), made.getvalue().encode()


def _score(
    request: RunRequest, prepared: Prepared, folder: Path, seen: Observation, table: SubmissionTable | None
) -> Scored:
    """Score a complete run whose truth is known; of one that left an unfinished file, what it would have scored."""
    metric, solution = prepared.metric, prepared.solution
    if solution is None:
        return Scored(seen)
    if table is None:
        written = seen.csv == "collected"
        return Scored(
            seen, partial=partial_score(folder / CSV, request.challenge, metric, solution) if written else None
        )
    if judge(seen, request.profile.limits).verdict is not Verdict.COMPLETE:
        return Scored(seen)
    try:
        score = score_submission(metric, solution.frame(), table.frame(), request.challenge)
    except SubmissionError as fault:
        return Scored(structs.replace(seen, refused=str(fault)))
    except MetricError as fault:
        return Scored(structs.replace(seen, harness_fault=str(fault)))
    answers = solution.frame().drop(columns="Usage", errors="ignore")
    costs = loss_breakdown(metric, answers, table.frame(), fallback_rows(folder / FALLBACKS), request.challenge)
    return Scored(seen, score=score, ledger=costs)


def _report(
    request: RunRequest,
    backend: SandboxBackend,
    prepared: Prepared,
    folder: Path,
    started: datetime,
    scored: Scored,
) -> RunReport:
    here = machine(request.submission.settings.packages)
    judgement = judge(scored.seen, request.profile.limits)
    growth = memory_growth(scored.seen.outcome.usage.memory_samples, scored.seen.reads)
    telling = judgement.verdict is Verdict.COMPLETE or scored.seen.hopeless
    return RunReport(
        kit_version=__version__,
        run_id=folder.name,
        started=started.isoformat(timespec="seconds"),
        submission=request.submission.name,
        submission_folder=str(request.submission.folder),
        submission_sha256=request.submission.sha256(),
        manifest_faults=manifest_faults(request.submission, request.profile),
        data_folder=str(request.dataset.folder),
        input_sha256=files_sha256(request.dataset.videos[0].parent, request.dataset.videos),
        truth=str(request.dataset.solution or ""),
        rows=len(prepared.expected.ids),
        challenge=request.challenge,
        metric_sha256=file_sha256(prepared.metric.path),
        profile_name=request.profile_name,
        profile=request.profile,
        backend=backend.name,
        enforcement=backend.enforcement(request.profile.limits),
        machine=here,
        gaps=environment_diffs(request.profile, here),
        observation=scored.seen,
        judgement=judgement,
        score=scored.score,
        partial=scored.partial,
        memory_growth=growth,
        forecast=_forecast(request, prepared, scored.seen, growth) if telling else None,
        ledger=scored.ledger,
        submission_csv_sha256=file_sha256(folder / CSV),
    )


def _forecast(
    request: RunRequest, prepared: Prepared, seen: Observation, growth: MemoryGrowth | None
) -> TimeForecast | None:
    sizes, usage = request.challenge.sizes, seen.outcome.usage
    return summarise(
        seen.reads,
        usage.wall_time_s,
        seen.videos,
        request.profile,
        profile_name=request.profile_name,
        videos={"public": sizes.public_test_videos, "private": sizes.private_test_videos},
        cpu_time_s=usage.cpu_time_s,
        noise=seen.noise,
        gpu_declared=request.submission.settings.gpu,
        leaking=growth is not None and growth.leaks,
        here=prepared.here,
        there=prepared.there,
    )


def _new_folder(runs: Path, name: str) -> Path:
    """A folder that was not there before. Two runs in the same second get different ones. Raises OutputError."""
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
            f"Cannot make a run folder in {runs}: {error.strerror}.",
            hint="Choose a folder that can be written: --out DIR",
        ) from error
