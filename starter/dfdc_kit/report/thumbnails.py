"""Small pictures of videos for the report page, as JPEG data URIs: key frames, which are found without decoding others.

A short, small video with a single key frame is decoded to show more of it.
"""

import base64
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

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
