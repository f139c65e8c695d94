"""What a dress rehearsal found: input by input, run by run, and whether repetition gives the same answers."""

from enum import StrEnum
from pathlib import Path

import msgspec

from dfdc_kit.files import write_json

SCHEMA_VERSION = 1
FILE = "rehearsal.json"
ORDINARY, TOGETHER = "ordinary", "all-together"  # findings that are about no single hard input


class InputOutcome(StrEnum):
    """What a submission did with an input."""

    ROW = "row"  # a prediction
    FALLBACK = "fallback"  # a prior, and it says so in fallbacks.csv
    SILENT = "silent default"  # a number that is no prediction, and nobody is told
    MISSING = "missing row"
    INVALID = "invalid row"
    EXCEPTION = "exception"
    HANG = "hang"
    LIMIT = "over a limit"  # of memory or of output
    NO_FILE = "no submission.csv"
    UNTRIED = "not tried"


class Severity(StrEnum):
    """What a finding means for the rehearsal."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"  # the rehearsal has failed
    UNKNOWN = "unknown"  # nothing was found out


class RehearsalFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one input."""

    code: str  # of the hard input; or "ordinary", "all-together"
    title: str
    name: str = ""  # under which the submission met it, for a look into the log
    deed: InputOutcome
    severity: Severity
    prediction: float | None = None
    said: str = ""  # the reason of a fallback, the last line of a traceback
    evidence: list[str] = []  # last lines of the traceback or of the log
    kaggle: str = ""  # what Kaggle would have shown
    fix: str = ""
    run: str = ""  # folder of the run in which it was seen, below the rehearsal's


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions for the same content in two runs."""

    what: str
    severity: Severity
    compared: int  # videos
    differing: int
    largest: float  # difference of two predictions; 1 where only one run has a row
    where: str  # the input with the largest difference; empty if there is none
    fix: str = ""


class RehearsalStep(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the rehearsal; its `run.json` lies in `folder`."""

    what: str
    folder: str  # below the rehearsal's
    rows: int
    verdict: str
    kaggle: str
    wall_time_s: float
    limit_s: float


class RehearsalReport(msgspec.Struct, frozen=True, kw_only=True):
    """One dress rehearsal of a code submission. `steps[0]` is the run on ordinary clips: its times project best."""

    schema_version: int = SCHEMA_VERSION
    kit_version: str
    rehearsal_id: str
    started: str  # ISO 8601, UTC
    submission: str
    submission_folder: str
    submission_sha256: str
    profile_name: str
    backend: str
    seed: int
    outcome: str  # "passed", "failed" or "interrupted"
    findings: list[RehearsalFinding]
    comparisons: list[Comparison]
    left_out: dict[str, str]  # hard inputs that could not be made here, and why
    steps: list[RehearsalStep]

    def count(self, severity: Severity) -> int:
        """How many findings and comparisons are that severe."""
        marks = [*(one.severity for one in self.findings), *(one.severity for one in self.comparisons)]
        return marks.count(severity)


def save(report: RehearsalReport, folder: Path) -> Path:
    """Write `folder`/rehearsal.json, whole or not at all. Raises OutputError."""
    path = folder / FILE
    write_json(path, report)
    return path
