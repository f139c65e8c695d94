"""The report page of a run, drawn from its run.json: one file without scripts or external resources.

Names and log lines come from a submission: everything is escaped, and the page's policy forbids loading and scripts.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import format_bytes, format_time, plural
from dfdc_kit.report import svg
from dfdc_kit.report.run_report import PAGE, RunReport, VideoRead
from dfdc_kit.report.summary import forecast_basis, summarise, time_range

TEMPLATE = Path(__file__).with_name("page.html")
LONGEST_READS = 5


def write(report: RunReport, folder: Path) -> Path:
    """Write `folder`/report.html in one step. Raises OutputError."""
    path = folder / PAGE
    write_bytes(path, render(report).encode("utf-8", "backslashreplace"))
    return path


def render(report: RunReport) -> str:
    """The page as HTML text."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"time": format_time, "size": _size, "count": plural, "range": time_range}
    observation, forecast = report.observation, report.forecast
    usage = observation.outcome.usage
    histogram = (report.score.histogram or {}) if report.score else {}
    highest = max((count for rows in histogram.values() for count in rows), default=0)
    axis = svg.time_axis(forecast) if forecast else (1.0, 2.0)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        summary=summarise(report),
        started=datetime.fromisoformat(report.started).strftime("%Y-%m-%d %H:%M UTC"),
        width=svg.WIDTH,
        height=svg.HEIGHT,
        spans=list(svg.spans(forecast)) if forecast else [],
        span_ticks=svg.ticks(*axis) if forecast else [],
        limit=svg.log_position(forecast.limit_s, *axis) if forecast else 0.0,
        basis=forecast_basis(forecast) if forecast else [],
        lanes=svg.lanes(observation.reads, usage.wall_time_s),
        time_ticks=[
            svg.Tick(svg.WIDTH * share / 4, format_time(usage.wall_time_s * share / 4, 2)) for share in range(5)
        ],
        longest=longest_reads(observation.reads),
        memory=svg.curve(usage.memory_samples, usage.wall_time_s),
        bars={name: list(svg.bars(rows, highest)) for name, rows in histogram.items()},
    )


def longest_reads(reads: Sequence[VideoRead]) -> list[tuple[str, float]]:
    """Name and seconds of the videos that were open longest, in descending order."""
    closed = [(read.name, read.closed_s - read.opened_s) for read in reads if read.closed_s is not None]
    return sorted(closed, key=lambda read: -read[1])[:LONGEST_READS]


def _size(size_bytes: float | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)
