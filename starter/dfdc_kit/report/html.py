"""The report as one page for a browser: what run.json says, drawn. No script, and nothing from elsewhere.

Names and log lines come from a submission: everything is escaped, and the page forbids itself to load or run anything.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import heapify, heapreplace
from pathlib import Path
from typing import NamedTuple

from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import format_bytes, format_time, plural
from dfdc_kit.report.run_report import PAGE, Projection, RunReport, TimeForecast, VideoRead, cautions
from dfdc_kit.report.verdicts import Verdict

TEMPLATE = Path(__file__).with_name("page.html")
WIDE = 1000.0  # units, of each drawing
TALL = 120.0  # of those whose height is not given by what they show
LANES = 16  # of the timeline; what overlaps more is drawn in the last
APART = 120.0  # units, of two marks of an axis
SLOWEST = 5
CLOCK = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400, 259200)  # seconds


class Span(NamedTuple):
    """One hidden test on one machine: places along the axis, and the verdict."""

    name: str
    verdict: str
    low: float
    middle: float
    high: float
    open_end: bool  # no upper bound is known

    @property
    def colour(self) -> str:
        """Of the style sheet."""
        return {"fits": "good", "does not fit": "bad"}.get(self.verdict, "doubt")


class Tick(NamedTuple):
    """A mark of an axis."""

    place: float
    text: str


class Bar(NamedTuple):
    """Predictions in one twentieth of 0 to 1, of one class: height 0 to 1, and how many."""

    place: float
    height: float
    rows: int


def write(report: RunReport, folder: Path) -> Path:
    """Write `folder`/report.html, whole or not at all. Raises OutputError."""
    path = folder / PAGE
    write_bytes(path, render(report).encode("utf-8", "backslashreplace"))
    return path


def render(report: RunReport) -> str:
    """The whole page."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clock": format_time, "amount": _known, "counted": plural}
    seen, forecast = report.observation, report.forecast
    usage = seen.outcome.usage
    histogram = (report.score.histogram or {}) if report.score else {}
    highest = max((count for rows in histogram.values() for count in rows), default=0)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        good=report.judgement.verdict is Verdict.COMPLETE,
        started=datetime.fromisoformat(report.started).strftime("%Y-%m-%d %H:%M UTC"),
        wide=WIDE,
        tall=TALL,
        spans=list(spans(forecast)) if forecast else [],
        span_ticks=ticks(*_reach(forecast)) if forecast else [],
        limit=_along(forecast.limit_s, *_reach(forecast)) if forecast else 0.0,
        lanes=lanes(seen.reads, usage.wall_time_s),
        time_ticks=[Tick(WIDE * share / 4, format_time(usage.wall_time_s * share / 4)) for share in range(5)],
        slowest=slowest(seen.reads),
        never_opened=0 if seen.reads_caveat or not seen.reads else max(seen.videos - len(seen.reads), 0),
        memory=curve(usage.memory_samples, usage.wall_time_s),
        bars={name: list(bars(rows, highest)) for name, rows in histogram.items()},
        noise=list(cautions(seen.noise)),
        open_limits=[limit.limit for limit in report.enforcement if limit.status.startswith("NOT")],
    )


# ------------------------------------------------------------------------------------------------------------ drawings


def spans(forecast: TimeForecast) -> Iterator[Span]:
    """The ranges of the forecast on an axis of logarithms."""
    least, most = _reach(forecast)
    for outlook in forecast.outlooks:
        for where, projection, verdict in (
            ("here", outlook.local, outlook.local_verdict),
            (f"on {forecast.profile}", outlook.hosted, outlook.hosted_verdict),
        ):
            if projection is not None:
                low, middle, high = (_along(time_s, least, most) for time_s in _ends(projection))
                name = f"{outlook.name}, {plural(outlook.videos, 'video')}, {where}"
                yield Span(name, verdict, low, middle, high, projection.high_s is None)


def _ends(projection: Projection) -> tuple[float, float, float]:
    """Low, middle, high; where there are too few videos for a range, the middle alone."""
    if projection.high_s is None:
        return projection.median_s, projection.median_s, projection.median_s
    return projection.low_s, projection.median_s, projection.high_s


def _reach(forecast: TimeForecast) -> tuple[float, float]:
    """Least and most of the axis, in seconds: round figures about everything that stands on it."""
    times = [forecast.limit_s]
    for outlook in forecast.outlooks:
        for projection in (outlook.local, outlook.hosted):
            times += _ends(projection) if projection is not None else ()
    least, most = max(min(times), 1e-3), max(times)
    below = [mark for mark in CLOCK if mark <= least] or [10 ** math.floor(math.log10(least))]
    above = [mark for mark in CLOCK if mark >= most * 1.2] or [10 ** math.ceil(math.log10(most * 1.2))]
    return float(below[-1]), float(above[0])


def _along(time_s: float, least: float, most: float) -> float:
    """Place of a time on an axis of logarithms, 0 to WIDE."""
    return round(WIDE * math.log(max(time_s, least) / least) / math.log(most / least), 1)


def ticks(least: float, most: float) -> list[Tick]:
    """Marks of an axis of logarithms, so far apart that their texts are, too."""
    marks: list[Tick] = []
    for time_s in (mark for mark in CLOCK if least <= mark <= most):
        place = _along(time_s, least, most)
        if not marks or place - marks[-1].place >= APART:
            marks.append(Tick(place, format_time(time_s)))
    return marks


def lanes(reads: Sequence[VideoRead], wall_time_s: float) -> list[str]:
    """An SVG path for each reader: a stroke a video, from its opening to its closing."""
    paths: list[list[str]] = []
    free: list[tuple[float, int]] = []  # when a lane is free again, and which
    per_s = WIDE / max(wall_time_s, 1e-9)
    for read in sorted(reads, key=lambda read: read.opened_s):
        end_s = wall_time_s if read.closed_s is None else read.closed_s
        if free and (free[0][0] <= read.opened_s or len(paths) == LANES):
            lane = free[0][1]
            heapreplace(free, (end_s, lane))
        else:
            lane = len(paths)
            paths.append([])
            free.append((end_s, lane))
            heapify(free)
        stroke = max((end_s - read.opened_s) * per_s - 0.4, 0.3)  # a gap, so that neighbours are told apart
        paths[lane].append(f"M{read.opened_s * per_s:.1f} 0h{stroke:.1f}")
    return ["".join(path) for path in paths]


def slowest(reads: Sequence[VideoRead]) -> list[tuple[str, float]]:
    """Name and seconds of the videos that were open longest, those first."""
    closed = [(read.name, read.closed_s - read.opened_s) for read in reads if read.closed_s is not None]
    return sorted(closed, key=lambda read: -read[1])[:SLOWEST]


def curve(samples: Sequence[tuple[float, int]], wall_time_s: float) -> str:
    """The points of an SVG line: memory over time, its peak near the top. Empty for fewer than two samples."""
    if len(samples) < 2:
        return ""
    most = max(size for _, size in samples) or 1
    return " ".join(
        f"{WIDE * min(at_s / max(wall_time_s, 1e-9), 1):.1f},{TALL * (1 - 0.92 * size / most):.1f}"
        for at_s, size in samples
    )


def bars(rows: Sequence[int], highest: int) -> Iterator[Bar]:
    """One class's predictions; a bar of `highest` rows, the most of both classes, has height 1."""
    for number, count in enumerate(rows):
        if count:
            yield Bar(WIDE * number / len(rows), count / highest, count)


def _known(size_bytes: float | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)
