"""Calibration of predictions: reliability, the parts of the log loss, and what a temperature or a clip would gain.

The parts follow CORP (Dimitriadis, Gneiting, Jordan 2021): isotonic regression of the labels on the predictions (PAV)
gives the best monotone recalibration; `calibration` is what the log loss loses against it, `refinement` its own loss.
Isotonic regression is fitted to the same rows, so `calibration` is not what recalibration gains: `gains` is, where each
row gets a value that was chosen on other originals only.
"""

from collections.abc import Sequence
from itertools import product

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import DataError
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.intervals import Interval, cluster_codes, mean_interval

Floats = npt.NDArray[np.float64]
EPSILON = 1e-15  # as the metric clips
BINS = 10
FOLDS = 5
TEMPERATURES = tuple(float(f"{2 ** (step / 6):.3g}") for step in range(-12, 25))  # 0.25 to 16, 1 among them
CLIPS = (0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
METHODS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "temperature": (TEMPERATURES, (0.0,)),
    "clip": ((1.0,), CLIPS),
    "temperature and clip": (TEMPERATURES[::2], CLIPS),
}


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose prediction is from `low` to `high`: their mean prediction, and the share that is positive."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float
    interval: tuple[float, float]  # Wilson's 95 % interval of `observed`, as if the rows were independent


class LossParts(msgspec.Struct, frozen=True, kw_only=True):
    """loss = calibration + refinement, and refinement = uncertainty - discrimination; all in nats."""

    loss: float
    calibration: float  # loss less that of the isotonic recalibration; 0: calibrated
    refinement: float  # the loss of the isotonic recalibration
    uncertainty: float  # the loss of the constant prediction of the share of positive rows
    discrimination: float  # how much better than that constant the recalibrated predictions are


class Recalibration(msgspec.Struct, frozen=True):
    """p -> sigmoid(logit(p) / temperature), then clipped to [clip, 1 - clip]."""

    temperature: float = 1.0
    clip: float = 0.0

    def apply(self, predicted: Floats) -> Floats:
        """Recalibrated predictions (n,) in [0, 1]."""
        p = predicted
        if self.temperature != 1:
            inside = np.clip(predicted, EPSILON, 1 - EPSILON)
            p = 1 / (1 + np.exp(-(np.log(inside) - np.log1p(-inside)) / self.temperature))
        return np.clip(p, self.clip, 1 - self.clip)


class CalibrationGain(msgspec.Struct, frozen=True, kw_only=True):
    """What a method gains: each row's value was chosen on the other folds, never on its own."""

    method: str
    loss: float  # of the recalibrated rows
    gain: float  # positive: the loss falls
    interval: Interval | None  # 95 % interval of `gain`; None: one cluster only
    chosen: list[Recalibration]  # one for each fold
    fitted: Recalibration  # to all rows; for new predictions, not for a claim about these rows


class CalibrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """How well predictions are calibrated."""

    rows: int
    clusters: int  # originals, or videos where no original is known
    clustered_by: str
    folds: int
    parts: LossParts
    reliability: list[ReliabilityBin]
    temperature_losses: dict[str, float]  # loss of all rows at each fixed temperature: a description, nothing is fitted
    clip_losses: dict[str, float]
    gains: list[CalibrationGain]  # largest first


def calibration_report(
    labels: npt.NDArray[np.uint8], predicted: Floats, clusters: Sequence[str], clustered_by: str = "video"
) -> CalibrationReport:
    """labels (n,) 0 or 1; predicted (n,) in [0, 1]; clusters (n,): rows of one cluster are never in two folds.

    Raises DataError for a single class or a single cluster: nothing can be chosen or tested.
    """
    codes = cluster_codes(list(clusters), len(labels))
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2 or len(np.unique(labels)) < 2:
        seen = f"{plural(count, clustered_by)} of {plural(len(np.unique(labels)), 'class', 'classes')}"
        raise DataError(f"Calibration needs two or more originals or videos, and both classes; seen {seen}.")
    folds = fold_of_cluster(count)[codes]  # (n,)
    gains = [cross_validated(method, labels, predicted, codes, folds) for method in METHODS]
    return CalibrationReport(
        rows=len(labels),
        clusters=count,
        clustered_by=clustered_by,
        folds=int(folds.max()) + 1,
        parts=loss_parts(labels, predicted),
        reliability=reliability(labels, predicted),
        temperature_losses={f"{t:g}": _loss(labels, Recalibration(t).apply(predicted)) for t in TEMPERATURES[::3]},
        clip_losses={f"{clip:g}": _loss(labels, Recalibration(clip=clip).apply(predicted)) for clip in CLIPS},
        gains=sorted(gains, key=lambda gain: -gain.gain),
    )


