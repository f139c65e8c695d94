"""One run, in one straight line: prepare, stage, run and watch, observe, judge, score, report."""

import hashlib
import os
import platform
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Protocol

import msgspec
import psutil
from msgspec import structs

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import MetricFault, OutputFault, SubmissionFault
from dfdc_kit.harness.collect import collect, collect_fallbacks, fallback_rows, last_lines
from dfdc_kit.harness.gap import gaps
from dfdc_kit.harness.judge import judge
from dfdc_kit.harness.ledger import ledger
from dfdc_kit.harness.partial import partial_score
from dfdc_kit.harness.stage import Staged
from dfdc_kit.harness.truth import in_order, read_truth
from dfdc_kit.harness.watch import VideoWatch
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Machine, Observation, RunReport, save
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import Job, SandboxBackend, Usage
from dfdc_kit.scoring.metric import LoadedMetric, load_metric
from dfdc_kit.scoring.score import Score, score_submission
from dfdc_kit.submission.check import SubmissionTable, validate
from dfdc_kit.submission.code import CodeSubmission, files_sha256
from dfdc_kit.submission.expected import Expected
from dfdc_kit.submission.manifest import manifest_faults

CSV_LIMIT_BYTES = 1 << 30
PASSED_ON = ("LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")  # never a token, never the home folder


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, on what, held to which limits."""

    submission: CodeSubmission
    dataset: Dataset
    challenge: Challenge
    profile_name: str
    profile: Profile


class Audience(Protocol):
    """Who is told how a run goes, while it goes."""

    def staged(self, done: int, total: int) -> None:
        """`done` of `total` videos are in place."""

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` different videos have been opened; `name` is the newest. Called from another thread."""

    def output(self, data: bytes) -> None:
        """A piece of what the submission prints, as it is."""


class Silence:
    """An audience that does not listen."""

    def staged(self, done: int, total: int) -> None:
        """Nothing."""

    def opened(self, name: str, count: int, total: int) -> None:
        """Nothing."""

    def output(self, data: bytes) -> None:
        """Nothing."""


def run(request: RunRequest, backend: SandboxBackend, runs: Path, audience: Audience) -> RunReport:
    """Run a code submission and judge it. Log, CSV and `run.json` lie in `runs`/<run id> afterwards.

    Raises KitError where data, machine or harness are at fault, before or during the run; what the submission does
    wrong is a verdict, and so is Ctrl-C.
    """
    metric = load_metric(request.challenge.metric_path)
    expected, sample = _rows(request)
    truth = request.dataset.truth
    solution = None if truth is None else read_truth(truth, request.challenge, expected.ids)
    if solution is not None:
        expected = replace(expected, truth=in_order(solution, expected.ids))
    started = datetime.now(UTC)
    folder = _new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}")
    busy_before = _busy_s()
    try:
        seen, table = _observe(request, backend, folder, expected, sample, audience)
    except BaseException:
        with suppress(OSError):  # a log that is there already stays
            folder.rmdir()
        raise
    score, seen = _score(request, metric, seen, table, solution)
    costs = None
    if score is not None and table is not None and solution is not None:
        answers = solution.frame().drop(columns="Usage", errors="ignore")
        costs = ledger(metric, answers, table.frame(), fallback_rows(folder / FALLBACKS), request.challenge)
    partial = None
    if solution is not None and table is None and seen.csv == "collected":
        partial = partial_score(folder / CSV, request.challenge, metric, solution)
    machine = _machine(request.submission, seen.outcome.usage, busy_before)
    report = RunReport(
        kit_version=__version__,
        run_id=folder.name,
        started=started.isoformat(timespec="seconds"),
        submission=request.submission.name,
        submission_folder=str(request.submission.folder),
        submission_sha256=request.submission.sha256(),
        manifest_faults=manifest_faults(request.submission, request.profile),
        data_folder=str(request.dataset.folder),
        input_sha256=files_sha256(request.dataset.videos[0].parent, request.dataset.videos),
        truth=str(request.dataset.truth or ""),
        rows=len(expected.ids),
        challenge=request.challenge,
        metric_sha256=hashlib.sha256(metric.path.read_bytes()).hexdigest(),
        profile_name=request.profile_name,
        profile=request.profile,
        backend=backend.name,
        enforcement=backend.enforcement(request.profile.limits),
        machine=machine,
        gaps=gaps(request.profile, machine),
        observation=seen,
        judgement=judge(seen, request.profile.limits),
        score=score,
        partial=partial,
        ledger=costs,
        submission_csv_sha256=_sha256(folder / CSV),
    )
    save(report, folder)
    return report


