"""Does it leak, and are the cores busy? From samples taken while a run goes on."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from dfdc_kit.amounts import counted
from dfdc_kit.harness.forecast.projection import LEVEL, Blocks, slope_interval
from dfdc_kit.report.forecast import MemoryGrowth
from dfdc_kit.report.run_report import VideoRead

AT_LEAST = 20  # samples in the later half of a run


def memory_growth(samples: Sequence[tuple[float, int]], reads: Sequence[VideoRead]) -> MemoryGrowth | None:
    """Growth of memory by video, over the later half of the videos, when caches and models are loaded.

    `samples`: (seconds after the start, bytes of the process tree), in order of time, on the clock of `reads`. None if
    fewer than `AT_LEAST` samples lie there, or fewer than 4 videos. Neighbouring samples resemble each other, so the
    interval comes from blocks of them.
    """
    closed = sorted(read.closed_s for read in reads if read.closed_s is not None)
    done = [(bisect_right(closed, at), size) for at, size in samples if closed and at <= closed[-1]]
    later = [(count, size) for count, size in done if 2 * count >= len(closed)]
    if len(later) < AT_LEAST or len(closed) < 4:
        return None
    counts, sizes = np.array(later, dtype=np.float64).T  # (n,) each
    blocks = Blocks(sizes)
    places = Blocks(counts, blocks.length).means  # (k,) videos done
    if np.ptp(places) == 0:
        return None
    slope, low, high = slope_interval(places, blocks.means, LEVEL)
    return MemoryGrowth(videos=len(closed), last_bytes=later[-1][1], slope_bytes=slope, low_bytes=low, high_bytes=high)


def passes_at(growth: MemoryGrowth, limit_bytes: int) -> tuple[int, int] | None:
    """The videos (earliest, latest) at which memory passes the limit if it grows on; None if it does not leak."""
    if not growth.leaks:
        return None
    room = max(0, limit_bytes - growth.last_bytes)
    return growth.videos + int(room / growth.high_bytes), growth.videos + int(room / growth.low_bytes)


def cores_line(busy_cores: float, cores: int) -> str:
    """How many cores were busy on average, in a sentence."""
    idle = cores - busy_cores
    told = f"{busy_cores:.1f} of {counted(cores, 'core')} busy"
    if cores > 1 and idle >= 0.7:
        return f"{told}: {'the second core was idle' if cores == 2 else f'{idle:.0f} were idle'}"
    return told
