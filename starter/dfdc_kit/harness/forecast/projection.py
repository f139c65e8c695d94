"""From when each video was read in one run to the wall time over many more videos of the same kind.

The run so far counts as it is; only the missing videos are estimated: T(N) = T(n) + (N - n) * cost.
Start-up, warm-up and finish are in T(n) and need no model. docs/explanation/projection.md explains the method.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfdc_kit.report.run_report import FitVerdict, Noise, Projection, Timings, Trend, VideoRead

Array = NDArray[np.float64]

LEVEL = 0.90
MIN_COMPLETED = 8  # with fewer completions there is no upper bound
ENOUGH = 50  # with fewer completions the projection is rough
ROUGH_FACTOR = 4.0  # a rough projection may be off by this much: it decides only what is far from the limit
ROUGH = 16  # with fewer completions, by more
MAX_DOUBT = 2.0  # how far an unproven slow-down may raise the upper end
SHARE = 0.05
SINGLE = 24  # with fewer costs, a block is one video
DRAWS = 1000
SEED = 20191211
SURE, SUSPICIOUS = 0.0005, 0.15  # one-sided: a slow-down is carried on, or only raises the upper end
MIN_GROWTH = 0.10  # of the cost over the run: less is not called growth
BACKLOG_SHARE = 0.10  # of the reading time: a longer finish counts as work on the videos
MIN_TAIL_INDEX = 1.2  # a Pareto tail with an index below 1 has no mean
LEAST_QUANTILE = 0.10  # of the costs: no mean of future costs is below it
SAME_SIZE = 0.05  # standard deviation over mean, below which videos count as equally large
SAME_LOAD = 0.10  # the same, of blocks of the load
LOAD_PARTS = 12  # a load that comes and goes leaves so few independent parts of a run
SIZE_BINS = 8
SKEWED = 0.9  # quantile of the bootstrap over Student's, below which the costs have a long tail
LOW_MARGIN = 1.2  # for the low end without such a tail: blocks of a changing load are not quite independent


def per_video(
    reads: Sequence[VideoRead],
    wall_time_s: float,
    rows: int,
    *,
    sizes: Mapping[str, float] | None = None,
    noise: Noise | None = None,
) -> Timings:
    """Split a run over `rows` videos into start-up, cost per video, and finish.

    `reads` may overlap and be in any order; a video without `closed_s` was not completed. `sizes`: frames times pixels
    by name of video. `noise`: for the load of the machine while each video was processed.
    """
    ordered = sorted((read for read in reads if read.closed_s is not None), key=lambda read: read.closed_s or 0.0)
    closed = np.array([read.closed_s for read in ordered], dtype=np.float64)  # (completed,)
    gaps = np.maximum(np.diff(closed), 0.0)  # (completed - 1,)
    known = sizes or {}
    found = np.array([known.get(read.name, 0.0) for read in ordered[1:]])  # (completed - 1,)
    if not found.size or found.min() <= 0:
        found = np.zeros(0)
    warm = _warm_up(gaps, found)
    costs = gaps[warm:]  # (n,)
    typical = float(np.median(costs)) if costs.size else 0.0
    excess = float(gaps[:warm].sum()) - warm * typical
    finish = max(0.0, wall_time_s - float(closed[-1])) if closed.size else 0.0
    return Timings(
        rows=rows,
        completed=closed.size,
        unfinished=sum(read.closed_s is None for read in reads),
        readers=_readers(reads),
        wall_time_s=float(wall_time_s),
        startup_s=max(0.0, float(closed[0]) - typical) + excess if closed.size else float(wall_time_s),
        warm_up_videos=warm,
        finish_s=finish,
        backlog_s=_backlog(costs, finish),
        costs_s=costs.tolist(),
        sizes=found[warm:].tolist(),
        loads=_loads(closed[warm:], noise),
        basis="no reads" if not reads else "reads" if closed.size >= MIN_COMPLETED else "too few reads",
    )


def project(
    timings: Timings,
    videos: int,
    level: float = LEVEL,
    *,
    leaking: bool = False,
    speedup: float = 1.0,
    slowdown: float = 1.0,
) -> Projection:
    """The wall time of the same program over `videos` videos like those of the run, with a `level` interval.

    With fewer than MIN_COMPLETED completions there is no upper bound; with fewer than ENOUGH the range is ROUGH_FACTOR
    each way, more below ROUGH. Without reads it goes from "all was start-up" to "nothing was". `leaking`: memory grows,
    so the upper end allows for a slow-down. `speedup`, `slowdown`: how much faster or slower the missing videos may be
    because the machine was disturbed; 1 or more. The same input gives the same figures.
    """
    wall, done = timings.wall_time_s, timings.completed
    if timings.basis == "no reads":
        total = wall * videos / max(timings.rows, 1)
        low, high = sorted((wall, total))
        return Projection(videos=videos, low_s=low, median_s=(low + high) / 2, high_s=high)
    costs = np.array(timings.costs_s)  # (n,)
    more = videos - done
    floor = wall + max(more, 0) * _least_cost(costs) / speedup
    if timings.basis == "too few reads" or costs.size < MIN_COMPLETED // 2:
        median = max(0.0, wall + more * (float(costs.mean()) if costs.size else wall / max(done, 1)))
        return Projection(videos=videos, low_s=min(floor, median), median_s=median, high_s=None)
    if more <= 0:  # fewer videos than measured: nothing to extrapolate
        value = max(wall + float(costs.mean()) * more, timings.startup_s)
        return Projection(videos=videos, low_s=value, median_s=value, high_s=value)
    backlog = timings.backlog_s / done  # work done once at best, work on every video at worst
    if costs.size < ENOUGH - 1:
        median = wall + more * (float(costs.mean()) + backlog)
        factor = ROUGH_FACTOR * max(1.0, ROUGH / done)
        low = min(max(floor, median / factor), median)
        return Projection(videos=videos, low_s=low, median_s=median, high_s=median * factor)
    (low, median, high), trend = _future_cost(timings, more, level, leaking=leaking)
    return Projection(
        videos=videos,
        low_s=min(max(wall + more * low / speedup, floor), wall + more * median),
        median_s=wall + more * (median + backlog),
        high_s=wall + more * (max(high, median) + backlog) * slowdown,
        trend=trend,
    )


def verdict(projection: Projection, limit_s: float, size_ratio: float = 1.0) -> FitVerdict:
    """Says "fits" only if the complete range is within the limit, "does not fit" only if none of it is.

    `size_ratio`: size of the hidden test's videos over that of those measured; they may cost that much more or less.
    """
    if projection.high_s is not None and projection.high_s * max(1.0, size_ratio) <= limit_s:
        return "fits"
    return "does not fit" if projection.low_s * min(1.0, size_ratio) > limit_s else "cannot tell"


def least_time(timings: Timings, videos: int, level: float, *, size_ratio: float = 1.0, speedup: float = 1.0) -> float:
    """A lower bound of the total time in seconds that assumes no growth: what ending a run early may be based on.

    `size_ratio`: mean size of all videos over that of those measured; smaller videos may cost that much less.
    """
    costs = _shuffle_sizes(np.array(timings.costs_s), np.array(timings.sizes), np.array(timings.loads))
    more = videos - timings.completed
    if timings.basis != "reads" or costs.size < MIN_COMPLETED or more <= 0:
        return timings.wall_time_s
    late = costs[costs.size // 2 :]  # a program may become faster: the later half counts, too
    lows = [_mean_interval(Blocks(part), more, level, slope=False)[0] for part in (costs, late)]
    return timings.wall_time_s + more * max(min(lows), 0.0) * min(1.0, size_ratio) / speedup


class Blocks:
    """Costs in blocks of neighbours, so that serial correlation stays inside a block.

    `costs` (n,) seconds; `means` (k,) seconds a video; `places` (k,) the middle of each block, in videos.
    """

    def __init__(self, costs: Array, length: int | None = None) -> None:
        self.costs = costs
        self.length = length or (1 if costs.size < SINGLE else round(costs.size ** (1 / 3)))
        self._cut(costs)
        while length is None and len(self.means) >= 2 * MIN_COMPLETED and self._neighbours_correlate():
            self.length *= 2
            self._cut(costs)

    def _cut(self, costs: Array) -> None:
        edges = np.linspace(0, costs.size, costs.size // self.length + 1).astype(int)
        self.means: Array = np.add.reduceat(costs, edges[:-1]) / np.diff(edges)
        self.places: Array = (edges[:-1] + edges[1:]) / 2

    def _neighbours_correlate(self) -> bool:
        """Whether neighbouring blocks are correlated apart from a straight trend."""
        centred = self.places - self.places.mean()
        rest = self.means - self.means.mean() - centred * float(centred @ self.means) / float(centred @ centred)
        return bool(rest[1:] @ rest[:-1] > rest @ rest / np.sqrt(rest.size))


def t_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def size_bins(sizes: Array) -> NDArray[np.int64]:
    """(n,) sizes -> (n,) bin of each, at most SIZE_BINS of about equal count; all 0 where the sizes hardly differ."""
    if sizes.size == 0 or sizes.std() <= SAME_SIZE * sizes.mean():
        return np.zeros(sizes.size, dtype=np.int64)
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, SIZE_BINS + 1)[1:-1]))
    return np.searchsorted(edges, sizes, side="left").astype(np.int64)


def _future_cost(
    timings: Timings, more: int, level: float, *, leaking: bool
) -> tuple[tuple[float, float, float], Trend]:
    """(low, median, high) of the mean cost of the next `more` videos, in seconds, and the trend behind it."""
    costs = np.array(timings.costs_s)
    costs = _shuffle_sizes(costs, np.array(timings.sizes), np.array(timings.loads))
    blocks = Blocks(costs)
    if len(timings.loads) == costs.size:
        load = Blocks(np.array(timings.loads))
        if load.means.std() > SAME_LOAD * load.means.mean():  # it comes and goes slowly: few independent parts
            parts = LOAD_PARTS // 3 if _is_sorted(np.array(timings.sizes)) else LOAD_PARTS
            blocks = Blocks(costs, max(load.length, blocks.length, costs.size // parts))
    flat = _mean_interval(blocks, more, level, slope=False)
    t, growth, freedom = _trend(timings, blocks.length)
    if t <= -t_quantile(1 - SUSPICIOUS, freedom):  # a fall continues for as many videos again, not longer
        late = _mean_interval(Blocks(costs[costs.size // 2 :]), more, level, slope=False)
        if t <= -t_quantile(1 - SURE, freedom):
            return (min(late[0], flat[1]), late[1], max(flat[2], late[2])), "falling"
        return (min(flat[0], late[0]), flat[1], flat[2]), "possibly falling"
    suspicious = t >= t_quantile(1 - SUSPICIOUS, freedom)
    if not suspicious and not leaking:
        return flat, "none"
    steep = _mean_interval(blocks, more, level, slope=True)
    if t >= t_quantile(1 - SURE, freedom) and growth >= MIN_GROWTH and _grows_in_both_halves(timings, blocks.length):
        late = _mean_interval(Blocks(costs[costs.size // 2 :]), more, level, slope=False)
        return (max(flat[0], late[0]), max(steep[1], late[1]), max(steep[2], late[2])), "growing"
    high = max(flat[2], steep[2])
    return (flat[0], flat[1], high if leaking else min(high, MAX_DOUBT * flat[2])), "possibly growing"


def _shuffle_sizes(costs: Array, sizes: Array, loads: Array) -> Array:
    """The costs with their size-dependent part in random order: the hidden test's videos do not come sorted."""
    if sizes.size != costs.size or not sizes.size:
        return costs
    by_size = _cost_by_size(costs, sizes, loads)
    shuffled: Array = costs - by_size + np.random.default_rng(SEED).permutation(by_size)
    return shuffled


