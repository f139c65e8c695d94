"""What a score is worth: its interval, its difference to the constant, and its calibration error."""

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import Texts, as_text
from dfdc_kit.errors import DataError, MetricError
from dfdc_kit.scoring.intervals import (
    FEWEST_EFFECTIVE,
    FEWEST_TO_RANK,
    RESAMPLES,
    SLOW_RESAMPLES,
    Clusters,
    Floats,
    Interval,
    cluster_codes,
    costliest_share,
    effective_clusters,
    mean_intervals,
    percentile_interval,
    resampled_scores,
    within_range,
)
from dfdc_kit.scoring.metric import LoadedMetric, RowScorer, is_mean
from dfdc_kit.scoring.score import (
    CONSTANT,
    QUANTILES,
    STUDENTISED,
    Score,
    ScoredRows,
    SolutionRows,
    SubmittedRows,
    Uncertainty,
    constant_rows,
    constant_score,
    matched_rows,
)

CALIBRATION_BINS = 10


def with_uncertainty(
    score: Score,
    metric: LoadedMetric,
    solution: SolutionRows,
    submission: SubmittedRows,
    challenge: Challenge,
    originals: Texts | None = None,
) -> Score:
    """`score` with the field `uncertainty`; unchanged where the metric fails on the constant.

    originals: (n_solution,) the original of each row of the solution, its own name for a real video; None: not known.
    Raises SubmissionError or MetricError, as `score_submission` does.
    """
    rows = matched_rows(metric, solution, submission, challenge)
    clusters = clusters_of(rows.ids, solution.ids, originals)
    method, dominating_share = STUDENTISED, None
    if rows.losses is not None and is_mean(rows.losses, score.value):
        constant = constant_rows(metric, solution, challenge).losses
        assert constant is not None  # noqa: S101 - of the same metric
        difference = float((rows.losses - constant).mean())
        interval, constant_interval = _of_losses(rows.losses, constant, clusters)
        if effective_clusters(rows.losses, clusters) < FEWEST_EFFECTIVE:
            dominating_share = costliest_share(rows.losses, clusters)
    else:
        try:
            difference = score.value - constant_score(metric, solution, challenge).value
        except MetricError:  # it refuses constant predictions: the score itself stands
            return score
        method = QUANTILES
        columns = (challenge.submission.row_id, challenge.submission.label)
        interval, constant_interval = _of_scores(metric, rows, columns, clusters)
    count = len(rows.ids) if clusters is None else len(np.unique(cluster_codes(clusters, len(rows.ids))))
    return msgspec.structs.replace(
        score,
        uncertainty=Uncertainty(
            interval=interval,
            constant_difference=difference,
            constant_interval=constant_interval,
            clusters=count,
            clustered_by="video" if clusters is None else "original",
            too_few_to_rank=count < FEWEST_TO_RANK,
            calibration_error=calibration_error(rows.labels, rows.predicted),
            dominating_share=dominating_share,
            method=method,
        ),
    )


def _of_losses(losses: Floats, constant: Floats, clusters: Clusters | None) -> tuple[Interval | None, Interval | None]:
    """From losses (n,) of the submission and of the constant."""
    differences = losses - constant
    # if each row of the constant costs the same, then both intervals have the same width: resampled once
    columns = losses if np.ptp(constant) == 0 else np.column_stack([losses, differences])
    intervals = mean_intervals(columns, clusters)
    shift = float(differences.mean() - losses.mean()) if len(intervals) == 1 else 0.0
    return within_range(intervals[0], losses), _shifted(intervals[-1], shift)


def _of_scores(
    metric: LoadedMetric, rows: ScoredRows, columns: tuple[str, str], clusters: Clusters | None
) -> tuple[Interval | None, Interval | None]:
    """The intervals of the score and of its difference to the constant, from scores of resampled rows.

    The latter is None where scoring from tables would take twice as long for it.
    """
    if len(np.unique(cluster_codes(clusters, len(rows.ids)))) < 2:
        return None, None
    both = np.column_stack([rows.predicted, np.full(len(rows.ids), CONSTANT)])
    try:
        scorer = RowScorer(metric, rows.labels, both, columns)
        if not scorer.is_fast:
            scorer = RowScorer(metric, rows.labels, both[:, :1], columns)
            drawn = resampled_scores(scorer, rows.labels, clusters, SLOW_RESAMPLES)
            return percentile_interval(drawn[:, 0]), None
        drawn = resampled_scores(scorer, rows.labels, clusters, RESAMPLES)
    except (MetricError, DataError):  # the metric fails on such rows: the score itself stands
        return None, None
    return percentile_interval(drawn[:, 0]), percentile_interval(drawn[:, 0] - drawn[:, 1])


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
