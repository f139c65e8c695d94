"""Compare submissions on the same rows: paired differences with intervals, tests, ties, ranks, and which two to select.

Everything is paired and clustered: rows of one original are resampled, and their signs are flipped, together.
"""

from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.scoring.blends import BlendReport, blend_report
from dfdc_kit.scoring.intervals import (
    FEWEST_TO_RANK,
    Clusters,
    Floats,
    Interval,
    cluster_codes,
    cluster_sums,
    mean_intervals,
    resampled_means,
    smallest_difference,
    standard_errors,
    within_range,
)
from dfdc_kit.scoring.ranks import chance_of_place, rank_intervals, resampled_ranks
from dfdc_kit.scoring.slices import holm

SIGNIFICANT = 0.05  # corrected p-values below are a difference
MOST_EXACT_CLUSTERS = 16  # all 2^15 different sign flips are tried; with more clusters, random ones
SIGN_FLIPS = 9_999
FLIPS_PER_PAIR = 100  # at least, so that the smallest p-value stays below the level after the correction
FLIPS_AT_A_TIME = 1_024
RANK_RESAMPLES = 4_000
SHOWN_FINALS = 3
NEARLY = 1 - 1e-9  # sums that differ by rounding only are equal


class ComparedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """One submission among the others. Intervals are 95 % intervals of mean losses."""

    name: str
    rank: int  # 1 is the best; equal scores share a rank
    score: float  # mean loss
    interval: Interval | None  # None: all rows belong to one cluster
    constant_difference: float | None  # to the constant 0.5; negative: better; None: not known for this metric
    constant_interval: Interval | None
    best_difference: float  # to the best submission, 0 or more
    best_interval: Interval | None
    p_first: float  # how often it is the best in resamples; equal ones share
    rank_low: int  # 95 % interval of the rank in resamples
    rank_high: int
    groups: str  # letters of the groups of ties that it is in; submissions without a common letter differ


class PairDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The paired difference of two submissions."""

    better: str
    worse: str
    difference: float  # mean loss of `worse` less that of `better`, 0 or more
    interval: Interval | None
    p_value: float  # two-sided sign-flip test by cluster
    p_corrected: float  # Holm's correction for all pairs
    significant: bool
    smallest_difference: float | None  # that these rows show with 80 % power at the 5 % level; None: one cluster
    error_correlation: float | None  # of the absolute errors per row, -1 to 1; None: one of them is constant
    identical: bool  # the same prediction in every row


class FinalPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two submissions to select as final."""

    names: list[str]
    p_best: float  # how often one of the two is the best of all in resamples
    expected_score: float  # of the better one of the two, mean over resamples


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two or more submissions compared, best first."""

    rows: int
    clusters: int
    clustered_by: str  # "original" or "video"
    too_few_to_rank: bool
    exact: bool  # all sign flips were tried, rather than random ones
    submissions: list[ComparedSubmission]
    pairs: list[PairDifference]
    ties: list[list[str]]  # groups of two or more among which no difference is shown, best first
    smallest_difference: float | None  # median over the pairs
    blends: BlendReport | None  # None: not the log loss
    finals: list[FinalPair]  # the best choices first


def compare(
    names: Sequence[str],
    labels: npt.NDArray[np.uint8],
    predictions: Floats,
    losses: Floats,
    *,
    clusters: Clusters | None = None,
    constant_losses: Floats | None = None,
    blend: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare k >= 2 submissions on the same n >= 1 rows.

    names (k,) unique; labels (n,) 0 or 1; predictions and losses (n, k); clusters (n,), None: each row is one;
    constant_losses (n,) of the constant prediction; blend: whether `losses` are log losses of `predictions`.
    """
    rows, count = losses.shape
    order = np.argsort(losses.mean(axis=0), kind="stable")
    names, predictions, losses = [names[i] for i in order], predictions[:, order], losses[:, order]
    codes = cluster_codes(clusters, rows)
    pairs = list(combinations(range(count), 2))
    first, second = np.array(pairs).T
    differences = losses[:, second] - losses[:, first]  # (n, pairs), in the mean 0 or more
    p_values, exact = sign_flip_test(losses, codes, pairs, seed)
    found = _pairs(names, labels, predictions, differences, codes, pairs, p_values)
    groups = _groups(count, {pair: one.significant for pair, one in zip(pairs, found, strict=True)})
    resampled = resampled_means(losses, codes, RANK_RESAMPLES, seed)
    known = [one.smallest_difference for one in found if one.smallest_difference is not None and not one.identical]
    clusters_seen = int(codes.max()) + 1
    return Comparison(
        rows=rows,
        clusters=clusters_seen,
        clustered_by="video" if clusters is None else "original",
        too_few_to_rank=clusters_seen < FEWEST_TO_RANK,
        exact=exact,
        submissions=_submissions(names, losses, constant_losses, codes, found, groups, resampled),
        pairs=found,
        ties=[[names[i] for i in group] for group in groups if len(group) > 1],
        smallest_difference=float(np.median(known)) if known else None,
        blends=blend_report(names, labels, predictions, losses, codes) if blend else None,
        finals=_finals(names, resampled, pairs),
    )


