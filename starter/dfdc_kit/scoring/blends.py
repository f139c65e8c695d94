"""What a blend of submissions would score: by the mean, by the mean of logits, by the mean of ranks."""

from collections.abc import Callable, Sequence
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.scoring.calibration import fold_of_cluster, row_losses
from dfdc_kit.scoring.intervals import Floats, Interval, mean_interval

MOST_PAIRED = 24  # submissions of which all pairs are tried; of more, only the blend of all
LOGIT_CLIP = 1e-6  # an exact 0 or 1 would decide a mean of logits alone


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """A blend of some submissions, on all rows."""

    method: str  # of METHODS
    members: list[str]
    score: float
    gain: float  # to the best single submission; positive: better


class BlendReport(msgspec.Struct, frozen=True, kw_only=True):
    """What blending would gain, honestly.

    In each fold, blend and best single submission are chosen on the other folds and compared on this one.
    """

    all_members: list[Blend]  # one for each method
    best: Blend  # of all candidates, chosen on the same rows: its gain is too high
    candidates: int
    folds: int  # no original is in two
    gain: float  # mean over all rows, each with what was chosen without it; positive: better
    interval: Interval | None  # 95 %
    chosen: list[str]  # by fold: "logit mean of a, b"


def mean(predictions: Floats) -> Floats:
    """The mean (n,) of predictions (n, k)."""
    return np.asarray(predictions.mean(axis=1))


def logit_mean(predictions: Floats) -> Floats:
    """The mean of the logits, as a probability (n,)."""
    clipped = np.clip(predictions, LOGIT_CLIP, 1 - LOGIT_CLIP)
    return np.asarray(1 / (1 + np.exp(-np.log(clipped / (1 - clipped)).mean(axis=1))))


def rank_mean(predictions: Floats) -> Floats:
    """The order of the mean ranks with the values (n,) of the mean: ranks alone are no probabilities."""
    ranks = np.stack([_ranks(column) for column in predictions.T], axis=1).mean(axis=1)
    values = np.sort(mean(predictions))
    _, where, counts = np.unique(ranks, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)  # equal ranks get the same value: the mean of their values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(((sums[ends] - sums[ends - counts]) / counts)[where])


def _ranks(values: Floats) -> Floats:
    """Ranks (n,) of values (n,), equal ones sharing their mean; without scipy.stats, whose import takes a second."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[where])


METHODS: dict[str, Callable[[Floats], Floats]] = {"mean": mean, "logit mean": logit_mean, "rank mean": rank_mean}


def blend_report(
    names: Sequence[str],
    labels: npt.NDArray[np.uint8],
    predictions: Floats,
    losses: Floats,
    codes: npt.NDArray[np.int64],
) -> BlendReport | None:
    """Blends of k >= 2 submissions: labels (n,), predictions and log losses (n, k), codes (n,) the cluster of each row.

    None for fewer than two clusters.
    """
    count, clusters = len(names), int(codes.max()) + 1
    if clusters < 2:
        return None
    everyone = tuple(range(count))
    sets = [everyone, *(combinations(everyone, 2) if 2 < count <= MOST_PAIRED else ())]
    candidates = [(method, members) for members in sets for method in METHODS]
    blended = np.stack(
        [row_losses(labels, METHODS[method](predictions[:, members])) for method, members in candidates], axis=1
    )  # (n, candidates)
    folds = fold_of_cluster(clusters)[codes]  # (n,)
    gains, chosen = np.empty(len(labels)), []
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        single = int(losses[~inside].mean(axis=0).argmin())
        blend = int(blended[~inside].mean(axis=0).argmin())
        gains[inside] = losses[inside, single] - blended[inside, blend]
        chosen.append(_describe(names, *candidates[blend]))
    least = float(losses.mean(axis=0).min())
    scores = blended.mean(axis=0)

    def summary(at: int) -> Blend:
        method, members = candidates[at]
        score = float(scores[at])
        return Blend(method=method, members=[names[i] for i in members], score=score, gain=least - score)

    return BlendReport(
        all_members=[summary(at) for at in range(len(METHODS))],
        best=summary(int(scores.argmin())),
        candidates=len(candidates),
        folds=len(chosen),
        gain=float(gains.mean()),
        interval=mean_interval(gains, codes),
        chosen=chosen,
    )


def _describe(names: Sequence[str], method: str, members: Sequence[int]) -> str:
    return f"{method} of {'all' if len(members) == len(names) else ', '.join(names[i] for i in members)}"
