"""Results of judged submissions: one folder each, below `results/` of a judging folder.

JUDGING/results/<key>/result.json      a JudgedSubmission
JUDGING/results/<key>/predictions.csv  the submission's file; only of a run that left one
JUDGING/results/<key>/run/             the run folder: run.json, log.txt, report.html
"""

from pathlib import Path

import msgspec

from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import translate_read_errors

SCHEMA = 1
RESULTS, RESULT, PREDICTIONS, RUN = "results", "result.json", "predictions.csv", "run"


class JudgedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one submission under one profile, on one data set, with one metric."""

    schema: int = SCHEMA
    key: str  # name of the result folder: a digest of code, data, profile and metric
    team: str
    name: str
    baseline: bool
    folder: str  # of the submission, as it was given
    submitted_at: str | None  # ISO 8601; None: not known
    code_digest: str
    data_digest: str  # of videos, sample submission and solution
    profile: str  # its name
    metric_digest: str
    verdict: str
    reason: str  # why, in a sentence; empty for a complete run
    score: float | None  # None: not scored
    wall_time_s: float
    peak_memory_bytes: int | None
    machine: str  # host name
    engine: str  # "local", "dask", "slurm"
    predictions: str | None  # path below the result folder
    report: str | None  # path below the result folder


def load_results(judging: Path) -> list[JudgedSubmission]:
    """All results in the judging folder `judging`, sorted by team, name and key.

    Raises DataMissingError where there is no such folder, DataError for a damaged result.
    """
    if not judging.is_dir():
        raise DataMissingError(f"Judging folder not found: {judging}", hint="Name the folder of `dfdc judge --out`.")
    with translate_read_errors():
        paths = [path / RESULT for path in (judging / RESULTS).glob("[!.]*") if path.is_dir()]
        results = [load_result(path) for path in paths]
    return sorted(results, key=lambda one: (one.team, one.name, one.key))


def load_result(path: Path) -> JudgedSubmission:
    """Read one `result.json`. Raises DataError, which names the file, if it is damaged or of another schema."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=JudgedSubmission)
    except (msgspec.MsgspecError, UnicodeDecodeError, FileNotFoundError) as error:
        hint = "Remove its folder and judge again: only that submission is judged."
        raise DataError(f"{path} is damaged: {error}", hint=hint) from error
    if result.schema != SCHEMA:
        raise DataError(f"{path} has schema {result.schema}; this version of dfdc reads {SCHEMA}.", hint="Upgrade.")
    return result