def _is_sorted(sizes: Array) -> bool:
    """Whether sizes (n,) rise or fall with their order so far that size and load can hardly be told apart."""
    return sizes.size > 2 and sizes.std() > 0 and abs(np.corrcoef(sizes, np.arange(sizes.size))[0, 1]) > 0.5


def _cost_by_size(costs: Array, sizes: Array, loads: Array) -> Array:
    """(n,) the cost of each video as far as a straight line over size explains it; never decreasing with size.

    Where the load is known, the line is fitted beside it: the load may have come while the large videos were read.
    """
    if sizes.std() <= SAME_SIZE * sizes.mean():
        return np.full(costs.size, costs.mean())
    columns = [np.ones(costs.size), sizes / sizes.mean()]
    if loads.size == costs.size:
        columns.append(loads)
    slope = float(np.linalg.lstsq(np.stack(columns, axis=1), costs, rcond=None)[0][1])
    line: Array = costs.mean() + max(slope, 0.0) * (sizes / sizes.mean() - 1)
    return line


def _trend(timings: Timings, length: int) -> tuple[float, float, int]:
    """Student's t of the slope of cost over order, the relative growth over the run, and the degrees of freedom.

    The size of the videos and the load of the machine are regressors beside the order: what they explain is no trend.
    """
    costs = np.array(timings.costs_s)
    columns = [np.arange(costs.size, dtype=np.float64)]
    if len(timings.sizes) == costs.size:
        bins = size_bins(np.array(timings.sizes))
        columns += [(bins == number).astype(np.float64) for number in np.unique(bins)[1:]]
    if len(timings.loads) == costs.size:
        columns.append(np.array(timings.loads))
    ys = Blocks(costs, length).means  # (k,)
    others = [Blocks(column, length).means for column in columns]
    xs = np.stack([np.ones_like(ys), *others[1:]], axis=1)  # (k, 1 + covariates)
    free = int(ys.size - np.linalg.matrix_rank(xs) - 1)
    if free < 3 or float(np.ptp(ys)) <= 1e-9 * float(np.abs(ys).max()):
        return 0.0, 0.0, max(free, 1)
    order = others[0] - xs @ np.linalg.lstsq(xs, others[0], rcond=None)[0]  # what only the order explains
    spread = float(order @ order)
    if spread <= 0.1 * float(((others[0] - others[0].mean()) ** 2).sum()):  # the clips are sorted: no way to tell
        return 0.0, 0.0, free
    slope = float(order @ ys) / spread
    rest = ys - xs @ np.linalg.lstsq(xs, ys, rcond=None)[0] - slope * order
    error = float(np.sqrt(rest @ rest / free / spread))
    return slope / max(error, 1e-9 * abs(slope), 1e-300), slope * costs.size / max(float(costs.mean()), 1e-300), free


