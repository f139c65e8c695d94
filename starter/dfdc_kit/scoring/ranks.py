"""Ranks in resamples, and what they say: intervals of ranks, and chances of places."""

import numpy as np
import numpy.typing as npt

from dfdc_kit.scoring.intervals import Floats

Ints = npt.NDArray[np.int64]

ENDS = 0.025, 0.975  # quantiles of a 95 % interval; (1 - 0.95) / 2 is a little more, which takes the next rank


def resampled_ranks(losses: Floats) -> tuple[Ints, Ints]:
    """The ranks (resamples, n) of losses (resamples, n): the first and the last of the places that equal losses share.

    >>> first, last = resampled_ranks(np.array([[0.3, 0.1, 0.3]]))
    >>> first.tolist(), last.tolist()
    ([[2, 1, 2]], [[3, 1, 3]])
    """
    first = np.stack([(losses < column[:, None]).sum(axis=1) + 1 for column in losses.T], axis=1)
    last = np.stack([(losses <= column[:, None]).sum(axis=1) for column in losses.T], axis=1)
    return first.astype(np.int64), last.astype(np.int64)


def rank_intervals(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """The 95 % intervals of ranks, low and high (n,), from the first and last places (resamples, n); 1 is the best.

    >>> rank_intervals(*resampled_ranks(np.array([[0.1, 0.3, 0.3]])))
    (array([1, 2, 2]), array([1, 3, 3]))
    """
    low, high = (
        np.quantile(places, end, axis=0, method="inverted_cdf").astype(np.int64)
        for places, end in zip((first, last), ENDS, strict=True)
    )
    return low, high


def chance_of_place(first: Ints, last: Ints, places: int) -> Floats:
    """How often (n,) each is in the first `places`; those that share places across the border count in part."""
    inside = np.clip(places - first + 1, 0, last - first + 1)
    return np.asarray((inside / (last - first + 1)).mean(axis=0))
