"""Prove, on this machine, that a metric file is the official metric: in its values and in its contract."""

import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from dfdc_kit.challenge import Challenge, SubmissionFile
from dfdc_kit.files import file_sha256
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
