"""Footage for hard inputs: frames of a sample clip, encoded again in odd ways, and surgery on the bytes of an MP4."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import av
import numpy as np

FRAMES = 48  # taken from a clip; enough for any detector, quick to encode
LONG_SIDE = 640  # pixels; larger clips are made smaller, so that making stays quick
RATE = Fraction(30000, 1001)  # most clips of the challenge
SOUND_HZ = 44100
SOUND_FRAME = 1024  # samples, as AAC takes them
QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a track's display matrix, 16.16 and 2.30 fixed point
MATRIX_AT = 44  # bytes from the name of a `tkhd` box (version 0) to its matrix; 36 later come width and height


@dataclass(frozen=True)
class Footage:
    """What hard inputs are made of: the frames of two clips, and a seed for what is random."""

    first: list[av.VideoFrame]  # yuv420p, all of one size
    second: list[av.VideoFrame]  # of another person, where there are two clips
    seed: int

    @cached_property
    def ordinary(self) -> bytes:
        """An MP4 as the challenge has them: H.264, AAC, index in front."""
        return encode(self.first)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first clip's frames."""
        return self.first[0].width, self.first[0].height


def read_footage(clips: list[Path], seed: int) -> Footage:
    """Decode the beginnings of the first two clips. Raises av.FFmpegError for a clip that cannot be read."""
    first = read_frames(clips[0])
    return Footage(first, read_frames(clips[1]) if len(clips) > 1 else first, seed)


def read_frames(path: Path) -> list[av.VideoFrame]:
    """The first frames of a clip as yuv420p, with even sides of at most LONG_SIDE pixels."""
    frames: list[av.VideoFrame] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        for frame in container.decode(container.streams.video[0]):
            share = min(1.0, LONG_SIDE / max(frame.width, frame.height))
            frames.append(resized(frame, round(frame.width * share) // 2 * 2, round(frame.height * share) // 2 * 2))
            if len(frames) == FRAMES:
                break
    return frames


def resized(frame: av.VideoFrame, width: int, height: int, pixels: str = "yuv420p") -> av.VideoFrame:
    """The frame at another size and in another pixel format."""
    return frame.reformat(width=width, height=height, format=pixels)


def encode(
    frames: Iterable[av.VideoFrame],
    *,
    rate: Fraction = RATE,
    times_ms: list[int] | None = None,
    sound: bool = True,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> bytes:
    """An MP4 with the index in front. `times_ms`: when each frame is shown; else they follow each other at `rate`."""
    frames = list(frames)
    tick = 1 / rate if times_ms is None else Fraction(1, 1000)

    def fill(container: av.container.OutputContainer) -> None:
        picture = cast(av.VideoStream, container.add_stream(codec, rate=rate))
        picture.width, picture.height, picture.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        picture.options = {"preset": "ultrafast", "crf": "30", **(options or {})}
        picture.codec_context.thread_count = 1  # the same bytes on every machine
        picture.codec_context.time_base = tick
        voice = container.add_stream("aac", rate=SOUND_HZ, layout="mono") if sound else None
        for number, frame in enumerate(frames):
            frame.time_base, frame.pts = tick, number if times_ms is None else times_ms[number]
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if voice is not None:
            _add_sound(container, voice, float(len(frames) / rate))

    return _mp4(fill)


def only_sound(seconds: float) -> bytes:
    """An MP4 with an audio track and nothing else."""
    return _mp4(lambda box: _add_sound(box, box.add_stream("aac", rate=SOUND_HZ, layout="mono"), seconds))


def _mp4(fill: Callable[[av.container.OutputContainer], None]) -> bytes:
    """The bytes of an MP4 that `fill` fills. It needs a real file: moving the index to the front opens it again."""
    with TemporaryDirectory(prefix="dfdc-footage-") as folder:
        path = Path(folder, "made.mp4")
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            fill(container)
        return path.read_bytes()


def _add_sound(container: av.container.OutputContainer, voice: av.AudioStream, seconds: float) -> None:
    """A soft hum."""
    for at in range(0, int(seconds * SOUND_HZ), SOUND_FRAME):
        hum = 0.05 * np.sin(2 * np.pi * 120 * np.arange(at, at + SOUND_FRAME, dtype=np.float32) / SOUND_HZ)
        frame = av.AudioFrame.from_ndarray(hum[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, at, Fraction(1, SOUND_HZ)
        container.mux(voice.encode(frame))
    container.mux(voice.encode(None))


def black(width: int, height: int) -> av.VideoFrame:
    """A black picture."""
    return av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24").reformat(format="yuv420p")


def landscape(width: int, height: int, number: int) -> av.VideoFrame:
    """Hills under a sky, moving a little with `number`, with some grain: a picture with nobody in it."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))  # (height, width)
    hills = height * (0.6 + 0.1 * np.sin((across + 2 * number) / 60) + 0.05 * np.sin((across + 2 * number) / 17))
    ground = (down > hills)[..., None]
    grain = np.random.default_rng(number).normal(0, 4, (height, width, 1))
    picture = np.where(ground, (70, 110, 50), (140, 170, 220)) + grain  # (height, width, 3)
    return av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24").reformat(
        format="yuv420p"
    )


def side_by_side(left: av.VideoFrame, right: av.VideoFrame) -> av.VideoFrame:
    """The middle halves of two pictures beside each other, at the left one's size."""
    right = resized(right, left.width, left.height)
    quarter = left.width // 4
    pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in (left, right)]  # (height, width, 3)
    joined = np.concatenate([picture[:, quarter : quarter + left.width // 2] for picture in pictures], axis=1)
    return resized(av.VideoFrame.from_ndarray(joined, format="rgb24"), left.width, left.height)


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    """The top-level boxes of an MP4: name, and all of its bytes."""
    found, at = [], 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at : at + length]))
        at += length
    return found


def turned(content: bytes) -> bytes:
    """The same MP4, its picture to be shown turned by 90 degrees: only the display matrix changes."""
    at = content.index(b"tkhd")
    while not any(content[at + MATRIX_AT + 36 : at + MATRIX_AT + 44]):  # a track without a size is not the picture
        at = content.index(b"tkhd", at + 4)
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in QUARTER_TURN)
    return content[: at + MATRIX_AT] + matrix + content[at + MATRIX_AT + len(matrix) :]
