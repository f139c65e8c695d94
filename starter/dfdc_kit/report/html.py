"""The report page of a run, drawn from its run.json: one file without scripts or external resources.

Names and log lines come from a submission: everything is escaped, and the page's policy forbids loading and scripts.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import format_bytes, format_time, plural
from dfdc_kit.report import svg
from dfdc_kit.report.run_report import PAGE, RunReport, VideoRead
from dfdc_kit.report.summary import forecast_basis, roughness, summarise, time_range, verdict_text
from dfdc_kit.report.svg import score_plots
from dfdc_kit.scoring.diagnostics import describe
from dfdc_kit.scoring.metric import displayed

if TYPE_CHECKING:
    import jinja2
    from av.video.frame import VideoFrame


TEMPLATE = Path(__file__).with_name("page.html")
LONGEST_READS = 5
MEMORY_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1, "bytes"))


def write(report: RunReport, folder: Path, *, with_pictures: bool = True) -> Path:
    """Write `folder`/report.html in one step, with pictures of the costliest videos where they exist.

    Pictures take about a second: leave them out when judging hundreds of submissions. Raises OutputError.
    """
    path = folder / PAGE
    page = render(report, pictures(report) if with_pictures else {})
    write_bytes(path, page.encode("utf-8", "backslashreplace"))
    return path


def pictures(report: RunReport) -> dict[str, list[str]]:
    """Key frames of the costliest videos by name, as data URIs; empty without a score or without the videos.

    Also empty where they all have the same prediction: which of them cost the most is then a matter of their class.
    """
    costliest = (report.score.costliest or []) if report.score else []
    if len({row.predicted for row in costliest}) < 2:
        return {}
    videos = Path(report.data_folder) / report.challenge.data.test_videos
    return thumbnails(videos, [row.row_id for row in costliest if Path(row.row_id).name == row.row_id])


@cache
def template(path: Path, **filters: Callable[..., str]) -> "jinja2.Template":
    """The compiled page template `path`: compiling costs more than rendering, and `dfdc judge` renders hundreds."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"displayed": displayed, **filters}
    return environment.from_string(path.read_text(encoding="utf-8"))


def render(report: RunReport, pictures: Mapping[str, Sequence[str]] = MappingProxyType({})) -> str:
    """The page as HTML text; pictures: data URIs by name of a video."""
    observation, forecast, score = report.observation, report.forecast, report.score
    usage = observation.outcome.usage
    axis = svg.time_axis(forecast) if forecast else (1.0, 2.0)
    memory_ticks = _memory_ticks(max([size for _, size in usage.memory_samples] + [usage.peak_memory_bytes or 1]))
    page = template(TEMPLATE, time=format_time, size=_size, count=plural, range=time_range)
    return page.render(
        report=report,
        summary=summarise(report),
        decimals=report.challenge.metric.displayed_decimals,
        started=datetime.fromisoformat(report.started).strftime("%Y-%m-%d %H:%M UTC"),
        width=svg.WIDTH,
        height=svg.HEIGHT,
        spans=list(svg.spans(forecast)) if forecast else [],
        rough=roughness,
        verdict_text=verdict_text,
        span_ticks=svg.ticks(*axis) if forecast else [],
        limit=svg.log_position(forecast.limit_s, *axis) if forecast else 0.0,
        basis=forecast_basis(forecast) if forecast else [],
        lanes=svg.lanes(observation.reads, usage.wall_time_s),
        time_ticks=svg.time_ticks(usage.wall_time_s),
        longest=longest_reads(observation.reads),
        memory=svg.curve(usage.memory_samples, usage.wall_time_s, memory_ticks[-1][0]),
        memory_ticks=memory_ticks,
        plots=list(score_plots(score)) if score else [],
        secondary=", ".join(describe(score.secondary)) if score and score.secondary else "",
        costliest=(score.costliest or []) if score else [],
        pictures=pictures,
    )


def _memory_ticks(highest: int) -> list[tuple[float, str]]:
    """Round amounts of memory from 0 to at least `highest` bytes, and their text."""
    unit, name = next((unit, name) for unit, name in MEMORY_UNITS if highest >= unit or unit == 1)
    return [(at * unit, f"{at:g} {name}") for at in svg.round_ticks(highest / unit, 3)]


def longest_reads(reads: Sequence[VideoRead]) -> list[tuple[str, float]]:
    """Name and seconds of the videos that were open longest, in descending order."""
    closed = [(read.name, read.closed_s - read.opened_s) for read in reads if read.closed_s is not None]
    return sorted(closed, key=lambda read: -read[1])[:LONGEST_READS]


def _size(size_bytes: float | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)


HEIGHT = 108  # pixels
WIDEST = 400  # pixels; a wider picture is squeezed
PLACES = (0.05, 0.5, 0.95)  # of the duration; the key frame before each is shown
MOST_PIXELS = 60_000_000  # of all frames of a video that is decoded in full: a fraction of a second
MOST_FRAME_PIXELS = 10_000_000  # of one frame; a larger video gets no picture
MOST_BYTES = 40_000  # of one picture; a larger one, of noise for instance, is left out


def thumbnails(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """Data URIs of up to three frames of each video `folder`/name; nothing for one that cannot be decoded."""
    found = {
        name: _of_video(folder / name, (folder / name).stat().st_mtime_ns)
        for name in names
        if (folder / name).is_file()
    }
    return {name: uris for name, uris in found.items() if uris}


@lru_cache(maxsize=256)  # a process that judges many submissions meets the same videos again
def _of_video(path: Path, _modified_ns: int) -> list[str]:
    import av

    try:
        pictures = [_jpeg(frame) for frame in _key_frames(path)]
        if len(pictures) == 1:
            pictures = [_jpeg(frame) for frame in _spread_frames(path)] or pictures
    except (av.FFmpegError, OSError, ValueError, IndexError):  # a broken video has no picture; its row has a loss
        return []
    return [
        f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for jpeg in pictures if 0 < len(jpeg) <= MOST_BYTES
    ]


def _key_frames(path: Path) -> "Iterator[VideoFrame]":
    """The key frames at or before PLACES, each once. Only they are decoded, which is fast."""
    import av

    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > MOST_FRAME_PIXELS:
            return
        stream.codec_context.skip_frame = "NONKEY"
        seen: set[int | None] = set()
        for place in PLACES:
            if container.duration:
                container.seek(int(container.duration * place))
            frame = next(container.decode(stream), None)
            if frame is not None and frame.pts not in seen:
                seen.add(frame.pts)
                yield frame


def _spread_frames(path: Path) -> "Iterator[VideoFrame]":
    """The frames at PLACES of a video with at most MOST_PIXELS; none of a larger one."""
    import av

    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        if 0 < stream.frames * stream.width * stream.height <= MOST_PIXELS:
            wanted = {int(stream.frames * place) for place in PLACES}
            yield from (frame for at, frame in enumerate(container.decode(stream)) if at in wanted)


def _jpeg(frame: "VideoFrame") -> bytes:
    from av.codec.context import CodecContext

    width = min(max(2 * round(frame.width * HEIGHT / frame.height / 2), 2), WIDEST)
    encoder = CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, HEIGHT, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qmin": "6", "qmax": "6"}
    small = frame.reformat(width, HEIGHT, "yuvj420p")
    small.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])
