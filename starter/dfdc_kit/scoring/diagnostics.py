"""What explains a score beside its value: secondary measures that rank nothing, and the points of plots."""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.scoring.calibration import ReliabilityBin, reliability

ALPHA = 100  # weight of a false alarm in the weighted precision (preview paper, arXiv 1910.08854)
RECALLS = (0.1, 0.5, 0.9)
ROC_POINTS = 100
CONFIDENCE_BINS = 10

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]


class SecondaryMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """Measures that the challenge does not rank by. None: undefined, as one class is missing."""

    auc: float | None  # area under the ROC curve
    average_precision: float | None
    accuracy: float  # at 0.5; a prediction of exactly 0.5 counts half
    ln_weighted_precision: dict[str, float] | None  # by recall: ln(TP / (TP + 100 FP)), as in the preview paper


class ConfidenceBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose confidence, twice the distance of the prediction from 0.5, is from `low` to `high`."""

    low: float
    high: float
    rows: int
    wrong: int  # on the wrong side of 0.5
    loss: float  # mean
    share: float  # of the sum of all losses, 0 to 1


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """The points of the plots of a score."""

    roc: list[tuple[float, float]]  # (false alarm rate, recall), from (0, 0) to (1, 1); empty: one class
    reliability: list[ReliabilityBin]
    confidence: list[ConfidenceBin]


def secondary_measures(labels: Labels, predicted: Floats) -> SecondaryMeasures:
    """labels (n,) 0 or 1; predicted (n,) in [0, 1].

    >>> measures = secondary_measures(np.array([1, 0, 1, 0], np.uint8), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> measures.auc, measures.accuracy
    (0.75, 0.75)
    """
    found, wrong = _counts(labels, predicted)
    right = np.where(predicted == 0.5, 0.5, (predicted > 0.5) == (labels == 1))
    if not (found[-1] and wrong[-1]):
        return SecondaryMeasures(
            auc=None, average_precision=None, accuracy=float(right.mean()), ln_weighted_precision=None
        )
    recall, false_alarms = found / found[-1], wrong / wrong[-1]
    precision = found[1:] / (found[1:] + wrong[1:])
    weighted = {}
    for wanted in RECALLS:
        at = int(np.searchsorted(found, max(math.ceil(wanted * found[-1] - 1e-9), 1)))
        weighted[f"{wanted:g}"] = math.log(found[at] / (found[at] + ALPHA * wrong[at]))
    return SecondaryMeasures(
        auc=float(np.trapezoid(recall, false_alarms)),
        average_precision=float((np.diff(recall) * precision).sum()),
        accuracy=float(right.mean()),
        ln_weighted_precision=weighted,
    )


def describe(measures: SecondaryMeasures) -> list[str]:
    """The measures in up to two phrases: "AUC 0.750, average precision 0.833, ...", and "ln(wP) ..."."""
    named = {"AUC": measures.auc, "average precision": measures.average_precision, "accuracy": measures.accuracy}
    found = [", ".join(f"{name} {value:.3f}" for name, value in named.items() if value is not None)]
    if weighted := measures.ln_weighted_precision:
        values = ", ".join(f"{value:.3f}" for value in weighted.values())
        found.append(f"ln(wP) {values} (recall {', '.join(weighted)})")
    return found


def curves(labels: Labels, predicted: Floats, losses: Floats) -> Curves:
    """labels (n,) 0 or 1; predicted (n,) in [0, 1]; losses (n,)."""
    found, wrong = _counts(labels, predicted)
    roc: list[tuple[float, float]] = []
    if found[-1] and wrong[-1]:
        x, y = wrong / wrong[-1], found / found[-1]
        length = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])  # 0 to 2 along the curve
        at = np.unique(np.searchsorted(length, np.linspace(0, length[-1], ROC_POINTS)).clip(0, len(x) - 1))
        roc = [(round(float(x[i]), 4), round(float(y[i]), 4)) for i in at]
    return Curves(
        roc=roc, reliability=reliability(labels, predicted), confidence=_confidence(labels, predicted, losses)
    )


def _counts(labels: Labels, predicted: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """True and false positives (m + 1,) at each of the m different thresholds, highest first; 0 before the first."""
    order = np.argsort(-predicted, kind="stable")
    last = np.append(np.diff(predicted[order]) != 0, True)  # of equal predictions
    found, wrong = np.cumsum(labels[order] == 1)[last], np.cumsum(labels[order] != 1)[last]
    return np.append(0, found), np.append(0, wrong)


def _confidence(labels: Labels, predicted: Floats, losses: Floats) -> list[ConfidenceBin]:
    confidence = np.abs(2 * predicted - 1)
    wrong = (predicted > 0.5) != (labels == 1)
    where = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    total = float(losses.sum())
    found = []
    for at in np.unique(where).tolist():
        inside = where == at
        found.append(
            ConfidenceBin(
                low=at / CONFIDENCE_BINS,
                high=(at + 1) / CONFIDENCE_BINS,
                rows=int(inside.sum()),
                wrong=int(wrong[inside].sum()),
                loss=float(losses[inside].mean()),
                share=float(losses[inside].sum()) / total if total else 0.0,
            )
        )
    return found
