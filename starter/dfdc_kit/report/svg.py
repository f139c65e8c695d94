"""Drawings for pages without scripts: plots as SVG text, and coordinates for charts as wide as the page.

Colours are variables of the page's style sheet (`--blue`), so that plots follow light, dark and print.
"""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

from dfdc_kit.formatting import format_time, plural
from dfdc_kit.report.run_report import FitVerdict, Projection, TimeForecast, VideoRead
from dfdc_kit.scoring.calibration import ReliabilityBin
from dfdc_kit.scoring.diagnostics import ConfidenceBin
from dfdc_kit.scoring.score import Score

WIDTH = 1000.0
HEIGHT = 120.0
MAX_LANES = 16  # of the timeline; more readers at once share the last one
MIN_TICK_DISTANCE = 220.0
TICK_TIMES_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400, 259200)
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600)
MOST_TICKS = 6  # steps on a linear time axis
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


def curve(samples: Sequence[tuple[float, int]], wall_time_s: float, highest: float) -> str:
    """The points of an SVG polyline of memory over time, `highest` bytes at the top; empty for one sample."""
    if len(samples) < 2:
        return ""
    return " ".join(
        f"{WIDTH * min(at_s / max(wall_time_s, 1e-9), 1):.1f},{HEIGHT * (1 - size / highest):.1f}"
        for at_s, size in samples
    )


def time_ticks(wall_time_s: float) -> list[Tick]:
    """Ticks of a linear time axis from 0, at round times; at most seven."""
    last = wall_time_s * 0.97  # a later one would collide with the end
    step = next((one for one in TICK_STEPS_S if one * MOST_TICKS > wall_time_s), wall_time_s / MOST_TICKS)
    times = [step * i for i in range(MOST_TICKS + 1) if i == 0 or step * i <= last]
    return [Tick(round(WIDTH * at / max(wall_time_s, 1e-9), 1), format_time(at)) for at in times]


