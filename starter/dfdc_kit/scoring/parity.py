"""Prove, on this machine, that a metric file is the official metric: in its values and in its manners."""

import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import metadata

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.files import file_sha256
from dfdc_kit.scoring.contract import (
    Check,
    call,
    check_purity,
    check_rejections,
    check_row_matching,
    frames,
    value_check,
)
from dfdc_kit.scoring.golden_vectors import GOLDEN, LEADERBOARD, GoldenVector, expected
from dfdc_kit.scoring.metric import LoadedMetric, displayed

PACKAGES = ("numpy", "pandas", "scikit-learn")


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole proof: what was checked, where and when, and what came out."""

    agrees: bool
    metric: str  # path of the file
    metric_sha256: str
    challenge: str
    checked: str  # ISO 8601, UTC
    machine: dict[str, str]
    checks: list[Check]


def check_metric(metric: LoadedMetric, challenge: Challenge) -> ParityReport:
    """Try a metric file on all that is known of the official one. Whatever the file does is a line of the report."""
    checks = [check for group in GROUPS for check in group(metric, challenge)]
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


def _golden(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """Every golden vector against the 50-digit reference."""
    columns = challenge.submission
    for vector in GOLDEN:
        outcome = call(metric, *frames(vector.truth, vector.predicted, columns, vector.dtype), columns.row_id)
        yield value_check("50-digit reference", vector.name, outcome, expected(vector), vector.why)


def _scikit_learn(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """scikit-learn must agree where its definition does; elsewhere the line tells by how much it differs."""
    columns = challenge.submission
    for vector in GOLDEN:
        outcome = call(metric, *frames(vector.truth, vector.predicted, columns, vector.dtype), columns.row_id)
        theirs = _their_log_loss(vector)
        check = value_check("scikit-learn", vector.name, outcome, Decimal(theirs))
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
    return float(log_loss(vector.truth, guess, labels=[0, 1]))  # without labels it refuses a truth of one class


def _leaderboard(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """Constant submissions, half of the videos FAKE, must show what the public leaderboard showed."""
    columns, videos = challenge.submission, challenge.sizes.public_test_videos
    for constant, shown in LEADERBOARD:
        outcome = call(metric, *frames([1, 0] * (videos // 2), [constant] * (videos // 2 * 2), columns), columns.row_id)
        value = outcome.number
        seen = str(outcome) if value is None else displayed(value, challenge.metric.displayed_decimals)
        why = f"in full {value!r}; the display truncates"
        yield Check(
            group="Public leaderboard",
            name=f"constant {constant}",
            expected=shown,
            seen=seen,
            ok=seen == shown,
            why=why,
        )


GROUPS: tuple[Callable[[LoadedMetric, Challenge], Iterator[Check]], ...] = (
    _golden,
    _scikit_learn,
    _leaderboard,
    check_row_matching,
    check_rejections,
    check_purity,
)