def fold_of_cluster(clusters: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each cluster (clusters,): FOLDS of nearly equal size, or fewer where there are fewer clusters."""
    return np.random.default_rng(seed).permutation(clusters) % min(FOLDS, clusters)


def cross_validated(
    method: str,
    labels: npt.NDArray[np.uint8],
    predicted: Floats,
    codes: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
) -> CalibrationGain:
    """The gain of `method`, of METHODS; codes (n,) the cluster and folds (n,) the fold of each row."""
    candidates = [Recalibration(t, clip) for t, clip in product(*METHODS[method])]
    candidates.sort(key=lambda one: one != Recalibration())  # of equally good ones, no change
    count = int(folds.max()) + 1
    sums = np.empty((count, len(candidates)))  # of the losses in each fold
    for column, candidate in enumerate(candidates):
        sums[:, column] = np.bincount(folds, row_losses(labels, candidate.apply(predicted)), count)
    total = sums.sum(axis=0)
    chosen = [candidates[int(np.argmin(total - own))] for own in sums]
    recalibrated = np.empty(len(labels))
    for fold, candidate in enumerate(chosen):
        recalibrated[folds == fold] = candidate.apply(predicted[folds == fold])
    losses = row_losses(labels, recalibrated)
    differences = row_losses(labels, predicted) - losses
    return CalibrationGain(
        method=method,
        loss=float(losses.mean()),
        gain=float(differences.mean()),
        interval=mean_interval(differences, codes),
        chosen=chosen,
        fitted=candidates[int(np.argmin(total))],
    )


def loss_parts(labels: npt.NDArray[np.uint8], predicted: Floats) -> LossParts:
    """The parts of the log loss by isotonic regression. labels (n,) 0 or 1; predicted (n,) in [0, 1]."""
    from sklearn.isotonic import IsotonicRegression

    recalibrated = IsotonicRegression(y_min=0, y_max=1).fit_transform(predicted, labels.astype(np.float64))
    loss, refinement = _loss(labels, predicted), _loss(labels, recalibrated)
    uncertainty = _loss(labels, np.full(len(labels), labels.mean()))
    return LossParts(
        loss=loss,
        calibration=loss - refinement,
        refinement=refinement,
        uncertainty=uncertainty,
        discrimination=uncertainty - refinement,
    )


def reliability(labels: npt.NDArray[np.uint8], predicted: Floats, bins: int = BINS) -> list[ReliabilityBin]:
    """The rows in equal bins of the prediction; empty bins are left out."""
    where = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    found = []
    for bin_ in np.unique(where).tolist():
        inside = where == bin_
        rows, positive = int(inside.sum()), int(labels[inside].sum())
        found.append(
            ReliabilityBin(
                low=bin_ / bins,
                high=(bin_ + 1) / bins,
                rows=rows,
                predicted=float(predicted[inside].mean()),
                observed=positive / rows,
                interval=wilson_interval(positive, rows),
            )
        )
    return found


def wilson_interval(positive: int, rows: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    z2 = 1.959963984540054**2
    centre = (positive + z2 / 2) / (rows + z2)
    half = np.sqrt(z2 * positive * (rows - positive) / rows + z2 * z2 / 4) / (rows + z2)
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def row_losses(labels: npt.NDArray[np.uint8], predicted: Floats) -> Floats:
    """The log loss of each row (n,), clipped as the metric does."""
    p = np.clip(predicted, EPSILON, 1 - EPSILON)
    return np.asarray(-np.log(np.where(labels == 1, p, 1 - p)))


def _loss(labels: npt.NDArray[np.uint8], predicted: Floats) -> float:
    return float(row_losses(labels, predicted).mean())
