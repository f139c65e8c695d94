"""Ranks and how sure they are: rank intervals, ties, and chances of places, from resampled scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfdc_kit.scoring.intervals import LEVEL, Floats, Ints, chance_of_place, rank_intervals, resampled_ranks

DIGITS = 9  # of resampled scores: equal predictions have equal scores, whatever the order of additions


@dataclass(frozen=True, slots=True)
class Ranking:
    """What is known about the places of n teams; all arrays are (n,), in the order of the scores given.

    ranks: 1 is the best; low, high: 95 % interval of the rank; p_first, p_medal: how often a team is first, or in a
    medal place, in the resamples, equal scores sharing a place; tied_from, tied_to: the ranks of the teams among which
    no difference to the best of them is shown.
    """

    order: Ints  # indices, best first
    ranks: Ints
    low: Ints
    high: Ints
    p_first: Floats
    p_medal: Floats
    tied_from: Ints
    tied_to: Ints


def rank_teams(
    scores: Sequence[float],
    resampled: Floats,
    *,
    lower_is_better: bool,
    medal_places: int,
    submitted_at: Sequence[str] | None = None,
) -> Ranking:
    """Rank n >= 1 teams by scores (n,), with resampled scores (resamples, n) for their uncertainty.

    submitted_at (n,): sortable texts; among equal scores the earlier one is ahead, "" last. None: they share a rank.
    """
    sign = 1.0 if lower_is_better else -1.0
    losses = np.asarray([sign * score for score in scores])  # (n,) lower is better
    times = [submitted_at[i] or "~" if submitted_at else "" for i in range(len(losses))]  # "~": after every date
    keys = list(zip(losses.tolist(), times, strict=True))
    order = np.array(sorted(range(len(keys)), key=lambda i: (*keys[i], i)), np.int64)
    better = sorted(keys)
    ranks = np.array([better.index(key) + 1 for key in keys], np.int64)
    losses_drawn = np.round(sign * resampled, DIGITS)
    first, last = resampled_ranks(losses_drawn)
    low, high = rank_intervals(first, last)
    tied_from, tied_to = _tied(order, ranks, losses_drawn)
    return Ranking(
        order=order,
        ranks=ranks,
        low=low,
        high=high,
        p_first=chance_of_place(first, last, 1),
        p_medal=chance_of_place(first, last, medal_places),
        tied_from=tied_from,
        tied_to=tied_to,
    )


def _tied(order: Ints, ranks: Ints, losses: Floats) -> tuple[Ints, Ints]:
    """First and last rank of each team's tie: from the top, all teams whose paired difference to the first of the tie
    has a 95 % interval that contains 0. The interval is not corrected for the number of teams.
    """
    tied_from, tied_to = np.zeros_like(ranks), np.zeros_like(ranks)
    start = 0
    while start < len(order):
        behind = np.sort(losses[:, order[start:]] - losses[:, order[start : start + 1]], axis=0)
        low = behind[int(len(behind) * (1 - LEVEL) / 2)]  # (teams from start,) lower end of the interval
        apart = np.flatnonzero(low > 0)
        end = start + (int(apart[0]) if len(apart) else len(low))
        group = order[start:end]
        tied_from[group], tied_to[group] = ranks[group].min(), ranks[group].max()
        start = end
    return tied_from, tied_to


def ladder(scores: Sequence[float], step: float, *, lower_is_better: bool) -> int:
    """Index of the submission that the Ladder shows, of n >= 1 in the order of time (Blum and Hardt 2015).

    A submission that does not beat the shown one by more than `step` changes nothing, so that small differences,
    which reveal labels, are never seen.
    """
    sign = 1.0 if lower_is_better else -1.0
    shown = 0
    for i, score in enumerate(scores):
        if sign * score < sign * scores[shown] - step:
            shown = i
    return shown


def similar_pairs(predicted: Floats, labels: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int, float, float]]:
    """Pairs of columns of predictions (n_rows, n) that are closer than the field's correlation explains.

    Yields two columns, their correlation, and the field's median. Correlations are of the log odds within a class,
    so that agreement because both are right does not count. At least 6 columns are needed to know a field.
    """
    clipped = np.clip(predicted, 1e-6, 1 - 1e-6)
    odds = np.log(clipped / (1 - clipped))
    for label in np.unique(labels):
        odds[labels == label] -= odds[labels == label].mean(axis=0)
    varied = np.flatnonzero(odds.std(axis=0) > 1e-9)
    if len(varied) < FEWEST_FOR_FIELD:
        return
    found = np.corrcoef(odds[:, varied].T)
    upper = np.triu_indices(len(varied), 1)
    z = np.arctanh(np.clip(found[upper], -1 + 1e-12, 1 - 1e-12))  # Fisher: nearly normal, with one spread
    middle = float(np.median(z))
    spread = max(1.4826 * float(np.median(np.abs(z - middle))), 1 / np.sqrt(len(odds)))  # from the MAD, robust
    for at in np.flatnonzero(z > middle + UNUSUAL * spread):
        yield int(varied[upper[0][at]]), int(varied[upper[1][at]]), float(found[upper][at]), float(np.tanh(middle))


FEWEST_FOR_FIELD = 6
UNUSUAL = 6.0  # robust standard deviations: below 1 in 10**9 pairs for a normal field
