"""The report of a rehearsal: one finding for each input, comparisons between runs, and the runs themselves."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.files import write_json

SCHEMA_VERSION = 2
FILE = "rehearsal.json"
ORDINARY, TOGETHER = "ordinary", "all-together"  # findings that are not about a single hard input


class InputOutcome(StrEnum):
    """What a submission did with an input."""

    PREDICTION = "prediction"
    FALLBACK = "fallback"  # a fallback prediction that is listed in fallbacks.csv
    SILENT_FALLBACK = "silent fallback"  # a fallback prediction that is listed nowhere
    MISSING_ROW = "missing row"
    INVALID_ROW = "invalid row"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    LIMIT = "over a limit"  # of memory or of output
    NO_FILE = "no submission.csv"
    UNTESTED = "not tested"


class RehearsalSeverity(StrEnum):
    """What a finding means for the rehearsal."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"  # the rehearsal failed
    UNKNOWN = "unknown"  # not tested


class RehearsalFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission did with one input."""

    code: str  # of the hard input; or "ordinary", "all-together"
    title: str
    name: str = ""  # file name in that run, to search for in its log
    outcome: InputOutcome
    severity: RehearsalSeverity
    prediction: float | None = None
    detail: str = ""  # the reason of a fallback, or the last line of a traceback
    log_lines: list[str] = []  # last lines of the traceback or of the log
    kaggle: str = ""  # what Kaggle would show
    fix: str = ""
    run: str = ""  # folder of the run, relative to the rehearsal's


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions for the same videos in two runs."""

    what: str
    severity: RehearsalSeverity
    compared: int  # videos
    differing: int
    largest: float  # absolute difference of two predictions; 1 where only one run has a row
    where: str  # the input with the largest difference; empty if there is none
    fix: str = ""


class RehearsalStep(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the rehearsal; `folder` contains its `run.json`."""

    what: str
    folder: str  # relative to the rehearsal's
    rows: int
    verdict: str
    kaggle: str
    wall_time_s: float
    limit_s: float


class RehearsalReport(msgspec.Struct, frozen=True, kw_only=True):
    """One rehearsal of a code submission. `steps[0]` is the run on ordinary clips: its times are the typical ones."""

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
    outcome: str  # "passed", "failed", "interrupted", or "not-reproducible": ordinary clips could not be run here
    findings: list[RehearsalFinding]
    comparisons: list[Comparison]
    left_out: dict[str, str]  # hard input that could not be made on this machine -> why
    steps: list[RehearsalStep]
    opens_no_video: bool = False  # the submission read none of the videos, so hard inputs tested only names and rows

    def count(self, severity: RehearsalSeverity) -> int:
        """Number of findings and comparisons with this severity."""
        severities = [*(one.severity for one in self.findings), *(one.severity for one in self.comparisons)]
        return severities.count(severity)


def save(report: RehearsalReport, folder: Path) -> Path:
    """Write `folder`/rehearsal.json atomically. Raises OutputError."""
    path = folder / FILE
    write_json(path, report)
    return path


def load(path: Path) -> RehearsalReport:
    """Read a rehearsal.json of this or an earlier version. Raises OSError or msgspec.DecodeError."""
    document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    if document.get("schema_version") == 1:
        _upgrade_from_1(document)
    return msgspec.convert(document, RehearsalReport)


FIELDS_OF_1 = {"deed": "outcome", "said": "detail", "evidence": "log_lines"}
OUTCOMES_OF_1 = {
    "row": "prediction",
    "silent default": "silent fallback",
    "hang": "timeout",
    "not tried": "not tested",
}


def _upgrade_from_1(document: dict[str, Any]) -> None:
    """Rename what schema 2 renamed, in place."""
    document["schema_version"] = SCHEMA_VERSION
    for finding in document.get("findings", []):
        for old, new in FIELDS_OF_1.items():
            if old in finding:
                finding[new] = finding.pop(old)
        finding["outcome"] = OUTCOMES_OF_1.get(finding.get("outcome"), finding.get("outcome"))
