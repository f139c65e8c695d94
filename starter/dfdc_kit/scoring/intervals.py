"""Intervals of mean losses by the bootstrap: whole clusters of rows are drawn, such as all videos of one original.

Videos of one original are alike, so that rows drawn one by one would make an interval too narrow. All columns share
their draws: the difference of two columns of `resampled_means` is a paired difference.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import DataError
from dfdc_kit.formatting import plural

LEVEL = 0.95
RESAMPLES = 2_000
SLOW_RESAMPLES = 200  # where each score is computed from tables, in milliseconds
CHUNK_DRAWS = 1 << 18  # draws at a time: 1 MiB of counts, which stays in the processor's cache
COLUMNS_PER_CHUNK = 8  # for each so many columns one such chunk more at a time, up to MOST_CHUNKS: products of matrices
MOST_CHUNKS = 4
FEW_CLUSTERS = 256  # fewer are drawn one by one
COUNT_STEPS = (94, 188, 237, 250, 255)  # of a byte: counts 0 to 5 in 94, 94, 49, 13, 5 and 1 of 256 cases
MOST_CLUSTERS = 8_000  # for one interval; more are merged at random, which hardly changes the variance
FEWEST_EFFECTIVE = 15  # effective clusters; from fewer an interval is too narrow: it covers 85 to 89 % of the time
COSTLIEST = 3  # clusters whose share of the loss is stated then
PAIRED_SD = 0.45  # of the difference of two good detectors' losses of one video (other detectors' public predictions)
POWER_FACTOR = 1.959964 + 0.841621  # normal quantiles: 5 % level, two-sided, and 80 % power
RANKABLE_DIFFERENCE = 0.1  # rows that cannot show even this difference rank nothing
FEWEST_TO_RANK = int((POWER_FACTOR * PAIRED_SD / RANKABLE_DIFFERENCE) ** 2) + 1  # 159 clusters

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Clusters = Sequence[object] | npt.NDArray[np.generic]


class Interval(msgspec.Struct, frozen=True):
    """A confidence interval: both ends, and its level (0 to 1)."""

    low: float
    high: float
    level: float = LEVEL

    def contains(self, value: float) -> bool:
        """Whether `value` is between the ends, or is one of them."""
        return self.low <= value <= self.high


def cluster_codes(clusters: Clusters | None, rows: int) -> Codes:
    """The cluster of each row as 0, 1, 2 ... (rows,); each row is one of its own where `clusters` is None."""
    if clusters is None:
        return np.arange(rows)
    if len(clusters) != rows:
        raise ValueError(f"{len(clusters)} clusters for {rows} rows")
    return np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1).astype(np.int64)


def cluster_sums(values: npt.ArrayLike, codes: Codes) -> tuple[Floats, Floats]:
    """The sums (n_clusters, n_columns) of values (n_rows, n_columns), and the number of rows (n_clusters,)."""
    columns = np.asarray(values, np.float64).reshape(len(codes), -1)
    sizes: Floats = np.bincount(codes).astype(np.float64)
    if len(sizes) == len(codes):  # each row is a cluster
        return np.asarray(columns[np.argsort(codes, kind="stable")]), sizes
    return np.array([np.bincount(codes, column) for column in columns.T], np.float64).T, sizes


def draws(clusters: int, resamples: int, seed: int, columns: int = 1) -> Iterator[npt.NDArray[np.float32]]:
    """How often each cluster is in a resample: counts (some resamples, clusters), in chunks of bounded memory.

    columns: of the table that the counts are multiplied with; it changes the size of the chunks, not the counts.
    Few clusters are drawn one by one, so that the counts of a resample add up to their number. For many, each count is
    a random byte's own, with mean, variance and skewness 1 as in drawing: as good for a mean, and ten times as fast.
    """
    random = np.random.Generator(np.random.SFC64(seed))
    size = CHUNK_DRAWS * min(1 + columns // COLUMNS_PER_CHUNK, MOST_CHUNKS)
    chunk = max(size // clusters // 8 * 8, 8)  # a multiple of 8: whole words of random bytes
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        if clusters < FEW_CLUSTERS:
            drawn = random.integers(0, clusters, (rows, clusters)) + (np.arange(rows) * clusters)[:, None]
            counts: npt.NDArray[np.uint8] = np.bincount(drawn.reshape(-1), minlength=rows * clusters).astype(np.uint8)
        else:
            words = random.integers(0, 1 << 64, -(-rows * clusters // 8), np.uint64).astype("<u8", copy=False)
            random_bytes = words.view(np.uint8)[: rows * clusters]
            counts = (random_bytes >= COUNT_STEPS[0]).view(np.uint8)
            for step in COUNT_STEPS[1:]:
                counts += (random_bytes >= step).view(np.uint8)
        yield counts.reshape(rows, clusters).astype(np.float32)


def resampled_means(
    values: npt.ArrayLike, clusters: Clusters | None = None, resamples: int = 1_000, seed: int = 0
) -> Floats:
    """The means (resamples, n_columns) of values (n_rows,) or (n_rows, n_columns) in resamples of whole clusters.

    clusters: (n_rows,), any values, equal for rows of one cluster; None: each row is one. The mean of a resample is the
    sum over its rows by their number, which varies with the clusters drawn. Equal columns have equal means. Raises
    ValueError without rows.
    """
    rows = len(np.asarray(values))
    if not rows:
        raise ValueError("no rows")
    sums, sizes = cluster_sums(values, cluster_codes(clusters, rows))
    found: dict[bytes, int] = {}
    columns = [found.setdefault(column.tobytes(), len(found)) for column in sums.T]
    different = [columns.index(i) for i in range(len(found))]
    means = sums[:, different].sum(axis=0) / sizes.sum()
    table = np.column_stack([_residuals(sums[:, different], sizes), sizes]).astype(np.float32)  # centred: exact enough
    drawn = np.concatenate([counts @ table for counts in draws(len(sizes), resamples, seed, len(means))]).astype(
        np.float64
    )
    return np.asarray(means + drawn[:, :-1] / drawn[:, -1:])[:, columns]


def resampled_scores(
    score: Callable[[Codes], Floats],
    labels: npt.NDArray[np.uint8],
    clusters: Clusters | None,
    resamples: int,
    seed: int = 0,
) -> Floats:
    """The scores (at most resamples, n) of any metric: `score` of the rows drawn, whole clusters at a time.

    For metrics that are no mean over rows; those that are have `resampled_means`, which is much faster. Draws that miss
    a class of `labels` (n_rows,) are left out. Raises DataError if no draw is left.
    """
    codes = cluster_codes(clusters, len(labels))
    classes = len(np.unique(labels))
    found = []
    for counts in itertools.chain.from_iterable(draws(int(codes.max()) + 1, resamples, seed)):
        rows = np.repeat(np.arange(len(codes)), counts[codes].astype(np.int64))
        if len(np.unique(labels[rows])) == classes:
            found.append(score(rows))
    if not found:
        raise DataError(
            f"{plural(int(codes.max()) + 1, 'original')}: whichever are drawn again, a class is missing.",
            hint="More videos are needed to say how sure a score is.",
        )
    return np.array(found)


def percentile_interval(means: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """The interval between the quantiles of resampled means (resamples,)."""
    low, high = np.quantile(np.asarray(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def standard_errors(values: npt.ArrayLike, clusters: Clusters | None = None) -> Floats:
    """The standard error of the mean of each column (n_columns,), robust to clusters; NaN for a single cluster."""
    rows = len(np.asarray(values))
    sums, sizes = cluster_sums(values, cluster_codes(clusters, rows))
    residuals = _residuals(sums, sizes)
    return _errors((residuals**2).sum(axis=0), len(sizes), sizes.sum())


def mean_intervals(
    values: npt.ArrayLike,
    clusters: Clusters | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval | None]:
    """The interval of the mean of each column of values (n_rows, n_columns); None where there is only one cluster.

    The studentised bootstrap: log losses are skewed, which plain quantiles of the means answer with too narrow an
    interval. An interval of a difference is that of the differences of the rows.
    """
    rows = len(np.asarray(values))
    sums, sizes = _merged(*cluster_sums(values, cluster_codes(clusters, rows)), seed)
    means = sums.sum(axis=0) / sizes.sum()
    if len(sizes) < 2:
        return [None] * len(means)
    low, high = _studentised(_residuals(sums, sizes), sizes, level, resamples, seed)
    return [Interval(float(a), float(b), level) for a, b in zip(means - high, means - low, strict=True)]


def mean_interval(
    values: npt.ArrayLike, clusters: Clusters | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """The 95 % interval of the mean of values (n_rows,); None where there is only one cluster."""
    return mean_intervals(values, clusters, resamples=resamples, seed=seed)[0]


def within_range(interval: Interval | None, values: Floats) -> Interval | None:
    """The interval, not below 0 where none of values (n_rows,) is: a mean log loss is never negative."""
    if interval is None or values.min() < 0:
        return interval
    return msgspec.structs.replace(interval, low=max(interval.low, 0.0))


def smallest_difference(standard_error: float) -> float:
    """The smallest true difference that is found with 80 % power at the 5 % level, from its standard error."""
    return POWER_FACTOR * standard_error


def effective_clusters(values: npt.ArrayLike, clusters: Clusters | None = None) -> float:
    """How many clusters of values (n_rows,) the standard error comes from: all of them alike, or a few very large ones.

    The squared sum of squared residuals by the sum of their fourth powers; infinite where no value varies.
    """
    sums, sizes = cluster_sums(values, cluster_codes(clusters, len(np.asarray(values))))
    squares = _residuals(sums, sizes)[:, 0] ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else float("inf")


def costliest_share(values: npt.ArrayLike, clusters: Clusters | None = None, count: int = COSTLIEST) -> float:
    """The share, 0 to 1, of the sum of values (n_rows,), 0 or more, that the `count` clusters with most of it have."""
    sums = np.sort(cluster_sums(values, cluster_codes(clusters, len(np.asarray(values))))[0][:, 0])
    return float(sums[-count:].sum() / sums.sum()) if sums.sum() else 0.0


def _merged(sums: Floats, sizes: Floats, seed: int) -> tuple[Floats, Floats]:
    """At most MOST_CLUSTERS clusters: more are merged into equally large groups, at random."""
    if len(sizes) <= MOST_CLUSTERS:
        return sums, sizes
    codes = np.random.default_rng(seed).permutation(len(sizes)) % MOST_CLUSTERS
    merged, _ = cluster_sums(np.column_stack([sums, sizes]), codes)
    return merged[:, :-1], merged[:, -1]


def _residuals(sums: Floats, sizes: Floats) -> Floats:
    """The sums (n_clusters, n_columns) less what each cluster would have with the mean of all."""
    return sums - np.outer(sizes, sums.sum(axis=0) / sizes.sum())


def _errors(squares: Floats, clusters: int, rows: npt.ArrayLike) -> Floats:
    """Standard errors of means from the sums of squared residuals of clusters."""
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.float64(clusters) / (clusters - 1)
        return np.asarray(np.sqrt(np.maximum(squares, 0) * factor) / rows)


def _studentised(residuals: Floats, sizes: Floats, level: float, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Quantiles (n_columns,) of mean / standard error in resamples, times the standard error of all rows."""
    columns, clusters = residuals.shape[1], len(sizes)
    table = np.column_stack([residuals, residuals**2, residuals * sizes[:, None], sizes, sizes**2]).astype(np.float32)
    chunks = draws(clusters, resamples, seed, table.shape[1])
    found = np.concatenate([counts @ table for counts in chunks]).astype(np.float64)
    sums, squares, mixed = (found[:, columns * i : columns * (i + 1)] for i in range(3))
    rows, rows_squared = found[:, -2:-1], found[:, -1:]
    means = sums / rows
    errors = _errors(squares - 2 * means * mixed + means**2 * rows_squared, clusters, rows)
    whole = _errors((residuals**2).sum(axis=0), clusters, sizes.sum())
    # a resample of equal rows has no error of its own; with few clusters that happens
    floor = whole / 10
    ratios = means / np.where(errors > floor, errors, np.where(whole > 0, floor, 1.0))
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low * whole, high * whole


# ---------------------------------------------------------------------------------------------------------------- ranks

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
