"""Results of judged submissions: one folder each, below `results/` of a judging folder.

JUDGING/results/<key>/result.json      a JudgedSubmission
JUDGING/results/<key>/predictions.csv  the submission's file; only of a run that left one
JUDGING/results/<key>/run/             the run folder: run.json, log.txt, report.html
"""

from pathlib import Path

import msgspec

from dfdc_kit.errors import DataError, DataMissingError, UsageError
from dfdc_kit.files import translate_read_errors
from dfdc_kit.scoring.metric import LoadedMetric

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
        what = "missing" if isinstance(error, FileNotFoundError) else f"damaged: {error}"
        hint = "Remove its folder and judge again: only that submission is judged."
        raise DataError(f"{path} is {what}", hint=hint) from error
    if result.schema != SCHEMA:
        raise DataError(f"{path} has schema {result.schema}; this version of dfdc reads {SCHEMA}.", hint="Upgrade.")
    return result


def comparable(
    results: list[JudgedSubmission], profile: str = "", metric: LoadedMetric | None = None
) -> list[JudgedSubmission]:
    """The results of one profile. Raises UsageError, DataError where they differ in profile, data or metric.

    metric: the one that they must have been judged with.
    """
    profiles = sorted({result.profile for result in results})
    if not profile and len(profiles) > 1:
        raise UsageError(
            f"Results of {len(profiles)} runtime profiles: {', '.join(profiles)}.", hint="Choose one: --profile NAME"
        )
    chosen = [result for result in results if not profile or result.profile == profile]
    if not chosen and results:
        raise UsageError(f"No result under the profile {profile!r}.", hint=f"Profiles: {', '.join(profiles)}")
    for what, digests in (
        ("data", {result.data_digest for result in chosen}),
        ("metric", {result.metric_digest for result in chosen}),
    ):
        if len(digests) > 1:
            raise DataError(
                f"Results of {len(digests)} versions of the {what}: scores on them cannot be compared.",
                hint="Judge every submission again with the same data, solution and metric.",
            )
    if metric and chosen and chosen[0].metric_digest != metric.sha256:
        raise DataError(
            f"The results were judged with another metric than {metric.path.name}.",
            hint="Is this the competition that they were judged for?",
        )
    return chosen


def prediction_file(judging: Path, result: JudgedSubmission) -> Path | None:
    """The predictions of a scored result; None for one that has no score."""
    if result.score is None or result.predictions is None:
        return None
    return judging / RESULTS / result.key / result.predictions
