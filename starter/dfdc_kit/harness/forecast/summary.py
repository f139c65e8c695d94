"""The forecast of a run, for the report and for a person: public and private test, here and on the hosted machine."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np

from dfdc_kit.formatting import format_time, plural
from dfdc_kit.harness.forecast import calibration
from dfdc_kit.harness.forecast.calibration import Calibration, constants
from dfdc_kit.harness.forecast.hosted import NOTEBOOK, Ratio, Work, decoding_s, project_hosted, time_ratio
from dfdc_kit.harness.forecast.projection import (
    AT_LEAST,
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
    Projection,
    TimeForecast,
    Timings,
    VideoRead,
    cautions,
)

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
    here: Calibration | None = None,
    there: Calibration | None = None,
) -> TimeForecast | None:
    """Will it finish in time? None where the profile has no time limit.

    `videos`: name of a hidden test -> how many videos it holds. `leaking`: whether memory grows beyond doubt.
    `here`, `there`: `calibration.kept_here()` and `kept_hosted()`.
    """
    limit_s = profile.limits.wall_time_s
    if limit_s is None:
        return None
    known = constants()
    timings = per_video(reads, wall_time_s, rows)
    cores = calibration.usable_cores()
    busy = None if cpu_time_s is None or wall_time_s <= 0 else float(cpu_time_s / wall_time_s)
    work = Work(busy_cores=busy, cores=cores, gpu_declared=gpu_declared, gpu=calibration.gpu_name())
    ratio = time_ratio(work, profile.hardware, here, there, known)
    decoding = []
    if ratio.seconds is None:
        times = [decoding_s(n, profile.hardware.cpu_cores or cores, here, there, known) for n in videos.values()]
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
        cautions=[*_cautions(timings, outlooks, leaking), *_noise_cautions(noise)],
    )


def lines(forecast: TimeForecast) -> list[str]:
    """The forecast in plain sentences, one a line."""
    told = [_cost_line(forecast), *(f"{name}, {said}" for name, said in outlook_lines(forecast))]
    if forecast.hosted_refused:
        told.append(f"on {forecast.profile}: cannot tell, because {forecast.hosted_refused}")
    for outlook, (least, most) in zip(forecast.outlooks, forecast.hosted_decoding_s, strict=False):
        videos = plural(outlook.videos, "video")
        told.append(f"decoding every frame of {videos} there, no model: {format_time(least)} to {format_time(most)}")
    told += [f"constant: {source}" for source in forecast.constants]
    if any("not measured" in source for source in forecast.constants):
        told.append(f"to narrow the range: dfdc calibrate here, {NOTEBOOK} there")
    return told + [f"caution: {caution}" for caution in forecast.cautions]


def outlook_lines(forecast: TimeForecast) -> Iterator[tuple[str, str]]:
    """The answers alone: name of a hidden test, and whether it would end in time, here and on the hosted machine."""
    limit = format_time(forecast.limit_s)
    for outlook in forecast.outlooks:
        videos = plural(outlook.videos, "video")
        here = f"{videos}, on this machine: {_range(outlook.local)}; limit {limit}: {outlook.local_verdict}"
        yield outlook.name, here
        if outlook.hosted is not None:
            yield outlook.name, f"{videos}, on {forecast.profile}: {_range(outlook.hosted)}: {outlook.hosted_verdict}"


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


def _cautions(timings: Timings, outlooks: Sequence[Outlook], leaking: bool) -> Iterator[str]:
    if timings.basis == "no reads":
        yield "no video was seen being read, so the range goes from 'all of it was start-up' to 'none of it was'"
    elif timings.basis == "too few reads":
        finished = plural(timings.completed, "finished video")
        yield f"no upper bound from {finished}; {AT_LEAST} are the least, {ENOUGH} are better"
    elif few := [outlook for outlook in outlooks if timings.completed < SHARE * outlook.videos]:
        wanted = " or ".join(f"{SHARE * outlook.videos:.0f} ({outlook.name})" for outlook in few)
        yield (
            f"{timings.completed} videos do not show whether it slows down later, or meets a rare slow video, so the "
            f"high end is raised, at most to twice as much: measure {wanted}"
        )
    if timings.backlog_s:
        yield (
            f"{timings.backlog_s:.1f} s passed after the last video was closed; the low end takes them as work done "
            "once, the high end as work on every video"
        )
    if leaking:
        yield "memory grows with every video, so the high end allows for slowing down"
    for trend in sorted({outlook.local.trend for outlook in outlooks} - {"none"}):
        yield f"the cost of a video is {trend} in the course of the run"
    if timings.warm_up_videos:
        yield f"{plural(timings.warm_up_videos, 'slow video')} at the beginning: the warm-up, which counts once"
    if timings.unfinished:
        yield f"{plural(timings.unfinished, 'video')} still open at the end"


def _noise_cautions(noise: Noise) -> Iterator[str]:
    if said := " and ".join(cautions(noise)):
        yield f"{said}, so each range is widened by as much"


def _cost_line(forecast: TimeForecast) -> str:
    busy = forecast.busy_cores
    cores = "CPU time not known" if busy is None else cores_line(busy, forecast.cores)
    if forecast.cost_s is None or forecast.cost_spread_s is None:
        return f"{plural(forecast.videos_measured, 'video')} seen from open to close; {cores}"
    least, most = forecast.cost_spread_s
    return (
        f"{forecast.cost_s:.3g} s a video (90 % of them {least:.3g} to {most:.3g} s) after {forecast.startup_s:.3g} s "
        f"of start-up, over {plural(forecast.videos_measured, 'video')}; {cores}"
    )


def _range(projection: Projection) -> str:
    if projection.high_s is None:
        return f"about {format_time(projection.median_s)}, from too few videos to say how sure"
    low, high = format_time(projection.low_s), format_time(projection.high_s)
    return low if low == high else f"{low} to {high}"


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


def passes_at(growth: MemoryGrowth, limit_bytes: int) -> tuple[int, int] | None:
    """The videos (earliest, latest) at which memory passes the limit if it grows on; None if it does not leak."""
    if not growth.leaks:
        return None
    room = max(0, limit_bytes - growth.last_bytes)
    return growth.videos + int(room / growth.high_bytes), growth.videos + int(room / growth.low_bytes)


def cores_line(busy_cores: float, cores: int) -> str:
    """How many cores were busy on average, in a sentence."""
    idle = cores - busy_cores
    told = f"{busy_cores:.1f} of {plural(cores, 'core')} busy"
    if cores > 1 and idle >= 0.7:
        return f"{told}: {'the second core was idle' if cores == 2 else f'{idle:.0f} were idle'}"
    return told