def round_ticks(highest: float, most: int = 5) -> list[float]:
    """Round numbers from 0 to at least `highest`, evenly spaced, at most `most` + 1 of them.

    >>> round_ticks(63)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    rough = max(highest, 1e-12) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]


# --------------------------------------------------------------------------------------------------- plots with axes

PLOT_WIDTH, PLOT_HEIGHT = 360.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 44.0  # margins, with room for ticks and titles


class Axis(NamedTuple):
    """A linear axis of a plot: what it shows with its unit, its ends, and the values with a tick and their text."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """The place of `value`, 0 at the low end and 1 at the high one."""
        return (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)


def unit_axis(title: str) -> Axis:
    """An axis from 0 to 1."""
    return Axis(title, 0, 1, [(at / 4, f"{at / 4:g}") for at in range(5)])


class Plot:
    """A plot with two axes. Add marks, then take `svg()`; what was added first is drawn below."""

    def __init__(self, title: str, x: Axis, y: Axis) -> None:
        self.title, self.x, self.y = title, x, y
        self.marks: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The position of a point in the drawing."""
        inner = PLOT_WIDTH - LEFT - RIGHT, PLOT_HEIGHT - TOP - BOTTOM
        return round(LEFT + inner[0] * self.x.share(x), 1), round(TOP + inner[1] * (1 - self.y.share(y)), 1)

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 2, dashed: bool = False
    ) -> None:
        """A line through points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in (self.at(*point) for point in points))
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.marks.append(
            f'<polyline points="{path}" fill="none" stroke="var(--{colour})" stroke-width="{width:g}"{dash}/>'
        )

    def dot(self, x: float, y: float, colour: str, label: str, radius: float = 4) -> None:
        """A point with a label that shows when the pointer is on it."""
        cx, cy = self.at(x, y)
        self.marks.append(
            f'<circle cx="{cx:g}" cy="{cy:g}" r="{radius:g}" fill="var(--{colour})">'
            f"<title>{html.escape(label)}</title></circle>"
        )

    def bar(
        self, x: tuple[float, float], y: tuple[float, float], colour: str, label: str, *, hollow: bool = False
    ) -> None:
        """A bar from x[0] to x[1] and y[0] to y[1], at least one unit high, with a label for the pointer."""
        (left, bottom), (right, top) = self.at(x[0], min(y)), self.at(x[1], max(y))
        style = f'fill="none" stroke="var(--{colour})"' if hollow else f'fill="var(--{colour})"'
        self.marks.append(
            f'<rect x="{left + 0.5:g}" y="{min(top, bottom - 1):g}" width="{max(right - left - 1, 1):g}"'
            f' height="{max(bottom - top, 1):g}" {style}><title>{html.escape(label)}</title></rect>'
        )

    def svg(self) -> str:
        """The plot as text of an SVG element with the class `plot`."""
        return (
            f'<svg class="plot" viewBox="0 0 {PLOT_WIDTH:g} {PLOT_HEIGHT:g}" role="img"'
            f' aria-label="{html.escape(self.title)}">{"".join(self._frame())}{"".join(self.marks)}</svg>'
        )

    def _frame(self) -> Iterator[str]:
        x0, y0 = LEFT, PLOT_HEIGHT - BOTTOM
        x1, y1 = PLOT_WIDTH - RIGHT, TOP
        for value, text in self.y.ticks:
            y = self.at(self.x.low, value)[1]
            yield f'<line class="grid" x1="{x0:g}" x2="{x1:g}" y1="{y:g}" y2="{y:g}"/>'
            yield f'<text x="{x0 - 6:g}" y="{y + 4:g}" text-anchor="end">{html.escape(text)}</text>'
        for value, text in self.x.ticks:
            x = self.at(value, self.y.low)[0]
            yield f'<line class="grid" x1="{x:g}" x2="{x:g}" y1="{y0:g}" y2="{y1:g}"/>'
            yield f'<text x="{x:g}" y="{y0 + 16:g}" text-anchor="middle">{html.escape(text)}</text>'
        middle = (y0 + y1) / 2
        centre, bottom = (x0 + x1) / 2, PLOT_HEIGHT - 8
        yield f'<text x="{centre:g}" y="{bottom:g}" text-anchor="middle">{html.escape(self.x.title)}</text>'
        yield (
            f'<text x="12" y="{middle:g}" text-anchor="middle" transform="rotate(-90 12 {middle:g})">'
            f"{html.escape(self.y.title)}</text>"
        )


CLASS_COLOURS = ("red", "blue")  # positive, negative


class Figure(NamedTuple):
    """A plot with its heading, the legend as (colour, text), and a sentence that says how to read it."""

    title: str
    svg: str
    legend: Sequence[tuple[str, str]]
    text: str


def score_plots(score: Score) -> Iterator[Figure]:
    """The plots that the score has the data for."""
    if score.histogram:
        yield predictions(score.histogram)
    if score.curves is None:
        return
    if score.curves.reliability:
        yield reliability(score.curves.reliability, next(iter(score.histogram or {"positive": []})))
    if score.curves.roc:
        auc = score.secondary.auc if score.secondary else None
        yield roc(score.curves.roc, auc, list(score.histogram or ("positive", "negative")))
    if score.curves.confidence:
        yield confidence(score.curves.confidence)


def predictions(histogram: Mapping[str, Sequence[int]]) -> Figure:
    """The histogram of each class: the positive one above the line, the negative one below."""
    highest = max((count for rows in histogram.values() for count in rows), default=1)
    steps = [at for at in round_ticks(max(highest, 1), 3) if at == int(at)]
    ticks = [(sign * at, f"{at:,.0f}") for at in steps for sign in (1, -1) if at or sign == 1]
    plot = Plot("Number of videos by prediction", unit_axis("prediction"), Axis("videos", -steps[-1], steps[-1], ticks))
    for (name, rows), sign, colour in zip(histogram.items(), (1, -1), CLASS_COLOURS, strict=False):
        for at, count in enumerate(rows):
            if count:
                ends = (at / len(rows), (at + 1) / len(rows))
                label = f"{plural(count, 'video')} {name}, prediction {ends[0]:.2f} to {ends[1]:.2f}"
                plot.bar(ends, (0, sign * count), colour, label)
    plot.line([(0, 0), (1, 0)], "soft", width=1)
    legend = [(colour, name) for colour, name in zip(CLASS_COLOURS, histogram, strict=False)]
    text = " and ".join(f"{name} {where} the line" for name, where in zip(histogram, ("above", "below"), strict=False))
    return Figure("Predictions by class", plot.svg(), legend, f"{text}.")


def reliability(bins: Sequence[ReliabilityBin], positive: str) -> Figure:
    """Predictions against the share of positive rows, with its interval where it is narrow enough to inform."""
    plot = Plot(f"Share of {positive} by prediction", unit_axis("prediction"), unit_axis(f"share of {positive}"))
    plot.line([(0, 0), (1, 1)], "soft", width=1, dashed=True)
    most = max(one.rows for one in bins)
    for one in bins:
        low, high = one.interval
        if high - low < 0.6:
            plot.line([(one.predicted, low), (one.predicted, high)], "blue", width=1)
        label = f"{plural(one.rows, 'video')}: mean prediction {one.predicted:.3f}, {positive} {one.observed:.3f}"
        plot.dot(one.predicted, one.observed, "blue", label, radius=2.5 + 3.5 * (one.rows / most) ** 0.5)
    legend = [("blue", "videos by tenths"), ("soft", "calibrated")]
    text = "Below the dashed line: predictions too high. Larger dots: more videos; lines: 95 % intervals."
    return Figure("Reliability", plot.svg(), legend, text)


def roc(points: Sequence[tuple[float, float]], auc: float | None, names: Sequence[str]) -> Figure:
    """The ROC curve."""
    positive, negative = names[0], names[1]
    plot = Plot("ROC curve", unit_axis(f"{negative} called {positive}, share"), unit_axis(f"{positive} found, share"))
    plot.line([(0, 0), (1, 1)], "soft", width=1, dashed=True)
    plot.line(points, "blue")
    legend = [("blue", "this submission"), ("soft", "guessing")]
    area = "" if auc is None else f"Area under the curve {auc:.3f}; "
    return Figure("ROC", plot.svg(), legend, f"{area}log loss also depends on how sure each prediction is.")


def confidence(bins: Sequence[ConfidenceBin]) -> Figure:
    """Which share of the loss comes from videos of which confidence, beside their share of the videos."""
    rows = sum(one.rows for one in bins)
    highest = max(max(one.share, one.rows / rows) for one in bins)
    ticks = [(at, f"{100 * at:.0f} %") for at in round_ticks(highest, 4)]
    plot = Plot("Loss by confidence", unit_axis("confidence, |2 p - 1|"), Axis("share", 0, ticks[-1][0], ticks))
    for one in bins:
        label = (
            f"confidence {one.low:.1f} to {one.high:.1f}: {plural(one.rows, 'video')}, {one.wrong:,} wrong,"
            f" mean loss {one.loss:.3f}, {one.share:.0%} of the loss"
        )
        plot.bar((one.low, one.high), (0, one.share), "red", label)
        plot.bar((one.low, one.high), (0, one.rows / rows), "ink", label, hollow=True)
    wrong = [one for one in bins if one.low >= 0.8 - 1e-9]
    sure, missed = sum(one.rows for one in wrong), sum(one.wrong for one in wrong)
    text = "No video has a confidence of 0.8 or more."
    if sure:
        text = f"{missed:,} of {plural(sure, 'video')} with a confidence of 0.8 or more on the wrong side of 0.5."
    legend = [("red", "share of the loss"), ("ink", "share of the videos")]
    return Figure("Loss by confidence", plot.svg(), legend, text)