def _grows_in_both_halves(timings: Timings, length: int) -> bool:
    """A load that comes once raises the cost at one point of the run; a slow-down raises it all the time."""
    half = len(timings.costs_s) // 2
    rises = []
    for part in (slice(half), slice(half, None)):
        costs = np.array(timings.costs_s[part])
        blocks = Blocks(_flat_sizes(costs, np.array(timings.sizes[part])), max(1, length // 2))
        centred = blocks.places - blocks.places.mean()
        rises.append(float(centred @ blocks.means))
    return min(rises) > 0


def _flat_sizes(costs: Array, sizes: Array) -> Array:
    """The costs without their size-dependent part."""
    if sizes.size != costs.size:
        return costs
    bins = size_bins(sizes)
    return costs - (np.bincount(bins, costs) / np.maximum(np.bincount(bins), 1))[bins]


def _mean_interval(blocks: Blocks, more: int, level: float, *, slope: bool) -> tuple[float, float, float]:
    """(low, median, high) of the mean cost of the next `more` videos: a studentised bootstrap over blocks.

    Its upper end also allows for videos rarer than any that was measured (`_unseen`).
    """
    design = np.stack([np.ones_like(blocks.places), blocks.places - blocks.places.mean()], axis=1)  # (k, 2)
    design = design[:, : 2 if slope else 1]
    ahead = np.array([1.0, blocks.costs.size + more / 2 - blocks.places.mean()])[: design.shape[1]]
    k, free = len(blocks.means), len(blocks.means) - design.shape[1]
    weights = ahead @ np.linalg.pinv(design)  # (k,): the prediction is weights @ means
    hat = design @ np.linalg.pinv(design)  # (k, k)
    fitted = hat @ blocks.means
    rest = blocks.means - fitted
    middle = float(weights @ blocks.means)
    noise = blocks.length / more  # variance of the mean of the future, in units of a block's
    unit = float(np.sqrt(weights @ weights + noise))
    sigma = float(np.sqrt(rest @ rest / free))
    rng = np.random.default_rng(SEED)
    drawn = (rest * np.sqrt(k / free))[rng.integers(0, k, (DRAWS, k))]  # (draws, k)
    left = drawn - drawn @ hat
    sigmas = np.maximum(np.sqrt((left**2).sum(axis=1) / free), sigma / 4)  # a draw may miss the only outlier
    missed = drawn @ weights + sigma * np.sqrt(noise) * rng.standard_normal(DRAWS)
    scaled = np.divide(missed, sigmas * unit, out=np.zeros(DRAWS), where=sigmas > 0)
    below, above = np.quantile(scaled, [(1 - level) / 2, (1 + level) / 2])
    student = t_quantile((1 + level) / 2, free)
    skewed = above < SKEWED * student and middle > 0
    reach = max(float(above), student * (SKEWED if skewed else LOW_MARGIN)) * sigma * unit
    low = middle * float(np.exp(-reach / middle)) if skewed else middle - reach
    high = middle - min(float(below), -student) * sigma * unit
    return low, middle, high + _unseen(blocks.means - fitted + blocks.means.mean())


def _unseen(costs: Array) -> float:
    """What videos rarer than one in k add to the mean cost, in seconds, if the tail of (k,) costs goes on as a Pareto.

    Hill's estimate of the tail from the largest sqrt(k) costs.
    """
    ordered = np.sort(np.maximum(costs, 0.0))[::-1]
    top = min(max(4, round(float(np.sqrt(ordered.size)))), ordered.size - 1)
    if ordered[top] <= 0:
        heaviness = 1 / MIN_TAIL_INDEX
    else:
        heaviness = min(float(np.log(ordered[:top] / ordered[top]).mean()), 1 / MIN_TAIL_INDEX)
    beyond = float(ordered[0]) / (1 - heaviness)  # mean of what is above the largest measured cost
    return float(max(0.0, beyond - ordered.mean()) / ordered.size)


def _least_cost(costs: Array) -> float:
    return float(np.quantile(costs, LEAST_QUANTILE)) if costs.size else 0.0


def _loads(closed: Array, noise: Noise | None) -> list[float]:
    """The mean load between neighbouring completions (m,), relative to the median: (m - 1,); empty if not measured."""
    if noise is None or len(noise.load_timeline) < 2 or closed.size < 2:
        return []
    at, load = np.array(noise.load_timeline, dtype=np.float64).T  # (points,) each
    middle = (closed[1:] + closed[:-1]) / 2
    return [float(value) for value in np.interp(middle, at, load + 1) / float(np.median(load + 1))]  # + 1: never 0


def _warm_up(gaps: Array, sizes: Array) -> int:
    """How many of the first gaps (n,) are warm-up (compiling, caches).

    The first ones above everything in the later half and well above its median, and as many again. Costs of videos
    larger than those of the later half are scaled down: large videos first are no warm-up.
    """
    if gaps.size < MIN_COMPLETED:
        return 0
    if sizes.size:
        gaps = gaps * np.minimum(1.0, np.median(sizes[sizes.size // 2 :]) / sizes)
    later = gaps[gaps.size // 2 :]
    ordinary = gaps[: gaps.size // 4] <= max(later.max(), 1.5 * np.median(later))
    return 2 * int(ordinary.argmax()) if ordinary.any() else ordinary.size


def _backlog(costs: Array, finish_s: float) -> float:
    """The part of the finish beyond one largest cost, if it is long compared with the reading; else 0."""
    if not costs.size:
        return 0.0
    beyond = finish_s - float(costs.max())
    return beyond if beyond > max(1.0, BACKLOG_SHARE * float(costs.sum())) else 0.0


def _readers(reads: Sequence[VideoRead]) -> int:
    """The largest number of videos open at once; one that closes when another opens does not overlap."""
    events: list[tuple[float, int]] = []
    for read in reads:
        end = np.inf if read.closed_s is None else read.closed_s
        events += [(read.opened_s, 1), (end, -1)]
    steps: Any = np.cumsum([step for _, step in sorted(events)])
    return int(steps.max()) if len(steps) else 0
