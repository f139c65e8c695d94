"""Raw material for hard inputs: decode clips, encode frames in unusual ways, and edit the bytes of an MP4."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import av
import numpy as np

FRAMES = 48  # taken from a clip: enough for any detector, quick to encode
LONG_SIDE = 640  # pixels; larger clips are scaled down, so that encoding stays quick
RATE = Fraction(30000, 1001)  # most clips of the challenge
AUDIO_HZ = 44100
AUDIO_FRAME = 1024  # samples in a frame of AAC
ROTATION_90 = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a track's display matrix, 16.16 and 2.30 fixed point
MATRIX_AT = 44  # bytes from the name of a `tkhd` box (version 0) to its matrix; 36 later come width and height


@dataclass(frozen=True)
class Footage:
    """The frames of two clips, and a seed for random bytes."""

    first: list[av.VideoFrame]  # yuv420p, all of one size
    second: list[av.VideoFrame]  # of another person, where there are two clips
    seed: int

    @cached_property
    def ordinary(self) -> bytes:
        """An MP4 like those of the challenge: H.264, AAC, index first."""
        return encode(self.first)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first clip's frames."""
        return self.first[0].width, self.first[0].height


def read_footage(clips: list[Path], seed: int) -> Footage:
    """Decode the first frames of the first two clips. Raises av.FFmpegError for a clip that cannot be read."""
    first = read_frames(clips[0])
    return Footage(first, read_frames(clips[1]) if len(clips) > 1 else first, seed)


def read_frames(path: Path) -> list[av.VideoFrame]:
    """The first frames of a clip as yuv420p, with even sides of at most LONG_SIDE pixels."""
    frames: list[av.VideoFrame] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        for frame in container.decode(container.streams.video[0]):
            scale = min(1.0, LONG_SIDE / max(frame.width, frame.height))
            frames.append(resized(frame, round(frame.width * scale) // 2 * 2, round(frame.height * scale) // 2 * 2))
            if len(frames) == FRAMES:
                break
    return frames


def resized(frame: av.VideoFrame, width: int, height: int, pixels: str = "yuv420p") -> av.VideoFrame:
    """The frame at another size and in another pixel format."""
    return frame.reformat(width=width, height=height, format=pixels)


def encode(
    frames: list[av.VideoFrame],
    *,
    rate: Fraction | int = RATE,
    times_ms: list[int] | None = None,
    audio: bool = True,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> bytes:
    """An MP4 with the index first. `times_ms`: when each frame is shown; else frames follow each other at `rate`."""
    tick = 1 / Fraction(rate) if times_ms is None else Fraction(1, 1000)

    def fill(container: av.container.OutputContainer) -> None:
        video = cast(av.VideoStream, container.add_stream(codec, rate=rate))
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        video.options = {"preset": "ultrafast", "crf": "30", **(options or {})}
        video.codec_context.thread_count = 1  # the same bytes on every machine
        video.codec_context.time_base = tick
        sound = container.add_stream("aac", rate=AUDIO_HZ, layout="mono") if audio else None
        for number, frame in enumerate(frames):
            frame.time_base, frame.pts = tick, number if times_ms is None else times_ms[number]
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            _add_audio(container, sound, float(len(frames) / rate))

    return _mp4(fill)


def only_audio(seconds: float | Fraction) -> bytes:
    """An MP4 with an audio track and nothing else."""
    return _mp4(lambda box: _add_audio(box, box.add_stream("aac", rate=AUDIO_HZ, layout="mono"), float(seconds)))


def _mp4(fill: Callable[[av.container.OutputContainer], None]) -> bytes:
    """The bytes of an MP4 written by `fill`; in a real file, because moving the index to the front reopens it."""
    with TemporaryDirectory(prefix="dfdc-footage-") as folder:
        path = Path(folder, "made.mp4")
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            fill(container)
        return path.read_bytes()


def _add_audio(container: av.container.OutputContainer, sound: av.AudioStream, seconds: float) -> None:
    """A quiet tone of 120 Hz."""
    for at in range(0, int(seconds * AUDIO_HZ), AUDIO_FRAME):
        tone = 0.05 * np.sin(2 * np.pi * 120 * np.arange(at, at + AUDIO_FRAME, dtype=np.float32) / AUDIO_HZ)
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, at, Fraction(1, AUDIO_HZ)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def black(width: int, height: int) -> av.VideoFrame:
    """A black frame."""
    return av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24").reformat(format="yuv420p")


def landscape(width: int, height: int, number: int) -> av.VideoFrame:
    """Frame `number` of a landscape without people: moving hills under a sky, with some grain."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))  # (height, width)
    hills = height * (0.6 + 0.1 * np.sin((across + 2 * number) / 60) + 0.05 * np.sin((across + 2 * number) / 17))
    ground = (down > hills)[..., None]
    grain = np.random.default_rng(number).normal(0, 4, (height, width, 1))
    image = np.where(ground, (70, 110, 50), (140, 170, 220)) + grain  # (height, width, 3)
    return av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24").reformat(
        format="yuv420p"
    )


def side_by_side(left: av.VideoFrame, right: av.VideoFrame) -> av.VideoFrame:
    """The middle halves of two frames side by side, at the size of `left`."""
    right = resized(right, left.width, left.height)
    quarter = left.width // 4
    images = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in (left, right)]  # (height, width, 3)
    joined = np.concatenate([image[:, quarter : quarter + left.width // 2] for image in images], axis=1)
    return resized(av.VideoFrame.from_ndarray(joined, format="rgb24"), left.width, left.height)


def top_boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    """The top-level boxes of an MP4: name, and the bytes of the whole box."""
    found, at = [], 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at : at + length]))
        at += length
    return found


def rotated(content: bytes) -> bytes:
    """The same MP4, to be shown rotated by 90 degrees: only the display matrix changes."""
    at = content.index(b"tkhd")
    while not any(content[at + MATRIX_AT + 36 : at + MATRIX_AT + 44]):  # a track without a size is audio
        at = content.index(b"tkhd", at + 4)
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in ROTATION_90)
    return content[: at + MATRIX_AT] + matrix + content[at + MATRIX_AT + len(matrix) :]
