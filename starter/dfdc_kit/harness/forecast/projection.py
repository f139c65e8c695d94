"""Will it finish in time? From when each video was read, to the wall time of a run over many more videos.

The run so far counts as it is; only the videos that were not there are estimated: T(N) = T(n) + (N - n) * cost.
Start-up, warm-up and finish are in T(n) and need no model. The method is told in docs/explanation/projection.md.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from dfdc_kit.report.run_report import FitVerdict, Noise, Projection, Timings, Trend, VideoRead

Array = NDArray[np.float64]

LEVEL = 0.90
AT_LEAST = 8  # completions; fewer give no upper bound
ENOUGH = 50  # completions; with fewer, a trend raises the upper end only
SHARE = 0.05  # of the videos: what the coverage is measured for
SINGLE = 24  # below it, a block is one video
DRAWS = 1000
SEED = 20191211
SURE, SUSPICIOUS = 0.005, 0.20  # one-sided: a trend is believed, or only widens the range
BACKLOG_SHARE = 0.10  # of the reading time: a longer finish is no mere finish
TAIL_FLOOR = 1.2  # smallest tail index believed: below 1 a mean does not exist


def per_video(reads: Sequence[VideoRead], wall_time_s: float, rows: int) -> Timings:
    """Take a run of `rows` videos apart into start-up, steady cost a video, and finish.

    `reads` may overlap and may stand in any order; a video without `closed_s` was not completed.
    """
    closed = np.sort([read.closed_s for read in reads if read.closed_s is not None]).astype(np.float64)  # (completed,)
    gaps = np.maximum(np.diff(closed), 0.0)  # (completed - 1,)
    warm = _warm_up(gaps)
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
        basis="no reads" if not reads else "reads" if closed.size >= AT_LEAST else "too few reads",
    )


def project(timings: Timings, videos: int, level: float = LEVEL, *, leaking: bool = False) -> Projection:
    """The wall time of the same program over `videos` videos on the same machine, with a `level` interval.

    No upper bound is given below `AT_LEAST` completions. Below `SHARE` of the videos, the upper end counts what is to
    come up to twice: a slow-down or a rare slow video may not have shown itself. Without any read, the range goes from
    "all of it was start-up" to "none of it was". With `leaking` (memory grows), the upper end allows for slowing down
    even where none is seen. The same input gives the same figures.
    """
    wall, done = timings.wall_time_s, timings.completed
    if timings.basis == "no reads":
        whole = wall * videos / max(timings.rows, 1)
        low, high = sorted((wall, whole))
        return Projection(videos=videos, low_s=low, median_s=(low + high) / 2, high_s=high)
    costs = np.array(timings.costs_s)  # (n,)
    more = videos - done
    if timings.basis == "too few reads" or costs.size < AT_LEAST // 2:
        median = max(0.0, wall + more * (float(costs.mean()) if costs.size else wall / max(done, 1)))
        return Projection(videos=videos, low_s=min(wall, median), median_s=median, high_s=None)
    if more <= 0:
        share = float(costs.mean()) * more  # fewer videos than measured: nothing to extrapolate
        value = max(wall + share, timings.startup_s)
        return Projection(videos=videos, low_s=value, median_s=value, high_s=value)
    (low, median, high), trend = _future_cost(costs, more, level, leaking=leaking)
    doubt = 1 + max(0.0, 1 - done / (SHARE * videos))
    behind = timings.backlog_s / done  # a fixed finish at best, work on every video at worst
    return Projection(
        videos=videos,
        low_s=wall + more * max(low, 0.0),
        median_s=wall + more * max(median + behind, 0.0),
        high_s=wall + more * max(high + behind, 0.0) * doubt,
        trend=trend,
    )


def verdict(projection: Projection, limit_s: float) -> FitVerdict:
    """Says "fits" only if the whole range is within the limit, "does not fit" only if none of it is."""
    if projection.high_s is not None and projection.high_s <= limit_s:
        return "fits"
    return "does not fit" if projection.low_s > limit_s else "cannot tell"


def no_firmer_than(noise: Noise, projection: Projection) -> Projection:
    """The range widened by how much faster an undisturbed machine might be, and how much slower this one may get."""
    high_s = None if projection.high_s is None else projection.high_s * noise.slowdown
    return structs.replace(projection, low_s=projection.low_s / noise.speedup, high_s=high_s)


def steady_low(timings: Timings, videos: int, level: float) -> float:
    """A lower bound for the whole that believes in no growth, in seconds: what stopping a run early may rest on."""
    costs = np.array(timings.costs_s)
    more = videos - timings.completed
    if timings.basis != "reads" or costs.size < AT_LEAST or more <= 0:
        return timings.wall_time_s
    (low, _, _), _ = _future_cost(costs, more, level)
    low = min(low, _mean_interval(Blocks(costs), more, level, slope=False)[0])
    return timings.wall_time_s + more * max(low, 0.0)


class Blocks:
    """Costs in blocks of neighbours, so that serial correlation stays inside a block.

    `means` (k,) seconds a video; `places` (k,) the middle of each block, counted in videos from the first cost.
    """

    def __init__(self, costs: Array, length: int | None = None) -> None:
        self.count = costs.size
        self.length = length or (1 if costs.size < SINGLE else round(costs.size ** (1 / 3)))
        self._cut(costs)
        while length is None and len(self.means) >= 2 * AT_LEAST and self._follow_each_other():
            self.length *= 2
            self._cut(costs)

    def _cut(self, costs: Array) -> None:
        edges = np.linspace(0, costs.size, costs.size // self.length + 1).astype(int)
        self.means: Array = np.add.reduceat(costs, edges[:-1]) / np.diff(edges)
        self.places: Array = (edges[:-1] + edges[1:]) / 2

    def _follow_each_other(self) -> bool:
        """Whether neighbouring blocks still resemble each other, a straight trend apart."""
        centred = self.places - self.places.mean()
        rest = self.means - self.means.mean() - centred * float(centred @ self.means) / float(centred @ centred)
        return bool(rest[1:] @ rest[:-1] > rest @ rest / np.sqrt(rest.size))


def slope_interval(places: Array, values: Array, level: float) -> tuple[float, float, float]:
    """Least squares: the slope of `values` (k,) over `places` (k,), and the ends of its t interval. Needs k >= 3."""
    centred = places - places.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread
    rest = values - values.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (values.size - 2) / spread))
    width = t_quantile((1 + level) / 2, values.size - 2) * error
    return slope, slope - width, slope + width


def t_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t, by Cornish and Fisher's expansion (within 2 % from 4 degrees of freedom on)."""
    z, v = NormalDist().inv_cdf(share), float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def _future_cost(
    costs: Array, more: int, level: float, *, leaking: bool = False
) -> tuple[tuple[float, float, float], Trend]:
    """(low, middle, high) of the mean cost of the next `more` videos, in seconds, and the trend behind it."""
    blocks = Blocks(costs)
    flat = _mean_interval(blocks, more, level, slope=False)
    rising = _direction(blocks)
    suspicious, sure = (t_quantile(1 - share, len(blocks.means) - 2) for share in (SUSPICIOUS, SURE))
    if rising <= -suspicious:  # a fall is carried on for as many videos again, never further
        falling = _mean_interval(blocks, 2 * costs.size, level, slope=True)[0]
        late = _mean_interval(Blocks(costs[costs.size // 2 :]), more, level, slope=False)
        if rising <= -sure:
            return (min(late[0], falling), late[1], max(flat[2], late[2])), "falling"
        return (min(flat[0], falling), flat[1], flat[2]), "possibly falling"
    if rising < suspicious and not leaking:
        return flat, "none"
    steep = _mean_interval(blocks, more, level, slope=True)
    if rising >= sure:
        low = steep[0] if costs.size >= ENOUGH else min(flat[0], steep[0])
        return (low, steep[1], steep[2]), "growing"
    return (flat[0], flat[1], max(flat[2], steep[2])), "possibly growing"


def _mean_interval(blocks: Blocks, more: int, level: float, *, slope: bool) -> tuple[float, float, float]:
    """(low, middle, high) of the mean cost of the next `more` videos: a studentised bootstrap over blocks.

    Its upper end also allows for videos rarer than any that was seen (`_unseen`).
    """
    design = np.stack([np.ones_like(blocks.places), blocks.places - blocks.places.mean()], axis=1)  # (k, 2)
    design = design[:, : 2 if slope else 1]
    ahead = np.array([1.0, blocks.count + more / 2 - blocks.places.mean()])[: design.shape[1]]
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
    sigmas = np.maximum(np.sqrt((left**2).sum(axis=1) / free), sigma / 4)  # a draw without the outlier knows too little
    missed = drawn @ weights + sigma * np.sqrt(noise) * rng.standard_normal(DRAWS)
    scaled = np.divide(missed, sigmas * unit, out=np.zeros(DRAWS), where=sigmas > 0)
    below, above = np.quantile(scaled, [(1 - level) / 2, (1 + level) / 2])
    student = t_quantile((1 + level) / 2, free)
    low = middle - max(float(above), student) * sigma * unit
    high = middle - min(float(below), -student) * sigma * unit
    return low, middle, high + _unseen(blocks.means - fitted + blocks.means.mean())


def _unseen(costs: Array) -> float:
    """What videos rarer than one in k may add to the mean cost, in seconds, if the tail goes on as it begins.

    Hill's estimate of a Pareto tail from the largest sqrt(k) of (k,) costs, one standard error to the heavy side.
    """
    ordered = np.sort(np.maximum(costs, 0.0))[::-1]
    top = min(max(4, round(float(np.sqrt(ordered.size)))), ordered.size - 1)
    if ordered[top] <= 0:
        heaviness = 1 / TAIL_FLOOR
    else:
        hill = float(np.log(ordered[:top] / ordered[top]).mean())
        heaviness = min(hill * (1 + 1 / np.sqrt(top)), 1 / TAIL_FLOOR)
    beyond = float(ordered[0]) / (1 - heaviness)  # mean of what lies above the largest seen
    return float(max(0.0, beyond - ordered.mean()) / ordered.size)


def _direction(blocks: Blocks) -> float:
    """Student's t of the slope of cost over order; 0 where the costs do not vary."""
    centred = blocks.places - blocks.places.mean()
    slope = float(centred @ blocks.means) / float(centred @ centred)
    rest = blocks.means - blocks.means.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (rest.size - 2) / (centred @ centred)))
    if float(np.ptp(blocks.means)) <= 1e-9 * float(np.abs(blocks.means).max()):
        return 0.0
    return slope / max(error, 1e-9 * abs(slope))


def _warm_up(gaps: Array) -> int:
    """How many of the first gaps (n,) are warm-up (compiling, caches): the run of them above everything in the later
    half and well above its middle, and as many again, on their way down.
    """
    if gaps.size < AT_LEAST:
        return 0
    later = gaps[gaps.size // 2 :]
    ordinary = gaps[: gaps.size // 4] <= max(later.max(), 1.5 * np.median(later))
    return 2 * int(ordinary.argmax()) if ordinary.any() else ordinary.size


def _backlog(costs: Array, finish_s: float) -> float:
    """The part of the finish beyond one largest cost, if it is long beside the reading: else 0."""
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
