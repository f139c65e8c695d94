"""One probability per video from those of its frames: the rules of the challenge's winners, and simple ones.

Each rule takes p (n,), n >= 1, the FAKE probabilities of one face in the sampled frames of a video, and returns one
probability. They differ in how much a few odd frames count: blur, a turned head, a fake that shows in 3 of 30 frames.
Copied from baselines/_shared by `make baselines-sync`: change it there, not in a bundled baseline.
"""

from collections.abc import Callable

import numpy as np

CONFIDENT_FAKE, CONFIDENT_REAL = 0.8, 0.2  # thresholds of the confident mean
POWER = 0.65  # of the power-weighted mean
MIN_WEIGHT = 1e-6  # so that frames of exactly 0.5 have a mean
TRIMMED = 0.2  # of the frames, at each end


def mean(p: np.ndarray) -> float:
    """Mean over all frames: the rule of second place."""
    return float(p.mean())


def confident_mean(p: np.ndarray) -> float:
    """First place's rule: if more than 40 % are confidently fake, their mean; else if 90 % are confidently real."""
    fake, real = p > CONFIDENT_FAKE, p < CONFIDENT_REAL
    if fake.mean() > 0.4:
        return float(p[fake].mean())
    if real.mean() > 0.9:
        return float(p[real].mean())
    return float(p.mean())


def power_weighted_mean(p: np.ndarray) -> float:
    """After third place's rule: sharpened by a power of the distance from 0.5, confident frames weighing more."""
    distance = np.abs(2 * p - 1)  # (n,) 0 to 1
    sharpened = 0.5 + np.sign(p - 0.5) * distance**POWER / 2
    return float(np.average(sharpened, weights=distance + MIN_WEIGHT))


def trimmed_mean(p: np.ndarray) -> float:
    """Mean without the lowest and the highest fifth of the frames."""
    cut = int(TRIMMED * len(p))
    return float(np.sort(p)[cut : len(p) - cut].mean())


def median(p: np.ndarray) -> float:
    """Median of the frames."""
    return float(np.median(p))


def mean_logit(p: np.ndarray) -> float:
    """Probability of the mean logit."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return float(1 / (1 + np.exp(-np.log(clipped / (1 - clipped)).mean())))


RULES: dict[str, Callable[[np.ndarray], float]] = {
    rule.__name__: rule for rule in (mean, confident_mean, power_weighted_mean, trimmed_mean, median, mean_logit)
}