def sign_flip_test(
    losses: Floats, codes: npt.NDArray[np.int64], pairs: Sequence[tuple[int, int]], seed: int = 0
) -> tuple[Floats, bool]:
    """Two-sided p-values (pairs,) that two columns of losses (n, k) have the same mean, and whether they are exact.

    The two submissions are exchanged in whole clusters, codes (n,): in all ways where there are few clusters, else at
    random. The sum of the differences is the statistic.
    """
    sums, _ = cluster_sums(losses, codes)
    clusters = len(sums)
    sums = sums - sums.mean(axis=1, keepdims=True)  # the differences stay, rounding errors get smaller
    first, second = np.array(pairs).T
    seen = np.abs(sums[:, second].sum(axis=0) - sums[:, first].sum(axis=0)) * NEARLY
    exact = clusters <= MOST_EXACT_CLUSTERS
    flips = 1 << (clusters - 1) if exact else max(SIGN_FLIPS, FLIPS_PER_PAIR * len(pairs))
    random, hits = np.random.default_rng(seed), np.zeros(len(pairs))
    for start in range(0, flips, FLIPS_AT_A_TIME):
        tried = min(FLIPS_AT_A_TIME, flips - start)
        if exact:  # the last cluster keeps its sign: flipping all changes no absolute value
            bits = ((np.arange(start, start + tried)[:, None] >> np.arange(clusters)) & 1).astype(np.uint8)
        else:
            drawn = np.frombuffer(random.bytes(tried * -(-clusters // 8)), np.uint8).reshape(tried, -1)
            bits = np.unpackbits(drawn, axis=1, count=clusters)
        flipped = (1 - 2.0 * bits) @ sums  # (tried, k)
        hits += (np.abs(flipped[:, second] - flipped[:, first]) >= seen).sum(axis=0)
    return (hits / flips if exact else (hits + 1) / (flips + 1)), exact


def _pairs(
    names: Sequence[str],
    labels: npt.NDArray[np.uint8],
    predictions: Floats,
    differences: Floats,
    codes: npt.NDArray[np.int64],
    pairs: Sequence[tuple[int, int]],
    p_values: Floats,
) -> list[PairDifference]:
    intervals = mean_intervals(differences, codes)
    errors = standard_errors(differences, codes)
    corrected = holm(p_values.tolist())
    correlations = _correlations(np.abs(predictions - labels[:, None]))
    return [
        PairDifference(
            better=names[i],
            worse=names[j],
            difference=float(differences[:, at].mean()),
            interval=intervals[at],
            p_value=float(p_values[at]),
            p_corrected=corrected[at],
            significant=corrected[at] < SIGNIFICANT,
            smallest_difference=float(smallest_difference(errors[at])) if np.isfinite(errors[at]) else None,
            error_correlation=float(correlations[i, j]) if np.isfinite(correlations[i, j]) else None,
            identical=bool((predictions[:, i] == predictions[:, j]).all()),
        )
        for at, (i, j) in enumerate(pairs)
    ]


def _correlations(columns: Floats) -> Floats:
    """The correlations (k, k) of columns (n, k); NaN with one that does not vary."""
    centred = columns - columns.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    norms = np.where(norms > 1e-12 * len(columns), norms, np.nan)
    return np.asarray(np.clip(centred.T @ centred / np.outer(norms, norms), -1, 1))


def _submissions(
    names: Sequence[str],
    losses: Floats,
    constant_losses: Floats | None,
    codes: npt.NDArray[np.int64],
    pairs: Sequence[PairDifference],
    groups: Sequence[Sequence[int]],
    resampled: Floats,
) -> list[ComparedSubmission]:
    to_constant = losses if constant_losses is None else losses - constant_losses[:, None]
    intervals = [within_range(one, column) for one, column in zip(mean_intervals(losses, codes), losses.T, strict=True)]
    constant_intervals = mean_intervals(to_constant, codes)
    scores = losses.mean(axis=0)
    places = resampled_ranks(resampled)
    p_first = chance_of_place(*places, 1)
    low, high = rank_intervals(*places)
    to_best = {one.worse: one for one in pairs if one.better == names[0]}
    return [
        ComparedSubmission(
            name=name,
            rank=int((scores < scores[i]).sum()) + 1,
            score=float(scores[i]),
            interval=intervals[i],
            constant_difference=None if constant_losses is None else float(to_constant[:, i].mean()),
            constant_interval=None if constant_losses is None else constant_intervals[i],
            best_difference=to_best[name].difference if i else 0.0,
            best_interval=to_best[name].interval if i else None,
            p_first=float(p_first[i]),
            rank_low=int(low[i]),
            rank_high=int(high[i]),
            groups="".join(_letter(at) for at, group in enumerate(groups) if i in group),
        )
        for i, name in enumerate(names)
    ]


def _groups(count: int, differs: dict[tuple[int, int], bool]) -> list[list[int]]:
    """The longest runs of ranks without a significant difference between any two; one may be in several."""
    found: list[list[int]] = []
    for start in range(count):
        end = start + 1
        while end < count and not any(differs[i, end] for i in range(start, end)):
            end += 1
        if not found or end > found[-1][-1] + 1:
            found.append(list(range(start, end)))
    return found


def _letter(number: int) -> str:
    """a to z, then A to Z."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return (letters + letters.upper())[number]


def _finals(names: Sequence[str], resampled: Floats, pairs: Sequence[tuple[int, int]]) -> list[FinalPair]:
    """The pairs that most often contain the best submission; among equals, the pair with the lower expected score."""
    best = resampled == resampled.min(axis=1, keepdims=True)
    found = [
        FinalPair(
            names=[names[i], names[j]],
            p_best=float((best[:, i] | best[:, j]).mean()),
            expected_score=float(np.minimum(resampled[:, i], resampled[:, j]).mean()),
        )
        for i, j in pairs
    ]
    return sorted(found, key=lambda pair: (-pair.p_best, pair.expected_score))[:SHOWN_FINALS]
