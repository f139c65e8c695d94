"""Compare submissions on the same rows: paired differences with intervals, tests, ties, ranks, and which two to select.

Everything is paired and clustered: rows of one original are resampled, and their signs are flipped, together. Where the
score is no mean over rows, such as a precision, the scores of resampled rows give intervals and p-values instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    chance_of_place,
    cluster_codes,
    cluster_sums,
    mean_intervals,
    percentile_interval,
    rank_intervals,
    resampled_means,
    resampled_ranks,
    resampled_scores,
    smallest_difference,
    standard_errors,
    within_range,
)
from dfdc_kit.scoring.slices import holm

SIGNIFICANT = 0.05  # corrected p-values below are a difference
MOST_EXACT_CLUSTERS = 16  # all 2^15 different sign flips are tried; with more clusters, random ones
SIGN_FLIPS = 9_999
FLIPS_PER_PAIR = 100  # at least, so that the smallest p-value stays below the level after the correction
FLIPS_AT_A_TIME = 1_024
RANK_RESAMPLES = 4_000
SHOWN_FINALS = 3
NEARLY = 1 - 1e-9  # sums that differ by rounding only are equal


EXACT, RANDOM, RESAMPLED = "exact sign flips", "random sign flips", "resampled scores"


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses (n, k) of rows whose mean is the score, lower is better, and those (n,) of the constant 0.5."""

    losses: Floats
    constant: Floats


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores any rows, for a score that is no mean over rows.

    score: indices of rows, which may repeat -> the scores (k + 1,) of the submissions and of the constant 0.5.
    """

    score: Callable[[npt.NDArray[np.int64]], Floats]
    lower_is_better: bool
    resamples: int


class ComparedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """One submission among the others. Intervals are 95 % intervals of scores."""

    name: str
    rank: int  # 1 is the best; equal scores share a rank
    score: float
    interval: Interval | None  # None: all rows belong to one cluster
    constant_difference: float  # score less that of the constant 0.5
    constant_interval: Interval | None
    best_difference: float  # how much worse than the best submission, 0 or more
    best_interval: Interval | None
    p_first: float  # how often it is the best in resamples; equal ones share
    rank_low: int  # 95 % interval of the rank in resamples
    rank_high: int
    groups: str  # letters of the groups of ties that it is in; submissions without a common letter differ


class PairDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The paired difference of two submissions."""

    better: str
    worse: str
    difference: float  # between their scores, 0 or more
    interval: Interval | None
    p_value: float  # two-sided, by Comparison.test
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
    test: str  # EXACT, RANDOM: all sign flips of clusters, or random ones; RESAMPLED: from scores of resampled rows
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
    scoring: Losses | Scorer,
    *,
    clusters: Clusters | None = None,
    blend: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare k >= 2 submissions on the same n >= 1 rows.

    names (k,) unique; labels (n,) 0 or 1; predictions (n, k); scoring: the losses of all rows where the score is their
    mean, else what scores any rows; clusters (n,), None: each row is one; blend: whether losses are log losses of
    `predictions`. Raises DataError where resampled rows always lack a class, MetricError.
    """
    rows, count = predictions.shape
    codes = cluster_codes(clusters, rows)
    if isinstance(scoring, Losses):
        order = np.argsort(scoring.losses.mean(axis=0), kind="stable")
        losses: Floats | None = scoring.losses[:, order]
        evidence = _of_losses(scoring.losses[:, order], scoring.constant, codes, seed)
    else:
        losses, order, evidence = None, *_of_scorer(scoring, labels, codes, seed)
    names, predictions = [names[i] for i in order], predictions[:, order]
    pairs = list(combinations(range(count), 2))
    found = _pairs(names, labels, predictions, evidence, pairs)
    groups = _groups(count, {pair: one.significant for pair, one in zip(pairs, found, strict=True)})
    known = [one.smallest_difference for one in found if one.smallest_difference is not None and not one.identical]
    clusters_seen = int(codes.max()) + 1
    return Comparison(
        rows=rows,
        clusters=clusters_seen,
        clustered_by="video" if clusters is None else "original",
        too_few_to_rank=clusters_seen < FEWEST_TO_RANK,
        test=evidence.test,
        submissions=_submissions(names, evidence, found, groups),
        pairs=found,
        ties=[[names[i] for i in group] for group in groups if len(group) > 1],
        smallest_difference=float(np.median(known)) if known else None,
        blends=blend_report(names, labels, predictions, losses, codes) if blend and losses is not None else None,
        finals=_finals(names, evidence, pairs),
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is known of k submissions, best first, and of their pairs (0, 1), (0, 2) ... (1, 2) ...

    scores, constant_differences (k,) as the metric gives them; costs (resamples, k): scores of resampled rows, lower is
    better; pair_errors (pairs,): standard errors of the differences, NaN for one cluster.
    """

    scores: Floats
    intervals: list[Interval | None]
    constant_differences: Floats
    constant_intervals: list[Interval | None]
    costs: Floats
    sign: float  # -1 where higher scores are better
    pair_intervals: list[Interval | None]
    pair_errors: Floats
    p_values: Floats
    test: str


