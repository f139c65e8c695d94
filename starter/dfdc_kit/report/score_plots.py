"""The plots of a score on the report page: predictions by class, reliability, ROC and loss by confidence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dfdc_kit.formatting import plural
from dfdc_kit.report.svg import Axis, Plot, round_ticks, unit_axis
from dfdc_kit.scoring.calibration import ReliabilityBin
from dfdc_kit.scoring.diagnostics import ConfidenceBin
from dfdc_kit.scoring.score import Score

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
