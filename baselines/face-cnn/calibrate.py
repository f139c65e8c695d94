"""How far answers may leave 0.5: chosen on videos that were held out, and hardly at all where those do not tell.

A constant 0.5 costs 0.6931, whatever the labels. A network that ranks well can still cost more, by being too sure:
on 400 videos one is reported at 1.05. So logits are multiplied by a shrinkage of at most 1, the answers are clipped,
and both are taken only if they beat the constant on held-out videos by more than CAUTION standard errors, and would
still do so with one more original on which the surest answer is wrong: ten videos cannot show that an answer of 0.99
is deserved. Else answers stay so near 0.5 that they keep their order and cost at most 0.008 more than the constant,
whatever the labels. Where something was chosen, it holds for videos like the held-out ones; nobody can promise more.

Both classes weigh the same in every loss, because the tests are half FAKE and half REAL and training folders are not.
Videos of one original are one observation: they stand or fall together.
This file is the same, byte for byte, in every baseline that learns.
"""

import itertools
import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

PRIOR = 0.5
LN2 = math.log(2)  # what the prior costs, whatever the labels
SHRINKAGES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)  # 1 / temperature
CLIPS = (0.1, 0.05, 0.02, 0.01)  # where the held-out videos do not tell, the first
TIMID = 0.496  # the clip where there is no evidence: ln(0.5 / 0.496) = 0.008
CAUTION = 1.0  # standard errors: the best of many settings flatters itself
RESAMPLES = 2000  # of the bootstrap


class Setting(NamedTuple):
    """What was chosen: one of the models offered, and how far it is trusted."""

    model: Hashable
    shrinkage: float  # 1 trusts the logits, 0 answers the prior
    clip: float  # no answer is surer than 1 - clip


def shrink_and_clip(logits: np.ndarray, shrinkage: float, clip: float) -> np.ndarray:
    """Probabilities of FAKE: shrinkage 1 trusts the logits, 0 answers the prior 0.5; none is surer than 1 - clip."""
    return np.clip(1 / (1 + np.exp(-shrinkage * np.clip(logits, -50, 50))), clip, 1 - clip)


def choose(guesses: Mapping[Hashable, np.ndarray], y: np.ndarray, originals: np.ndarray) -> Setting:
    """The setting whose gain over the constant is largest when seen pessimistically (`upper_bound`); else a timid one.

    guesses: for each model offered, simplest first, logits (n,) of videos whose original it was not fitted on.
    y: (n,) 1 = FAKE; originals: (n,), a REAL video being its own.
    """
    best, best_bound = timid(*next(iter(guesses.items()))), 0.0
    group = np.unique(originals, return_inverse=True)[1]  # (n,) numbers of the originals
    for model, logits in guesses.items() if len(set(y)) == 2 else ():
        for shrinkage, clip in itertools.product(SHRINKAGES, CLIPS):
            bound = upper_bound(shrink_and_clip(logits, shrinkage, clip), y, group)
            if bound < best_bound:
                best, best_bound = Setting(model, shrinkage, clip), bound
    return best


def timid(model: Hashable, logits: np.ndarray) -> Setting:
    """A setting for a model of unknown worth: the surest of its answers is as far from 0.5 as TIMID allows."""
    surest = float(np.abs(logits).max(initial=0.0))
    return Setting(model, min(math.log((1 - TIMID) / TIMID) / surest, 1.0) if surest else 0.0, TIMID)


def upper_bound(p: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """What answers (n,) cost over the constant, seen pessimistically; below 0: they are better beyond doubt."""
    excess = losses(y, p) - LN2  # (n,)
    share = weights(y) * excess
    of_class = np.bincount(y, share)  # (2,) halves of the classes' means
    deviation = np.bincount(group, share - weights(y) * 2 * of_class[y])  # (n_originals,)
    n = len(deviation)
    error = math.sqrt((deviation**2).sum() * n / max(n - 1, 1))
    worst = -math.log(np.minimum(p, 1 - p).min()) - LN2  # an original not seen yet, on which the surest answer is wrong
    return (n * float(of_class.sum()) + worst) / (n + 1) + CAUTION * error


def weights(y: np.ndarray) -> np.ndarray:
    """(n,), summing to 1: half of it on FAKE, half on REAL."""
    return 0.5 / np.bincount(y, minlength=2)[y]


def losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(n,) log loss of each video."""
    return -np.log(np.where(y == 1, p, 1 - p))


def interval(loss: np.ndarray, y: np.ndarray, originals: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the weighted mean loss, resampling originals."""
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