def _of_losses(losses: Floats, constant: Floats, codes: npt.NDArray[np.int64], seed: int) -> _Evidence:
    pairs = list(combinations(range(losses.shape[1]), 2))
    first, second = np.array(pairs).T
    differences = losses[:, second] - losses[:, first]  # (n, pairs), in the mean 0 or more
    p_values, exact = sign_flip_test(losses, codes, pairs, seed)
    to_constant = losses - constant[:, None]
    return _Evidence(
        scores=losses.mean(axis=0),
        intervals=[within_range(*pair) for pair in zip(mean_intervals(losses, codes), losses.T, strict=True)],
        constant_differences=to_constant.mean(axis=0),
        constant_intervals=mean_intervals(to_constant, codes),
        costs=resampled_means(losses, codes, RANK_RESAMPLES, seed),
        sign=1.0,
        pair_intervals=mean_intervals(differences, codes),
        pair_errors=standard_errors(differences, codes),
        p_values=p_values,
        test=EXACT if exact else RANDOM,
    )


def _of_scorer(
    scorer: Scorer, labels: npt.NDArray[np.uint8], codes: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.int64], _Evidence]:
    """The order, best first, and the evidence from scores of resampled rows, whose last column is the constant."""
    sign = 1.0 if scorer.lower_is_better else -1.0
    *values, constant = scorer.score(np.arange(len(labels))).tolist()
    order = np.argsort(sign * np.array(values), kind="stable")
    scores = np.array(values)[order]
    if codes.max() == 0:
        drawn = np.array([[*values, constant]])
    else:
        drawn = resampled_scores(scorer.score, labels, codes, scorer.resamples, seed)
    costs = sign * drawn[:, order]  # (resamples, k)
    first, second = np.array(list(combinations(range(len(order)), 2))).T
    differences = costs[:, second] - costs[:, first]  # (resamples, pairs)
    errors = differences.std(axis=0) if len(drawn) > 1 else np.full(len(first), np.nan)

    def intervals(columns: Floats) -> list[Interval | None]:
        return [percentile_interval(column) if len(column) > 1 else None for column in columns.T]

    return order, _Evidence(
        scores=scores,
        intervals=intervals(sign * costs),
        constant_differences=scores - constant,
        constant_intervals=intervals(sign * costs - drawn[:, -1:]),
        costs=costs,
        sign=sign,
        pair_intervals=intervals(differences),
        pair_errors=errors,
        p_values=resampled_p_values(differences, sign * (scores[second] - scores[first]), errors),
        test=RESAMPLED,
    )


def resampled_p_values(differences: Floats, seen: Floats, errors: Floats) -> Floats:
    """Two-sided p-values (pairs,) that a difference is 0, from resampled ones (resamples, pairs).

    Twice the part of them on the other side of 0. Where none is, the normal distribution says how far below one
    resample it is: seen (pairs,) differences, errors (pairs,) their standard errors.
    """
    from scipy.special import ndtr

    count = len(differences)
    beyond = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    rough = np.minimum(2 * (beyond + 1) / (count + 1), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = 2 * ndtr(-np.abs(seen) / errors)
    return np.asarray(np.where((beyond == 0) & (errors > 0), np.minimum(rough, normal), rough))


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
    evidence: _Evidence,
    pairs: Sequence[tuple[int, int]],
) -> list[PairDifference]:
    scores, errors = evidence.scores, evidence.pair_errors
    corrected = holm(evidence.p_values.tolist())
    correlations = _correlations(np.abs(predictions - labels[:, None]))
    return [
        PairDifference(
            better=names[i],
            worse=names[j],
            difference=abs(float(scores[j] - scores[i])),
            interval=evidence.pair_intervals[at],
            p_value=float(evidence.p_values[at]),
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
    names: Sequence[str], evidence: _Evidence, pairs: Sequence[PairDifference], groups: Sequence[Sequence[int]]
) -> list[ComparedSubmission]:
    scores = evidence.scores
    places = resampled_ranks(evidence.costs)
    p_first = chance_of_place(*places, 1)
    low, high = rank_intervals(*places)
    to_best = {one.worse: one for one in pairs if one.better == names[0]}
    return [
        ComparedSubmission(
            name=name,
            rank=int((evidence.sign * scores < evidence.sign * scores[i]).sum()) + 1,
            score=float(scores[i]),
            interval=evidence.intervals[i],
            constant_difference=float(evidence.constant_differences[i]),
            constant_interval=evidence.constant_intervals[i],
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


def _finals(names: Sequence[str], evidence: _Evidence, pairs: Sequence[tuple[int, int]]) -> list[FinalPair]:
    """The pairs that most often contain the best submission; among equals, the pair with the better expected score."""
    costs = evidence.costs
    best = costs == costs.min(axis=1, keepdims=True)
    found = [
        FinalPair(
            names=[names[i], names[j]],
            p_best=float((best[:, i] | best[:, j]).mean()),
            expected_score=float(evidence.sign * np.minimum(costs[:, i], costs[:, j]).mean()),
        )
        for i, j in pairs
    ]
    return sorted(found, key=lambda pair: (-pair.p_best, evidence.sign * pair.expected_score))[:SHOWN_FINALS]
