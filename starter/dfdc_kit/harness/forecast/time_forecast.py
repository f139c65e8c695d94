"""Whether the hidden tests fit the time limit, from the reads of one run; and when to stop a run that cannot fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from threading import Lock

import numpy as np

from dfdc_kit.formatting import format_time, plural
from dfdc_kit.harness.forecast import measure
from dfdc_kit.harness.forecast.calibration import (
    Calibration,
    Ratio,
    Work,
    constants,
    decoding_s,
    project_hosted,
    time_ratio,
)
from dfdc_kit.harness.forecast.projection import ENOUGH, SHARE, least_time, per_video, project, verdict
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import Noise, Outlook, Projection, TimeForecast, Timings, VideoRead
from dfdc_kit.report.summary import noise_warning

STOP_LEVEL = 0.99  # stricter than a report, as a run is checked many times
STOP_AFTER, CHECK_AGAIN = 30, 1.2  # completions before the first check; then at each growth by this factor
MOST_HEADERS = 2000
ALIKE = 2.0  # videos of which the mean size differs by less than this factor count as like those of the hidden test


def forecast_time(
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
    sizes: Mapping[str, float] | None = None,
    typical_size: float = 0.0,
    local: Calibration | None = None,
    hosted: Calibration | None = None,
) -> TimeForecast | None:
    """Whether the hidden tests finish in time; None where the profile has no time limit.

    `videos`: name of a hidden test -> how many videos it holds. `leaking`: whether memory grows with every video.
    `sizes`: see `video_sizes`; `typical_size`: of a video of the hidden test; 0: not known.
    `local`, `hosted`: the calibrations of this machine and the hosted one.
    """
    limit_s = profile.limits.wall_time_s
    if limit_s is None:
        return None
    known = constants()
    timings = per_video(reads, wall_time_s, rows, sizes=sizes, noise=noise)
    cores = measure.usable_cores()
    busy = None if cpu_time_s is None or wall_time_s <= 0 else float(cpu_time_s / wall_time_s)
    work = Work(busy_cores=busy, cores=cores, gpu_declared=gpu_declared, gpu=measure.gpu_name())
    ratio = time_ratio(work, profile.hardware, local, hosted, known)
    decoding = []
    if ratio.seconds is None:
        times = [decoding_s(n, profile.hardware.cpu_cores or cores, local, hosted, known) for n in videos.values()]
        decoding = [time for time in times if time is not None]
    speedup = min(noise.speedup, cores / busy) if busy else noise.speedup  # no more than all cores
    costs = timings.costs_s if timings.basis == "reads" else []
    mean_size = sum(sizes.values()) / len(sizes) if sizes else 0.0
    size_ratio = typical_size / mean_size if mean_size and typical_size and timings.basis != "no reads" else 1.0
    if 1 / ALIKE < size_ratio < ALIKE:
        size_ratio = 1.0
    uncertainty = (speedup, noise.slowdown, size_ratio)
    outlooks = [_outlook(name, n, timings, limit_s, ratio, uncertainty, leaking) for name, n in videos.items()]
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
        size_ratio=size_ratio,
        constants=ratio.constants,
        cautions=list(_cautions(timings, outlooks, noise, leaking)),
    )


class EarlyStopper:
    """Follows a run and decides when it can no longer finish in time. Safe to use from two threads.

    `videos`: number of the hidden test; `limit_s`: its time limit; `noise()`: the noise so far; `sizes`: of all videos
    of this run, see `video_sizes`.
    """

    def __init__(
        self, videos: int, limit_s: float, noise: Callable[[], Noise], sizes: Mapping[str, float] | None = None
    ) -> None:
        self._videos, self._limit_s, self._noise = videos, limit_s, noise
        self._sizes = sizes or {}
        self._closed: dict[str, float] = {}
        self._next_check = STOP_AFTER
        self.reason = ""
        self._lock = Lock()

    def completed(self, name: str, at_s: float) -> None:
        """Video `name` was closed `at_s` seconds after the start. The last close of a video counts."""
        with self._lock:
            self._closed[name] = at_s

    def should_stop(self) -> bool:
        """Whether the hidden test cannot finish in time; `reason` says why. Cheap to call often."""
        with self._lock:
            if self.reason or len(self._closed) < self._next_check:
                return bool(self.reason)
            closed = dict(self._closed)
            self._next_check = int(len(closed) * CHECK_AGAIN) + 1
        reads = [VideoRead(name=name, opened_s=at, closed_s=at) for name, at in closed.items()]
        timings = per_video(reads, max(closed.values()), len(reads), sizes=self._sizes)
        low_s = least_time(
            timings, self._videos, STOP_LEVEL, size_ratio=self._size_ratio(closed), speedup=self._noise().speedup
        )
        if low_s > self._limit_s:
            self.reason = (
                f"After {len(closed)} videos it is certain that {self._videos:,} take at least "
                f"{format_time(low_s)} here; the limit is {format_time(self._limit_s)}."
            )
        return bool(self.reason)

    def _size_ratio(self, closed: Mapping[str, float]) -> float:
        """Mean size of all videos over that of the completed ones: they may be read in the order of their size."""
        done = [self._sizes[name] for name in closed if name in self._sizes]
        if not done:
            return 1.0
        return (sum(self._sizes.values()) / len(self._sizes)) / (sum(done) / len(done))


def video_sizes(videos: Sequence[Path]) -> dict[str, float]:
    """Frames times pixels of each video by name, from its header; the median where a header cannot be read.

    Empty where none can be read, and for more than MOST_HEADERS videos, for which reading headers takes too long.
    """
    if not 0 < len(videos) <= MOST_HEADERS:
        return {}
    try:
        from dfdc_kit.data.video_header import BadVideoError, read_header
    except ImportError:
        return {}
    found: dict[str, float] = {}
    for path in videos:
        try:
            header = read_header(path)
        except BadVideoError:
            continue
        found[path.name] = float(header.width * header.height * header.frames)
    known = [size for size in found.values() if size > 0]
    if not known:
        return {}
    return {path.name: found.get(path.name) or median(known) for path in videos}


def _outlook(
    name: str,
    videos: int,
    timings: Timings,
    limit_s: float,
    ratio: Ratio,
    uncertainty: tuple[float, float, float],
    leaking: bool,
) -> Outlook:
    speedup, slowdown, size_ratio = uncertainty
    local = project(timings, videos, leaking=leaking, speedup=speedup, slowdown=slowdown)
    hosted: Projection | None = None if ratio.seconds is None else project_hosted(local, ratio.seconds)
    return Outlook(
        name=name,
        videos=videos,
        local=local,
        local_verdict=verdict(local, limit_s, size_ratio),
        hosted=hosted,
        hosted_verdict="cannot tell" if hosted is None else verdict(hosted, limit_s, size_ratio),
    )


def _cautions(timings: Timings, outlooks: Sequence[Outlook], noise: Noise, leaking: bool) -> Iterator[str]:
    if timings.basis == "no reads":
        yield "No video was seen being read, so the range goes from 'all of it was start-up' to 'none of it was'."
    elif timings.basis == "too few reads":
        yield f"Only {plural(timings.completed, 'finished video')}: no upper bound. {ENOUGH} are better."
    elif timings.completed < ENOUGH:
        yield f"Rough: only {timings.completed} videos. Measure {ENOUGH} or more."
    elif few := [outlook for outlook in outlooks if timings.completed < SHARE * outlook.videos]:
        wanted = " or ".join(f"{SHARE * outlook.videos:.0f} ({outlook.name})" for outlook in few)
        yield f"{timings.completed} videos cannot show a later slow-down or rare slow videos; better measure {wanted}."
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
