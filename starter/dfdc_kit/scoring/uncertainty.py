"""What a score is worth: its interval, its difference to the constant, and its calibration error."""

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import Texts, as_text
from dfdc_kit.scoring.intervals import (
    FEWEST_TO_RANK,
    Clusters,
    Floats,
    Interval,
    cluster_codes,
    mean_intervals,
    within_range,
)
from dfdc_kit.scoring.metric import LoadedMetric
from dfdc_kit.scoring.score import Score, SolutionRows, SubmittedRows, Uncertainty, constant_rows, matched_rows

CALIBRATION_BINS = 10


def with_uncertainty(
    score: Score,
    metric: LoadedMetric,
    solution: SolutionRows,
    submission: SubmittedRows,
    challenge: Challenge,
    originals: Texts | None = None,
) -> Score:
    """`score` with the field `uncertainty`; unchanged where the metric has no `losses`.

    originals: (n_solution,) the original of each row of the solution, its own name for a real video; None: not known.
    Raises SubmissionError or MetricError, as `score_submission` does.
    """
    rows = matched_rows(metric, solution, submission, challenge)
    constant = None if rows is None else constant_rows(metric, solution, challenge)
    if rows is None or constant is None:
        return score
    clusters = clusters_of(rows.ids, solution.ids, originals)
    differences = rows.losses - constant.losses
    # if each row of the constant costs the same, then both intervals have the same width: resampled once
    columns = rows.losses if np.ptp(constant.losses) == 0 else np.column_stack([rows.losses, differences])
    intervals = mean_intervals(columns, clusters)
    shift = float(differences.mean() - rows.losses.mean()) if len(intervals) == 1 else 0.0
    count = len(rows.ids) if clusters is None else len(np.unique(cluster_codes(clusters, len(rows.ids))))
    return msgspec.structs.replace(
        score,
        uncertainty=Uncertainty(
            interval=within_range(intervals[0], rows.losses),
            constant_difference=float(differences.mean()),
            constant_interval=_shifted(intervals[-1], shift),
            clusters=count,
            clustered_by="video" if clusters is None else "original",
            too_few_to_rank=count < FEWEST_TO_RANK,
            calibration_error=calibration_error(rows.labels, rows.predicted),
        ),
    )


def clusters_of(ids: list[str], solution_ids: Texts, originals: Texts | None) -> Clusters | None:
    """The original (n,) of each of `ids` (n,); None where none is known."""
    if originals is None:
        return None
    known = dict(zip(as_text(solution_ids), as_text(originals), strict=True))
    return [known[name] for name in ids]


def calibration_error(labels: npt.NDArray[np.uint8], predicted: Floats) -> float:
    """The mean distance, 0 to 1, between predicted and true fraction of positives in equal bins of the prediction.

    >>> round(calibration_error(np.array([1, 0], np.uint8), np.array([0.9, 0.2])), 10)
    0.15
    """
    bins = np.minimum((predicted * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, predicted - labels, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _shifted(interval: Interval | None, by: float) -> Interval | None:
    return None if interval is None else Interval(interval.low + by, interval.high + by, interval.level)
