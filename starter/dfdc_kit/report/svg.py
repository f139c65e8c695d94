"""Coordinates for the drawings of the report page, in units of a drawing WIDTH wide and HEIGHT high."""

import math
from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

from dfdc_kit.formatting import format_time, plural
from dfdc_kit.report.run_report import FitVerdict, Projection, TimeForecast, VideoRead

WIDTH = 1000.0
HEIGHT = 120.0
MAX_LANES = 16  # of the timeline; more readers at once share the last one
MIN_TICK_DISTANCE = 220.0
TICK_TIMES_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400, 259200)
COLOURS: dict[FitVerdict, str] = {"fits": "good", "does not fit": "bad", "cannot tell": "unclear"}


class Tick(NamedTuple):
    """A labelled position on an axis."""

    x: float
    text: str


class Span(NamedTuple):
    """The projected time of one hidden test on one machine, on a logarithmic axis."""

    name: str  # "public test, 4,000 videos"
    machine: str
    projection: Projection
    verdict: FitVerdict
    low: float
    median: float
    high: float

    @property
    def colour(self) -> str:
        """A variable of the style sheet."""
        return COLOURS[self.verdict]


class Bar(NamedTuple):
    """Predictions of one class in one part of 0 to 1: position, height 0 to 1, number of rows."""

    x: float
    height: float
    rows: int


def spans(forecast: TimeForecast) -> Iterator[Span]:
    """The projections of a forecast, local and hosted, on the axis of `time_axis`."""
    least, most = time_axis(forecast)
    for outlook in forecast.outlooks:
        for machine, projection, verdict in (
            ("this machine", outlook.local, outlook.local_verdict),
            (forecast.profile, outlook.hosted, outlook.hosted_verdict),
        ):
            if projection is not None:
                low, median, high = (log_position(time_s, least, most) for time_s in _ends(projection))
                name = f"{outlook.name} test, {plural(outlook.videos, 'video')}"
                yield Span(name, machine, projection, verdict, low, median, high)


def _ends(projection: Projection) -> tuple[float, float, float]:
    """Low, median, high; the median for all three where there is no upper bound."""
    if projection.high_s is None:
        return projection.median_s, projection.median_s, projection.median_s
    return projection.low_s, projection.median_s, projection.high_s


def time_axis(forecast: TimeForecast) -> tuple[float, float]:
    """First and last second of an axis with round ends that shows all projections and the limit."""
    times = [forecast.limit_s]
    for outlook in forecast.outlooks:
        for projection in (outlook.local, outlook.hosted):
            times += _ends(projection) if projection is not None else ()
    least, most = max(min(times), 1e-3), max(times)
    below = [time_s for time_s in TICK_TIMES_S if time_s <= least] or [10 ** math.floor(math.log10(least))]
    above = [time_s for time_s in TICK_TIMES_S if time_s >= most * 1.2] or [10 ** math.ceil(math.log10(most * 1.2))]
    return float(below[-1]), float(above[0])


def log_position(time_s: float, least: float, most: float) -> float:
    """Position of a time on a logarithmic axis, 0 to WIDTH."""
    return round(WIDTH * math.log(max(time_s, least) / least) / math.log(most / least), 1)


def ticks(least: float, most: float) -> list[Tick]:
    """Ticks of a logarithmic axis, at least MIN_TICK_DISTANCE apart."""
    found: list[Tick] = []
    for time_s in (time_s for time_s in TICK_TIMES_S if least <= time_s <= most):
        x = log_position(time_s, least, most)
        if not found or x - found[-1].x >= MIN_TICK_DISTANCE:
            found.append(Tick(x, format_time(time_s)))
    return found


def lanes(reads: Sequence[VideoRead], wall_time_s: float) -> list[str]:
    """An SVG path per worker that reads videos, with a bar per video from its opening to its closing."""
    paths: list[list[str]] = []
    free: list[tuple[float, int]] = []  # (end of its last bar in seconds, lane)
    per_s = WIDTH / max(wall_time_s, 1e-9)
    for read in sorted(reads, key=lambda read: read.opened_s):
        end_s = wall_time_s if read.closed_s is None else read.closed_s
        if free and (free[0][0] <= read.opened_s or len(paths) == MAX_LANES):
            lane = free[0][1]
            heapreplace(free, (end_s, lane))
        else:
            lane = len(paths)
            paths.append([])
            free.append((end_s, lane))
            heapify(free)
        length = max((end_s - read.opened_s) * per_s - 0.4, 0.3)  # leaves a gap to the next bar
        paths[lane].append(f"M{read.opened_s * per_s:.1f} 0h{length:.1f}")
    return ["".join(path) for path in paths]


def curve(samples: Sequence[tuple[float, int]], wall_time_s: float) -> str:
    """The points of an SVG polyline of memory over time; empty for fewer than two samples."""
    if len(samples) < 2:
        return ""
    most = max(size for _, size in samples) or 1
    return " ".join(
        f"{WIDTH * min(at_s / max(wall_time_s, 1e-9), 1):.1f},{HEIGHT * (1 - 0.92 * size / most):.1f}"
        for at_s, size in samples
    )


def bars(rows: Sequence[int], highest: int) -> Iterator[Bar]:
    """The histogram of one class; a bar of `highest` rows has height 1."""
    for number, count in enumerate(rows):
        if count:
            yield Bar(WIDTH * number / len(rows), count / highest, count)