def _rows(request: RunRequest) -> tuple[Expected, bytes]:
    """The rows that a submission must have, and the sample submission it is given: the data's own, or a made one."""
    dataset, columns = request.dataset, request.challenge.submission
    if dataset.sample_submission is not None:
        return Expected.from_sample(
            dataset.sample_submission, request.challenge
        ), dataset.sample_submission.read_bytes()
    names = [video.name for video in dataset.videos]
    lines = [f"{columns.row_id},{columns.label}", *(f"{name},0" for name in names)]  # an integer 0, as the official one
    return Expected.from_names(names, str(dataset.folder)), ("\n".join(lines) + "\n").encode()


def _observe(
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
            environment=_environment(staged),
            stage=staged.root,
            working=staged.working,
            temporary=staged.temporary,
            log=folder / LOG,
        )
        with VideoWatch(staged.videos, on_open) as watch:
            outcome = backend.run(job, request.profile.limits, audience.output)
        csv = collect(staged.working / request.challenge.submission.name, folder / CSV, CSV_LIMIT_BYTES)
        known = {name.decode() for name in expected.ids.tolist()}
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
        changed_input=changed_input,
        fallbacks=fallbacks,
        last_output=last_lines(folder / LOG),
    )
    return observation, table


def _score(
    request: RunRequest,
    metric: LoadedMetric,
    seen: Observation,
    table: SubmissionTable | None,
    solution: Solution | None,
) -> tuple[Score | None, Observation]:
    """The score of a complete run whose truth is known, and what was seen, with what the metric said against it."""
    if judge(seen, request.profile.limits).verdict is not Verdict.COMPLETE or table is None or solution is None:
        return None, seen
    try:
        return score_submission(metric, solution.frame(), table.frame(), request.challenge), seen
    except SubmissionFault as fault:
        return None, structs.replace(seen, refused=str(fault))
    except MetricFault as fault:
        return None, structs.replace(seen, harness_fault=str(fault))


def _environment(staged: Staged) -> dict[str, str | Path]:
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


def _busy_s() -> tuple[float, float]:
    """Monotonic time and processor seconds that this machine has spent working, over all cores."""
    spent = psutil.cpu_times()
    return time.monotonic(), float(spent.user + spent.system + spent.nice)


def _machine(submission: CodeSubmission, usage: Usage, busy_before: tuple[float, float]) -> Machine:
    packages = {}
    for package in sorted({"numpy", *submission.settings.packages}):
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            packages[package] = "not installed"
    cores = os.cpu_count() or 1
    at, busy_s = _busy_s()
    others_s = busy_s - busy_before[1] - usage.cpu_time_s
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu_cores=cores,
        memory_bytes=psutil.virtual_memory().total,
        others_share=min(max(others_s / max((at - busy_before[0]) * cores, 1e-9), 0.0), 1.0),
        packages=packages,
    )


def _new_folder(runs: Path, name: str) -> Path:
    """A folder that was not there before. Two runs in the same second get different ones. Raises OutputFault."""
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
        raise OutputFault(
            f"Cannot make a run folder in {runs}: {error.strerror}.",
            hint="Choose a folder that can be written: --out DIR",
        ) from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
