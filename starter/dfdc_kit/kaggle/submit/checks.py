"""The checks on this machine before anything is sent: the code, its external data, a run, a rehearsal."""

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import KitError, SandboxError, SubmissionError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS
from dfdc_kit.harness.rehearsal.record import FILE as REHEARSAL_FILE
from dfdc_kit.harness.rehearsal.record import RehearsalReport
from dfdc_kit.harness.rehearsal.record import load as load_rehearsal
from dfdc_kit.kaggle.submit.bundle import KernelBundle
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import CSV, LOG, RunReport, load
from dfdc_kit.report.run_report import FILE as RUN_FILE
from dfdc_kit.report.summary import time_risks
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.external_data import manifest_problems
from dfdc_kit.submission.validate import validate

MIB = 2**20
SKIPPED = "skipped"


class RehearsalPolicy(Enum):
    """What to do if no rehearsal of this code has passed."""

    REQUIRE = "refuse"
    NOW = "rehearse"
    SKIP = "continue without one"


class CheckedCode(msgspec.Struct, frozen=True, kw_only=True):
    """The run and rehearsal that the checks have accepted."""

    run: RunReport | None  # None: in a dry run
    rehearsal: str  # its id, or "skipped"


Report = TypeVar("Report")


def bundle_errors(submission: CodeSubmission, bundle: KernelBundle, profile: Profile) -> list[str]:
    """Why the code itself cannot be submitted, in phrases; empty if it can."""
    ownerless = [one.slug for one in bundle.inputs if "/" not in one.slug]
    return [
        *manifest_problems(submission, profile),
        *(f"input {slug!r} has no owner; Kaggle attaches owner/name" for slug in ownerless),
        *_too_large(bundle, profile),
    ]


def check_code(
    submission: CodeSubmission,
    challenge: Challenge,
    runs: Path,
    policy: RehearsalPolicy,
    run_now: Callable[[], RunReport],
    rehearse_now: Callable[[], RehearsalReport],
    *,
    untested_here: str = "",
) -> CheckedCode:
    """A complete run of exactly this code with a valid CSV, and a passed rehearsal; made now if there is none.

    With a reason in `untested_here`, code that this machine cannot run (verdict not-reproducible) is accepted, without
    a rehearsal. Raises SubmissionError, saying what is missing or failed, or SandboxError if it is not the submission's
    fault; KeyboardInterrupt if a run or rehearsal was stopped.
    """
    sha256 = submission.sha256()
    run = fresh_run(runs, sha256) or run_now()
    if untested_here and run.judgement.verdict is Verdict.NOT_REPRODUCIBLE:
        return CheckedCode(run=run, rehearsal=SKIPPED)
    _check_run(run, runs / run.run_id, challenge)
    if policy is RehearsalPolicy.SKIP:
        return CheckedCode(run=run, rehearsal=SKIPPED)
    rehearsal = fresh_rehearsal(runs, sha256)
    if rehearsal is None and policy is RehearsalPolicy.NOW:
        rehearsal = rehearse_now()
    if rehearsal is not None and rehearsal.outcome == "interrupted":
        raise KeyboardInterrupt
    if error := rehearsal_error(rehearsal, submission, runs):
        raise error
    return CheckedCode(run=run, rehearsal=rehearsal.rehearsal_id if rehearsal else "")


def rehearsal_error(
    rehearsal: RehearsalReport | None, submission: CodeSubmission, runs: Path
) -> SubmissionError | None:
    """Why `rehearsal` does not allow this code to be submitted; None if it passed."""
    if rehearsal is None:
        message = f"This code has not been rehearsed (no full rehearsal of it in {runs})."
        return SubmissionError(message, hint="Add --rehearse to rehearse it now, or --no-rehearsal to skip.")
    if rehearsal.outcome == "passed":
        return None
    bad = [finding.code for finding in rehearsal.findings if finding.severity.value == "error"]
    bad += [one.what for one in rehearsal.comparisons if one.severity.value == "error"]
    ended = f"{rehearsal.outcome}{': ' + ', '.join(bad) if bad else ''}"
    hint = "Fix it and rehearse again, or add --no-rehearsal to skip."
    command = f"dfdc rehearse {submission.folder}"
    return SubmissionError(f"The rehearsal {rehearsal.rehearsal_id} {ended}.", hint=hint, command=command)


def _check_run(run: RunReport, folder: Path, challenge: Challenge) -> None:
    verdict = run.judgement.verdict
    message = f"The local run ended with the verdict {verdict.value}: {run.judgement.why}"
    if verdict is Verdict.INTERRUPTED:
        raise KeyboardInterrupt
    if verdict is Verdict.HARNESS_ERROR:  # not the submission's fault
        raise SandboxError(message, command="dfdc doctor")
    if verdict is Verdict.NOT_REPRODUCIBLE:
        raise SandboxError(message, hint="To submit it all the same, add --untested-here REASON.")
    if verdict is not Verdict.COMPLETE:
        raise SubmissionError(message, command=f"less {folder / LOG}")
    validation, table = validate(folder / CSV, challenge)
    if table is None:
        message = f"{validation.file} is not valid: {validation.errors[0].message}"
        raise SubmissionError(message, command=f"dfdc validate {validation.file}")


def fresh_run(runs: Path, sha256: str) -> RunReport | None:
    """The complete run of exactly this code over the most videos, its CSV unchanged; of equal ones the newest."""
    found = [
        report
        for path in sorted(runs.glob(f"*/{RUN_FILE}"), reverse=True)
        if (report := _read(path, load)) is not None
        and report.submission_sha256 == sha256
        and report.judgement.verdict is Verdict.COMPLETE
        and file_sha256(path.parent / CSV) == report.submission_csv_sha256
    ]
    return max(found, key=lambda report: (report.score is not None, report.rows), default=None)


def fresh_rehearsal(runs: Path, sha256: str) -> RehearsalReport | None:
    """The newest full rehearsal of exactly this code that was not interrupted."""
    for path in sorted(runs.glob(f"*/{REHEARSAL_FILE}"), reverse=True):
        report = _read(path, load_rehearsal)
        if (
            report is not None
            and report.submission_sha256 == sha256
            and report.outcome != "interrupted"
            and _is_full(report)
        ):
            return report
    return None


def run_warnings(run: RunReport) -> list[str]:
    """What a complete local run suggests may go wrong in the hosted one, in sentences."""
    found = time_risks(run.forecast) if run.forecast else []
    growth = run.memory_growth
    if growth is not None and growth.leaks:
        found.append(f"memory grows by at least {growth.low_bytes / MIB:.2f} MiB a video")
    return found


def _is_full(report: RehearsalReport) -> bool:
    """Whether no hard input was left out on purpose (--only)."""
    tried = {finding.code for finding in report.findings} | report.left_out.keys()
    return all(hard.code in tried for hard in HARD_INPUTS)


def _read(path: Path, read: Callable[[Path], Report]) -> Report | None:
    """A saved report; None if it cannot be read, or has another version: then it does not count."""
    try:
        return read(path)
    except (KitError, OSError, msgspec.DecodeError):
        return None


def _too_large(bundle: KernelBundle, profile: Profile) -> Iterator[str]:
    total = sum(file.stat().st_size for file in bundle.files)
    limit = profile.external_data_bytes
    if limit is not None and total > limit:
        yield f"its files take {total / MIB:,.0f} MiB in all; the limit is {limit / MIB:,.0f} MiB"
