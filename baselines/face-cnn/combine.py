"""One probability for a video from those of its stills: the rules that winners of the challenge used, and plain ones.

Each takes p (n,), n >= 1, probabilities of FAKE of one face over the stills of a video, and returns one. They differ
in what a few odd stills may do: a blurred one, a turned head, a fake that shows in three frames of thirty.
This file is the same, byte for byte, in every baseline that uses it.
"""

from collections.abc import Callable

import numpy as np

SURE_FAKE, SURE_REAL = 0.8, 0.2  # what the confident mean calls so
POWER = 0.65  # of the power-weighted mean
LEAST_WEIGHT = 1e-6  # so that stills of exactly 0.5 have a mean
TRIMMED = 0.2  # of the stills, at each end


def mean(p: np.ndarray) -> float:
    """Of all stills: second place's rule."""
    return float(p.mean())


def confident_mean(p: np.ndarray) -> float:
    """Of the sure stills, if enough agree: more than 40 % surely fake, or more than 90 % surely real. First place's."""
    fake, real = p > SURE_FAKE, p < SURE_REAL
    if fake.mean() > 0.4:
        return float(p[fake].mean())
    if real.mean() > 0.9:
        return float(p[real].mean())
    return float(p.mean())


def power_weighted_mean(p: np.ndarray) -> float:
    """Sharpened by a power of the distance from 0.5, sure stills weighing more: after third place's rule."""
    distance = np.abs(2 * p - 1)  # (n,) 0 to 1
    sharpened = 0.5 + np.sign(p - 0.5) * distance**POWER / 2
    return float(np.average(sharpened, weights=distance + LEAST_WEIGHT))


def trimmed_mean(p: np.ndarray) -> float:
    """Of the stills left when a fifth is taken off at each end."""
    off = int(TRIMMED * len(p))
    return float(np.sort(p)[off : len(p) - off].mean())


def median(p: np.ndarray) -> float:
    """Half of the stills are below."""
    return float(np.median(p))


def mean_logit(p: np.ndarray) -> float:
    """The probability of the mean logit: stills as independent witnesses, each with an n-th of a voice."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return float(1 / (1 + np.exp(-np.log(clipped / (1 - clipped)).mean())))


RULES: dict[str, Callable[[np.ndarray], float]] = {
    rule.__name__: rule for rule in (mean, confident_mean, power_weighted_mean, trimmed_mean, median, mean_logit)
}
