"""What must be right on this machine before anything is sent: the code, what it brings along, a run, a rehearsal."""

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import KitError, SandboxError, SubmissionError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.forecast.summary import outlook_lines
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS
from dfdc_kit.harness.rehearsal.record import FILE as REHEARSAL_FILE
from dfdc_kit.harness.rehearsal.record import RehearsalReport
from dfdc_kit.harness.rehearsal.record import load as load_rehearsal
from dfdc_kit.kaggle.submit.bundle import KernelBundle
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import CSV, LOG, RunReport, load
from dfdc_kit.report.run_report import FILE as RUN_FILE
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.submission.code import CodeSubmission, manifest_faults
from dfdc_kit.submission.validate import validate

MIB = 2**20
WAIVED = "waived"


class Rehearsing(Enum):
    """What is done where no rehearsal of this very code has passed."""

    REQUIRE = "refuse"
    NOW = "rehearse"
    WAIVE = "go on without one"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks rest on."""

    run: RunReport | None  # None: nothing was checked, for a plan
    rehearsal: str  # its id, or "waived"


Report = TypeVar("Report")


def bundle_errors(submission: CodeSubmission, parcel: KernelBundle, profile: Profile) -> list[str]:
    """What keeps the code itself from being handed in, in sentences; empty if nothing does."""
    return [*manifest_faults(submission, profile), *_too_large(parcel, profile)]


def checked(
    submission: CodeSubmission,
    challenge: Challenge,
    runs: Path,
    rehearsing: Rehearsing,
    run_now: Callable[[], RunReport],
    rehearse_now: Callable[[], RehearsalReport],
) -> Ready:
    """A complete run of this very code whose CSV is valid, and a rehearsal that passed; made now where it is missing.

    Raises SubmissionError, saying what is missing or what failed; KeyboardInterrupt if a run or rehearsal was stopped.
    """
    sha256 = submission.sha256()
    run = fresh_run(runs, sha256) or run_now()
    _check_run(run, runs / run.run_id, challenge)
    if rehearsing is Rehearsing.WAIVE:
        return Ready(run=run, rehearsal=WAIVED)
    rehearsal = fresh_rehearsal(runs, sha256)
    if rehearsal is None and rehearsing is Rehearsing.NOW:
        rehearsal = rehearse_now()
    if rehearsal is None:
        raise SubmissionError(
            f"This code has not been rehearsed as it is (no full rehearsal of it in {runs}).",
            hint="Add --rehearse to do it now, or --no-rehearsal to go without",
        )
    if rehearsal.outcome == "interrupted":
        raise KeyboardInterrupt
    if rehearsal.outcome != "passed":
        raise SubmissionError(
            f"The rehearsal {rehearsal.rehearsal_id} {_ended(rehearsal)}.",
            hint=f"dfdc rehearse {submission.folder}   (or --no-rehearsal to go without)",
        )
    return Ready(run=run, rehearsal=rehearsal.rehearsal_id)


def _check_run(run: RunReport, folder: Path, challenge: Challenge) -> None:
    verdict, said = run.judgement.verdict, f"The run here was judged {run.judgement.verdict.value}: {run.judgement.why}"
    if verdict is Verdict.INTERRUPTED:
        raise KeyboardInterrupt
    if verdict is Verdict.HARNESS_ERROR:  # ours, not the submission's
        raise SandboxError(said, hint="See: dfdc doctor")
    if verdict is not Verdict.COMPLETE:
        raise SubmissionError(said, hint=f"less {folder / LOG}")
    validation, table = validate(folder / CSV, challenge)
    if table is None:
        raise SubmissionError(
            f"{validation.file} is not valid: {validation.errors[0].message}", hint=f"dfdc validate {validation.file}"
        )


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
    """The newest full rehearsal of exactly this code that ran to its end."""
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


def worries(run: RunReport) -> list[str]:
    """What a complete run here foretells of the hosted one, in sentences; empty if it bodes no ill."""
    found = [
        f"the {name} test may not end in time: {said}"
        for name, said in (outlook_lines(run.forecast) if run.forecast else ())
        if said.endswith("does not fit")
    ]
    growth = run.memory_growth
    if growth is not None and growth.leaks:
        found.append(f"memory grows by {growth.low_bytes / MIB:.2f} MiB a video or more")
    return found


def _is_full(report: RehearsalReport) -> bool:
    """Whether no hard input was left out on purpose (--only)."""
    met = {finding.code for finding in report.findings} | report.left_out.keys()
    return all(hard.code in met for hard in HARD_INPUTS)


def _read(path: Path, read: Callable[[Path], Report]) -> Report | None:
    """A saved report; None if it cannot be read, or is another version's: then it vouches for nothing."""
    try:
        return read(path)
    except (KitError, OSError, msgspec.DecodeError):
        return None


def _ended(report: RehearsalReport) -> str:
    bad = [finding.code for finding in report.findings if finding.severity.value == "error"]
    bad += [one.what for one in report.comparisons if one.severity.value == "error"]
    return f"{report.outcome}{': ' + ', '.join(bad) if bad else ''}"


def _too_large(parcel: KernelBundle, profile: Profile) -> Iterator[str]:
    total = sum(file.stat().st_size for file in parcel.files)
    limit = profile.external_data_bytes
    if limit is not None and total > limit:
        yield f"its files take {total / MIB:,.0f} MiB in all; the limit is {limit / MIB:,.0f} MiB"
