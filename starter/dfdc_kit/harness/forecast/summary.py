"""The forecast of a run, for the report and for a person: public and private test, here and on the hosted machine."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np

from dfdc_kit.formatting import format_time, plural
from dfdc_kit.harness.forecast import measure
from dfdc_kit.harness.forecast.calibration import Calibration, constants
from dfdc_kit.harness.forecast.hosted import Ratio, Work, decoding_s, project_hosted, time_ratio
from dfdc_kit.harness.forecast.projection import (
    ENOUGH,
    LEVEL,
    SHARE,
    Blocks,
    no_firmer_than,
    per_video,
    project,
    slope_interval,
    steady_low,
    verdict,
)
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import (
    MemoryGrowth,
    Noise,
    Outlook,
    TimeForecast,
    Timings,
    VideoRead,
)
from dfdc_kit.report.summary import noise_warning

STOP_LEVEL = 0.99  # stricter than a report: a run is looked at many times
STOP_AFTER, LOOK_AGAIN = 30, 1.2  # completions before the first look; then at each growth by this factor


def summarise(
    reads: Sequence[VideoRead],
    wall_time_s: float,
    rows: int,
    profile: Profile,
    *,
    profile_name: str,
    videos: Mapping[str, int],
    cpu_time_s: float | None,
    noise: Noise,
    gpu_declared: bool = False,
    leaking: bool = False,
    local: Calibration | None = None,
    hosted: Calibration | None = None,
) -> TimeForecast | None:
    """Whether the hidden tests finish in time; None where the profile has no time limit.

    `videos`: name of a hidden test -> how many videos it holds. `leaking`: whether memory grows beyond doubt.
    `local`, `hosted`: the calibrations of this machine and the hosted one.
    """
    limit_s = profile.limits.wall_time_s
    if limit_s is None:
        return None
    known = constants()
    timings = per_video(reads, wall_time_s, rows)
    cores = measure.usable_cores()
    busy = None if cpu_time_s is None or wall_time_s <= 0 else float(cpu_time_s / wall_time_s)
    work = Work(busy_cores=busy, cores=cores, gpu_declared=gpu_declared, gpu=measure.gpu_name())
    ratio = time_ratio(work, profile.hardware, local, hosted, known)
    decoding = []
    if ratio.seconds is None:
        times = [decoding_s(n, profile.hardware.cpu_cores or cores, local, hosted, known) for n in videos.values()]
        decoding = [time for time in times if time is not None]
    costs = timings.costs_s if timings.basis == "reads" else []
    outlooks = [_outlook(name, n, timings, limit_s, ratio, noise, leaking) for name, n in videos.items()]
    return TimeForecast(
        limit_s=limit_s,
        profile=profile_name,
        cost_s=float(np.mean(costs)) if costs else None,
        cost_spread_s=(float(np.quantile(costs, 0.05)), float(np.quantile(costs, 0.95))) if costs else None,
        startup_s=timings.startup_s,
        finish_s=timings.finish_s,
        videos_measured=timings.completed,
        busy_cores=busy,
        cores=cores,
        outlooks=outlooks,
        hosted_ratio=ratio.seconds,
        hosted_refused=ratio.refused,
        hosted_decoding_s=decoding,
        constants=ratio.constants,
        cautions=list(_cautions(timings, outlooks, noise, leaking)),
    )


class Forecaster:
    """Follows a run as it goes, and says when it can no longer end in time. May be fed and asked by two threads.

    `videos`: how many the hidden test holds; `limit_s`: the time it has; `noise()`: how noisy the machine is.
    """

    def __init__(self, videos: int, limit_s: float, noise: Callable[[], Noise]) -> None:
        self._videos, self._limit_s, self._noise = videos, limit_s, noise
        self._closed: dict[str, float] = {}
        self._next_look = STOP_AFTER
        self.reason = ""
        self._lock = Lock()

    def completed(self, name: str, at_s: float) -> None:
        """Video `name` was closed, `at_s` seconds after the start. The last close of a video counts."""
        with self._lock:
            self._closed[name] = at_s

    def should_stop(self) -> bool:
        """Whether it is certain enough that the run cannot end in time; `reason` says why. Cheap to call often."""
        with self._lock:
            if self.reason or len(self._closed) < self._next_look:
                return bool(self.reason)
            closed = dict(self._closed)
            self._next_look = int(len(closed) * LOOK_AGAIN) + 1
        reads = [VideoRead(name=name, opened_s=at, closed_s=at) for name, at in closed.items()]
        timings = per_video(reads, max(closed.values()), len(reads))
        low_s = steady_low(timings, self._videos, STOP_LEVEL) / self._noise().speedup
        if low_s > self._limit_s:
            self.reason = (
                f"After {len(closed)} videos it is clear that {self._videos:,} take at least {format_time(low_s)} "
                f"here; the limit is {format_time(self._limit_s)}."
            )
        return bool(self.reason)


def _outlook(
    name: str, videos: int, timings: Timings, limit_s: float, ratio: Ratio, noise: Noise, leaking: bool
) -> Outlook:
    here = no_firmer_than(noise, project(timings, videos, leaking=leaking))
    hosted = None if ratio.seconds is None else project_hosted(here, ratio.seconds)
    return Outlook(
        name=name,
        videos=videos,
        local=here,
        local_verdict=verdict(here, limit_s),
        hosted=hosted,
        hosted_verdict="cannot tell" if hosted is None else verdict(hosted, limit_s),
    )


def _cautions(timings: Timings, outlooks: Sequence[Outlook], noise: Noise, leaking: bool) -> Iterator[str]:
    if timings.basis == "no reads":
        yield "No video was seen being read, so the range goes from 'all of it was start-up' to 'none of it was'."
    elif timings.basis == "too few reads":
        yield f"Only {plural(timings.completed, 'finished video')}: no upper bound. {ENOUGH} are better."
    elif few := [outlook for outlook in outlooks if timings.completed < SHARE * outlook.videos]:
        wanted = " or ".join(f"{SHARE * outlook.videos:.0f} ({outlook.name})" for outlook in few)
        yield (
            f"{timings.completed} videos cannot show a later slow-down or rare slow videos, so the upper end is "
            f"raised, at most to twice as much; measure {wanted}."
        )
    if timings.backlog_s:
        yield (
            f"{format_time(timings.backlog_s)} passed after the last video was closed; the lower end counts them "
            "once, the upper end as work on every video."
        )
    if leaking:
        yield "Memory grows with every video, so the upper end allows for a slow-down."
    for trend in sorted({outlook.local.trend for outlook in outlooks} - {"none"}):
        yield f"The cost of a video is {trend} during the run."
    if timings.warm_up_videos:
        yield f"{plural(timings.warm_up_videos, 'slow video')} at the beginning counted once, as warm-up."
    if timings.unfinished:
        yield f"{plural(timings.unfinished, 'video')} still open at the end."
    if text := noise_warning(noise):
        yield f"{text} The ranges allow for that."


FEWEST_SAMPLES = 20  # samples in the later half of a run


def memory_growth(samples: Sequence[tuple[float, int]], reads: Sequence[VideoRead]) -> MemoryGrowth | None:
    """Growth of memory by video, over the later half of the videos, when caches and models are loaded.

    `samples`: (seconds after the start, bytes of the process tree), in order of time, on the clock of `reads`. None if
    fewer than `FEWEST_SAMPLES` samples lie there, or fewer than 4 videos. Neighbouring samples resemble each other, so
    the interval comes from blocks of them.
    """
    closed = sorted(read.closed_s for read in reads if read.closed_s is not None)
    done = [(bisect_right(closed, at), size) for at, size in samples if closed and at <= closed[-1]]
    later = [(count, size) for count, size in done if 2 * count >= len(closed)]
    if len(later) < FEWEST_SAMPLES or len(closed) < 4:
        return None
    counts, sizes = np.array(later, dtype=np.float64).T  # (n,) each
    blocks = Blocks(sizes)
    places = Blocks(counts, blocks.length).means  # (k,) videos done
    if np.ptp(places) == 0:
        return None
    slope, low, high = slope_interval(places, blocks.means, LEVEL)
    return MemoryGrowth(videos=len(closed), last_bytes=later[-1][1], slope_bytes=slope, low_bytes=low, high_bytes=high)
