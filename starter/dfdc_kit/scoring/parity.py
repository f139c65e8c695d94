"""Prove, on this machine, that a metric file is the official metric: in its values, its contract, and known scores.

`check_metric` checks the file; `check_official_score` compares with the score that Kaggle displayed for a submission,
and names the variants of the metric that would give it.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import cache
from importlib import metadata
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge, SubmissionFile
from dfdc_kit.csv_text import Texts, as_text
from dfdc_kit.errors import SubmissionError, UsageError
from dfdc_kit.files import file_sha256
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.contract import (
    MetricCall,
    MetricCheck,
    call,
    check_purity,
    check_rejections,
    check_row_matching,
    frames,
    value_check,
)
from dfdc_kit.scoring.golden_vectors import GOLDEN, LEADERBOARD, GoldenVector, expected
from dfdc_kit.scoring.metric import LoadedMetric, displayed
from dfdc_kit.scoring.score import Floats, SolutionRows

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("numpy", "pandas", "scikit-learn")


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, where and when, and the result of every check."""

    agrees: bool
    metric: str  # path of the file
    metric_sha256: str
    challenge: str
    checked: str  # ISO 8601, UTC
    machine: dict[str, str]
    checks: list[MetricCheck]


def check_metric(metric: LoadedMetric, challenge: Challenge) -> ParityReport:
    """Check a metric file against all that is known of the official one. Whatever it does is in the report."""
    results = {vector.name: _score(metric, vector, challenge) for vector in GOLDEN}
    checks = [*_golden(results), *_scikit_learn(results)]
    checks += [check for group in GROUPS for check in group(metric, challenge)]
    return ParityReport(
        agrees=all(check.ok is not False for check in checks),
        metric=str(metric.path),
        metric_sha256=file_sha256(metric.path),
        challenge=challenge.slug,
        checked=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={
            "system": platform.platform(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
        checks=checks,
    )


def _score(metric: LoadedMetric, vector: GoldenVector, challenge: Challenge) -> MetricCall:
    columns = challenge.submission
    solution, submission = _vector_frames(vector, columns)
    return call(metric, solution.copy(), submission.copy(), columns.row_id)


@cache
def _vector_frames(vector: GoldenVector, columns: SubmissionFile) -> "tuple[pd.DataFrame, pd.DataFrame]":
    return frames(vector.labels, vector.predicted, columns, vector.dtype)


def _golden(results: Mapping[str, MetricCall]) -> Iterator[MetricCheck]:
    """Every golden vector against the 50-digit reference."""
    for vector in GOLDEN:
        yield value_check("50-digit reference", vector.name, results[vector.name], expected(vector), vector.why)


def _scikit_learn(results: Mapping[str, MetricCall]) -> Iterator[MetricCheck]:
    """scikit-learn must agree where its definition does; elsewhere the line is for information."""
    for vector in GOLDEN:
        theirs = _their_log_loss(vector)
        check = value_check("scikit-learn", vector.name, results[vector.name], Decimal(theirs))
        check = msgspec.structs.replace(check, expected=repr(theirs))
        if vector.dtype == "float64" and vector.inside_the_clip:
            yield check
        else:
            kind = "float32" if vector.dtype == "float32" else "beyond the clip"
            yield msgspec.structs.replace(check, ok=None, why=f"{kind}: scikit-learn clips at the epsilon of the dtype")


@cache
def _their_log_loss(vector: GoldenVector) -> float:
    import numpy as np
    from sklearn.metrics import log_loss

    guess = np.asarray(vector.predicted, np.float32 if vector.dtype == "float32" else np.float64)
    return float(log_loss(vector.labels, guess, labels=[0, 1]))  # without labels it refuses a solution of one class


def _leaderboard(metric: LoadedMetric, challenge: Challenge) -> Iterator[MetricCheck]:
    """Constant submissions, half of the videos FAKE, must be displayed as on the public leaderboard."""
    columns, videos = challenge.submission, challenge.sizes.public_test_videos
    for constant, on_leaderboard in LEADERBOARD:
        result = call(metric, *frames([1, 0] * (videos // 2), [constant] * (videos // 2 * 2), columns), columns.row_id)
        value = result.number
        seen = str(result) if value is None else displayed(value, challenge.metric.displayed_decimals)
        why = f"in full {value!r}; the display truncates"
        yield MetricCheck(
            group="Public leaderboard",
            name=f"constant {constant}",
            expected=on_leaderboard,
            seen=seen,
            ok=seen == on_leaderboard,
            why=why,
        )


GROUPS: tuple[Callable[[LoadedMetric, Challenge], Iterator[MetricCheck]], ...] = (
    _leaderboard,
    check_row_matching,
    check_rejections,
    check_purity,
)


# ----------------------------------------------------------------------------------- the official score of a submission

Rows = tuple[Floats, Floats]  # labels (n,) 0 or 1; predictions (n,)
FILL = 0.5  # for missing rows


class ScoreVariant(msgspec.Struct, frozen=True, kw_only=True):
    """What one way to compute the score gives. `value` is infinite or NaN where a variant does not clip 0 and 1."""

    name: str  # empty: the official metric
    value: float
    displayed: str  # to the digits of the official score
    matches: bool


class OfficialScoreMatch(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the official score of a submission is reproduced, and which variants would reproduce it if not."""

    official: str
    matches: bool
    rounded: bool  # the match is with the rounded, not with the truncated value
    ours: ScoreVariant | None  # None: the official metric refuses the file, see `refused`
    refused: str
    rows: int  # of the submission
    solution_rows: int
    variants: list[ScoreVariant]  # that match although the official metric does not, in as few points as possible
    nearest: ScoreVariant | None  # of all variants


def check_official_score(
    ids: Texts, predicted: Floats, solution: SolutionRows, official: str, metric: LoadedMetric, challenge: Challenge
) -> OfficialScoreMatch:
    """Compare the score of a submission with `official`, the score that Kaggle displayed, such as "0.42798".

    ids, predicted: (n,) rows of the submission, which may be missing, repeated or unknown, as variants of the score
    differ in that; a prediction is NaN where the label is no number from 0 to 1. Raises UsageError if `official` is no
    number, SubmissionError if no row is in the solution.
    """
    target = _official_number(official)
    choices, refused = _row_choices(ids, predicted, solution)
    formulas = FORMULAS if metric.is_official else {}
    found: list[ScoreVariant] = []
    for (rows_name, rows), (name, formula) in product(choices.items(), {"": None, **formulas}.items()):
        if formula is None:
            value = _official_value(metric, rows, challenge)
        else:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                value = float(formula(*rows))
        found.append(_variant(", ".join(filter(None, [rows_name, name])), value, target))
    ours = None if refused else next(one for one in found if not one.name)
    matches = ours is not None and ours.matches
    fitting = [one for one in found if one.matches and one.name]
    fewest = min((one.name.count(", ") for one in fitting), default=0)  # what deviates in one point explains it best
    finite = [one for one in found if np.isfinite(one.value)]
    return OfficialScoreMatch(
        official=official,
        matches=matches,
        rounded=matches and ours is not None and Decimal(ours.displayed) != target,
        ours=ours,
        refused=refused,
        rows=len(ids),
        solution_rows=len(solution.ids),
        variants=[] if matches else [one for one in fitting if one.name.count(", ") == fewest],
        nearest=min(finite, key=lambda one: (round(abs(one.value - float(target)), 6), bool(one.name)), default=None),
    )


def _official_number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(f"--official: seen {text!r}, expected the displayed score.", hint="For example 0.42798")
    return number


def _row_choices(ids: Texts, predicted: Floats, solution: SolutionRows) -> tuple[dict[str, Rows], str]:
    """Ways to choose and match the rows, and why the official metric would refuse the file (empty: it accepts it)."""
    given: dict[str, list[float]] = {}
    for name, value in zip(as_text(ids), predicted.tolist(), strict=True):
        given.setdefault(name, []).append(value)
    names, labels = as_text(solution.ids), solution.labels.astype(np.float64)
    known = np.array([name in given for name in names])
    if not known.any():
        raise SubmissionError("The submission and the solution have no file name in common.", hint="Name its solution.")
    repeated = sum(len(values) > 1 for values in given.values())
    pick: dict[str, Callable[[list[float]], float]] = {"": lambda values: values[0]}
    if repeated:
        pick = {
            "mean of repeated rows": lambda values: float(np.mean(values)),
            "first of repeated rows": lambda values: values[0],
            "last of repeated rows": lambda values: values[-1],
        }
    counts = np.ones(len(names), np.bool_) if solution.usage is None else solution.usage != b"Ignored"
    found: dict[str, Rows] = {}
    for name, choose in pick.items():
        values = np.array([choose(given[one]) if one in given else np.nan for one in names])
        for what, rows, fill in _row_sets(known, counts, solution, values):
            filled = np.where(np.isnan(values), fill, values)
            if rows.any():
                found[", ".join(filter(None, [name, what]))] = labels[rows], filled[rows]
    unknown = len(given.keys() - set(names))
    if unknown and "" in found:
        found["unknown rows left out"] = found.pop("")
    if len(ids) == len(names) and (ids != solution.ids).any() and not np.isnan(predicted).any():
        found["rows matched by position instead of by name"] = labels[counts], predicted[counts]
    faults = {
        plural(int((~known).sum()), "missing row"): not known.all(),
        plural(repeated, "repeated row"): repeated > 0,
        plural(unknown, "unknown row"): unknown > 0,
        plural(int(np.isnan(predicted).sum()), "invalid label"): bool(np.isnan(predicted).any()),
    }
    return found, ", ".join(fault for fault, broken in faults.items() if broken)


def _row_sets(
    known: npt.NDArray[np.bool_], counts: npt.NDArray[np.bool_], solution: SolutionRows, values: Floats
) -> Iterator[tuple[str, npt.NDArray[np.bool_], float]]:
    """Name, mask (n,) and value of rows without a prediction."""
    if np.isnan(values).any():
        yield f"missing rows as {FILL:g}", counts, FILL
        yield "missing rows as 0", counts, 0.0
        yield "missing rows left out", counts & ~np.isnan(values), FILL
    else:
        yield "", counts, FILL
    if solution.usage is not None:
        for part in ("Public", "Private"):
            yield f"{part} rows only", (solution.usage == part.encode()) & known, FILL
        if not counts.all():
            yield "Ignored rows counted", known, FILL


def _official_value(metric: LoadedMetric, rows: Rows, challenge: Challenge) -> float:
    labels, predicted = rows
    if metric.is_official:
        return float(metric.module.log_loss(labels, predicted))
    columns = challenge.submission
    return metric.score(*frames(labels.astype(int).tolist(), predicted.tolist(), columns), columns.row_id)


def _variant(name: str, value: float, target: Decimal) -> ScoreVariant:
    decimals = max(-int(target.as_tuple().exponent), 0)
    if not np.isfinite(value):
        return ScoreVariant(name=name, value=value, displayed=str(value), matches=False)
    cut, near = (
        Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), how) for how in (ROUND_DOWN, ROUND_HALF_EVEN)
    )
    return ScoreVariant(name=name, value=value, displayed=str(cut), matches=target in (cut, near))


def _log_loss(labels: Floats, predicted: Floats, epsilon: float = 1e-15, dtype: type = np.float64) -> float:
    """The mean log loss, clipped in `dtype` as variants of the metric do it."""
    p: npt.NDArray[np.floating] = np.clip(predicted.astype(dtype), dtype(epsilon), dtype(1 - epsilon))
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p)), dtype=np.float64))


def _clipped_at(epsilon: float) -> Callable[[Floats, Floats], float]:
    return lambda labels, predicted: _log_loss(labels, predicted, epsilon)


def _class_balanced(labels: Floats, predicted: Floats) -> float:
    return float(np.mean([_log_loss(labels[labels == one], predicted[labels == one]) for one in np.unique(labels)]))


FORMULAS: dict[str, Callable[[Floats, Floats], float]] = {
    "labels inverted (1 means REAL)": lambda y, p: _log_loss(1 - y, p),
    **{
        f"clip at {epsilon}": _clipped_at(float(epsilon))
        for epsilon in ("1e-16", "2.2e-16", "1e-14", "1e-12", "1e-10", "1e-9", "1e-8", "1e-7", "1e-6", "1e-5", "1e-4")
    },
    "clip at 0.001": _clipped_at(0.001),
    "clip at 0.01": _clipped_at(0.01),
    "float32 with clip at its epsilon 1.2e-7": lambda y, p: _log_loss(y, p, 1.1920929e-07, np.float32),
    "float32 with clip at 1e-15": lambda y, p: _log_loss(y, p, 1e-15, np.float32),
    "predictions rounded to float32": lambda y, p: _log_loss(y, p.astype(np.float32).astype(np.float64)),
    "predictions rounded to 0 and 1": lambda y, p: _log_loss(y, (p > 0.5).astype(np.float64)),
    "logarithm to base 2": lambda y, p: _log_loss(y, p) / float(np.log(2)),
    "logarithm to base 10": lambda y, p: _log_loss(y, p) / float(np.log(10)),
    "mean of the two classes": _class_balanced,
    "sum instead of mean": lambda y, p: _log_loss(y, p) * len(y),
}  # what differs from the official metric -> its value for labels (n,) and predictions (n,)
