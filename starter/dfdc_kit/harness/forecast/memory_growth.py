"""Whether memory grows with every video: judged on samples of the process tree, like videos compared with like.

Warm-up, caches that fill, a model that is loaded late and the size of the pictures are not growth: growth goes on, at
about the same rate, through the later part of a run, whatever the size of the videos.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dfdc_kit.harness.forecast.projection import LEVEL, size_bins, t_quantile
from dfdc_kit.report.run_report import MemoryGrowth, VideoRead

Array = NDArray[np.float64]

START = 0.4  # of the videos: what was done before is warm-up
FEWEST_VIDEOS = 24  # completed
PARTS = 6  # of the later part of the run
FEWEST_SAMPLES = 2  # in each part
STEADY = 0.35  # of the growth of the first parts, that of the last ones at least: the filling of a cache slows down
STEADY_AFTER_JUMP = 0.6  # the same, where the largest step is left out: that may be the beginning of the filling
DIP = 0.5  # of the mean growth, that one part may lie below the one before
PHASES = 8  # of the processing of a video: early on, fewer of its pictures are in memory


def memory_growth(
    samples: Sequence[tuple[float, int]], reads: Sequence[VideoRead], sizes: Mapping[str, float] | None = None
) -> MemoryGrowth | None:
    """Growth of memory by video over the later part of a run, in bytes.

    `samples`: (seconds after the start, bytes of the process tree) in order of time, on the clock of `reads`; `sizes`:
    frames times pixels by name of video. None where the run is too short: fewer than FEWEST_VIDEOS completed videos,
    or fewer than FEWEST_SAMPLES samples in each of PARTS parts.
    """
    closed = sorted(read.closed_s for read in reads if read.closed_s is not None)
    if len(closed) < FEWEST_VIDEOS:
        return None
    opened = sorted(reads, key=lambda read: read.opened_s)
    starts = [read.opened_s for read in opened]
    first = int(len(closed) * START)
    ends = [*starts[1:], closed[-1]]
    rows = []
    for at_s, size_bytes in samples:
        done = bisect_right(closed, at_s)
        if first <= done < len(closed) and (current := bisect_right(starts, at_s) - 1) >= 0:
            phase = (at_s - starts[current]) / max(ends[current] - starts[current], 1e-9)
            rows.append((done, (sizes or {}).get(opened[current].name, 0.0), phase, size_bytes))
    if not rows:
        return None
    done_at, pictures, phases, memory = np.array(rows, dtype=np.float64).T  # (n,) each
    parts = ((done_at - first) * PARTS // (len(closed) - first)).astype(np.int64)
    if np.bincount(parts, minlength=PARTS).min() < FEWEST_SAMPLES:
        return None
    levels = _levels(parts, pictures, phases, memory)
    places = np.bincount(parts, done_at) / np.bincount(parts)  # (PARTS,) videos done
    slope, low, high = _slope(places, levels)
    rates = np.diff(levels) / np.diff(places)
    if not _is_steady(rates):
        jump = int(rates.argmax())  # a model loaded late, beside which memory may grow
        rest = np.delete(rates, jump)
        if _is_steady(rest, STEADY_AFTER_JUMP):
            levels[jump + 1 :] -= (rates[jump] - np.median(rest)) * (places[jump + 1] - places[jump])
            slope, low, high = _slope(places, levels, jumps=1)
        else:
            low = min(low, 0.0)
    return MemoryGrowth(
        videos=len(closed), last_bytes=int(memory[-1]), slope_bytes=slope, low_bytes=low, high_bytes=max(high, slope)
    )


def _levels(parts: NDArray[np.int64], sizes: Array, phases: Array, memory: Array) -> Array:
    """(PARTS,) the memory level of each part, by least squares: without what size and phase of its videos explain.

    `phases`: how much of the current video is done, 0 to 1. With few samples, the size alone is accounted for.
    """
    bins = size_bins(sizes)
    columns = [(parts == number).astype(np.float64) for number in range(PARTS)]
    columns += [(bins == number).astype(np.float64) for number in np.unique(bins)[1:]]
    if memory.size >= PHASES**2:
        phase = np.clip(phases * PHASES, 0, PHASES - 1).astype(np.int64)
        size = sizes / sizes.max() if sizes.max() > 0 else np.ones(sizes.size)
        columns += [(phase == number) * size for number in range(1, PHASES)]
    found: Array = np.linalg.lstsq(np.stack(columns, axis=1), memory, rcond=None)[0].astype(np.float64)
    return found[:PARTS]


def _slope(places: Array, levels: Array, jumps: int = 0) -> tuple[float, float, float]:
    """Slope of (k,) levels over (k,) places by least squares, and the ends of its interval.

    `jumps`: how many levels were fitted already, by taking a jump out.
    """
    free = levels.size - 2 - jumps
    centred = places - places.mean()
    spread = float(centred @ centred)
    slope = float(centred @ levels) / spread
    rest = levels - levels.mean() - slope * centred
    width = t_quantile((1 + LEVEL) / 2, free) * float(np.sqrt(rest @ rest / free / spread))
    return slope, slope - width, slope + width


def _is_steady(rates: Array, steady: float = STEADY) -> bool:
    """Whether the rates (k,) from part to part are about even: neither slowing down nor a single jump."""
    half = rates.size // 2
    early, late = float(rates[:half].mean()), float(rates[-half:].mean())
    return bool(rates.min() > -DIP * rates.mean() and late >= steady * early and rates.max() < 0.5 * rates.sum())
