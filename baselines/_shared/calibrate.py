"""How far predictions may move away from 0.5: chosen on held-out videos, and hardly at all without evidence.

A constant 0.5 costs 0.6931, whatever the labels. A network that ranks well can still cost more by being overconfident:
one trained on 400 videos is reported at 1.05. So logits are multiplied by a shrinkage of at most 1 (1 / temperature)
and probabilities are clipped, softly, so that their order is kept. A setting is used only if there are MIN_ORIGINALS of
each class, it beats the constant on held-out videos by more than STANDARD_ERRORS, and would still do so with one more
original on which the most confident prediction is wrong: ten videos cannot show that 0.99 is deserved. Otherwise the
safe setting keeps predictions so close to 0.5 that they cost at most 0.008 more than the constant, whatever the labels.
All this holds for videos like the held-out ones.

Both classes weigh the same in every loss, because the tests are half FAKE and half REAL and training folders are not.
Videos of one original count as one observation, because their losses are correlated.
Copied from baselines/_shared by `make baselines-sync`: change it there, not in a bundled baseline.
"""

import itertools
import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

FALLBACK = 0.5  # prediction for a video that cannot be used
LN2 = math.log(2)  # loss of the constant 0.5, whatever the labels
SHRINKAGES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)  # 1 / temperature
CLIPS = (0.1, 0.05, 0.02, 0.01)  # most careful first
KNEE = 0.99  # fraction of the clipped range, in logits, that is not compressed
MIN_ORIGINALS = 10  # held out, of each class; with fewer, the safe setting is used
SAFE_CLIP = 0.496  # without evidence: ln(0.5 / 0.496) = 0.008
STANDARD_ERRORS = 1.0  # margin over the constant, because the best of many settings is optimistic
RESAMPLES = 2000  # of the bootstrap


class Setting(NamedTuple):
    """A model and how far its predictions are trusted."""

    model: Hashable
    shrinkage: float  # 1 uses the logits as they are, 0 predicts 0.5
    clip: float  # predictions stay between clip and 1 - clip


def to_probability(logits: np.ndarray, shrinkage: float, clip: float) -> np.ndarray:
    """FAKE probabilities between clip and 1 - clip: shrinkage 1 uses the logits as they are, 0 predicts 0.5.

    Different logits give different probabilities: those beyond KNEE of the limit are compressed, not cut off.
    """
    limit = math.log((1 - clip) / clip)
    z = shrinkage * np.asarray(logits, dtype=np.float64)
    beyond = np.maximum(np.abs(z) - KNEE * limit, 0.0)
    room = (1 - KNEE) * limit
    compressed = np.sign(z) * (KNEE * limit + room * beyond / (room + beyond))
    return 1 / (1 + np.exp(-np.where(beyond > 0, compressed, z)))


def choose(candidates: Mapping[Hashable, np.ndarray], y: np.ndarray, originals: np.ndarray) -> Setting:
    """The setting with the best pessimistic gain over the constant (`upper_bound`); the safe setting if none gains.

    candidates: for each model, simplest first, logits (n,) of videos whose original it was not fitted on.
    y: (n,) 1 = FAKE; originals: (n,) names, a REAL video being its own original.
    """
    best, best_bound = safe_setting(*next(iter(candidates.items()))), 0.0
    group = np.unique(originals, return_inverse=True)[1]  # (n,) numbers of the originals
    for model, logits in candidates.items() if not too_few_originals(y, originals) else ():
        for shrinkage, clip in itertools.product(SHRINKAGES, CLIPS):
            bound = upper_bound(to_probability(logits, shrinkage, clip), y, group)
            if bound < best_bound:
                best, best_bound = Setting(model, shrinkage, clip), bound
    return best


def too_few_originals(y: np.ndarray, originals: np.ndarray) -> str:
    """A sentence if the held-out videos are too few to choose a setting, else an empty string."""
    fake, real = (len(set(originals[y == label])) for label in (1, 0))
    if min(fake, real) >= MIN_ORIGINALS:
        return ""
    return f"Held out: {fake} originals with a FAKE and {real} with a REAL video; {MIN_ORIGINALS} of each are needed."


def safe_setting(model: Hashable, logits: np.ndarray) -> Setting:
    """For a model without evidence: shrinks the most confident of its logits (n,) to SAFE_CLIP."""
    largest = float(np.abs(logits).max(initial=0.0))
    return Setting(model, min(math.log((1 - SAFE_CLIP) / SAFE_CLIP) / largest, 1.0) if largest else 0.0, SAFE_CLIP)


def upper_bound(p: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Pessimistic estimate of the loss of p (n,) minus that of the constant; below 0: better than the constant."""
    excess = losses(y, p) - LN2  # (n,)
    weighted = weights(y) * excess
    of_class = np.bincount(y, weighted)  # (2,) half of each class's mean
    deviation = np.bincount(group, weighted - weights(y) * 2 * of_class[y])  # (n_originals,)
    n = len(deviation)
    error = math.sqrt((deviation**2).sum() * n / max(n - 1, 1))
    worst = -math.log(np.minimum(p, 1 - p).min()) - LN2  # a new original: the most confident prediction is wrong
    return (n * float(of_class.sum()) + worst) / (n + 1) + STANDARD_ERRORS * error


def weights(y: np.ndarray) -> np.ndarray:
    """(n,), summing to 1: half for FAKE, half for REAL."""
    return 0.5 / np.bincount(y, minlength=2)[y]


def losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(n,) log loss of each video."""
    return -np.log(np.where(y == 1, p, 1 - p))


def interval(loss: np.ndarray, y: np.ndarray, originals: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the class-balanced mean loss, resampling originals."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(originals, return_inverse=True)
    n = group.max() + 1
    sums = np.stack([np.bincount(group, (y == label) * loss) for label in (0, 1)])  # (2, n_originals)
    counts = np.stack([np.bincount(group, y == label) for label in (0, 1)])
    drawn = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).T  # (n_originals, RESAMPLES)
    per_class = (sums @ drawn) / np.maximum(counts @ drawn, 1)  # (2, RESAMPLES)
    usable = (counts @ drawn > 0).all(axis=0)  # a resample without one class has no balanced loss
    low, high = np.quantile(per_class.mean(axis=0)[usable], (0.025, 0.975))
    return float(low), float(high)
