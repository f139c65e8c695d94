"""What a video file's container says, whether the file is whole, and whether it decodes to the end."""

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

CUT_OFF, EMPTY, UNREADABLE, NO_VIDEO, DAMAGED = "cut-off", "empty", "unreadable", "no-video", "damaged"
NO_ACCESS = "no-access"  # the machine's fault, not the file's
LONG = 1  # the size field of a box whose size follows in 64 bits
TO_THE_END = 0
FEWEST_DECODED = 0.9  # of the promised frames: an edit list may hide a few at the beginning


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What can be known of a video without looking at a picture. Ratios are text such as "16/9"; "" is "not said"."""

    width: int  # pixels
    height: int
    frames: int  # as the container counts them; 0: it does not
    duration_s: float
    frame_rate: str
    display_aspect_ratio: str
    audio_time_base: str  # "": there is no sound


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file cannot be used: a code, and what was seen."""

    code: str
    seen: str


class BadVideoError(Exception):
    """A file that cannot be used. Not a KitError: one broken clip is a finding, never the end of a command."""

    def __init__(self, code: str, seen: str) -> None:
        super().__init__(seen)
        self.fault = Fault(code=code, seen=seen)


def read_header(path: Path, *, deep: bool = False) -> Header:
    """Read the header of `path`; with `deep`, decode every frame of picture and sound, too. Raises BadVideoError.

    One thread and no picture kept: read several files at a time, the decoder lets go of the interpreter.
    """
    import av

    try:
        with path.open("rb") as file:
            check_whole(file)
        with av.open(path, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise BadVideoError(NO_VIDEO, "no video stream")
            if container.streams.video[0].codec_context is None:
                raise BadVideoError(UNREADABLE, "there is no decoder for its video stream")
            header = _header(container)
            if deep:
                _decode(container)
            return header
    except av.FFmpegError as error:  # some are an OSError, too
        raise BadVideoError(UNREADABLE, f"the decoder says: {error.strerror}") from error
    except OSError as error:
        raise BadVideoError(NO_ACCESS, error.strerror or type(error).__name__) from error


def check_whole(file: BinaryIO) -> None:
    """Follow the boxes of an MP4 file: they end where the file does. Raises BadVideoError.

    A file whose index comes first opens without a complaint however much of its end is missing. What is not made of
    boxes at all is left to the decoder to judge.
    """
    size_bytes = file.seek(0, 2)
    if not size_bytes:
        raise BadVideoError(EMPTY, "0 bytes")
    at = 0
    while at < size_bytes:
        file.seek(at)
        head = file.read(16)
        box_bytes = int.from_bytes(head[:4])
        if not head[4:8].isalnum() and at == 0:
            return
        if box_bytes == TO_THE_END:
            return
        if box_bytes == LONG:
            box_bytes = int.from_bytes(head[8:])
        at += max(box_bytes, 8)
    if at > size_bytes:
        raise BadVideoError(CUT_OFF, f"{size_bytes:,} bytes, where its boxes need {at:,}")


def _header(container: Any) -> Header:
    video = container.streams.video[0]
    sound = container.streams.audio[0] if container.streams.audio else None
    return Header(
        width=video.width,
        height=video.height,
        frames=video.frames,
        duration_s=float(container.duration or 0) / 1e6,
        frame_rate=_ratio(video.average_rate),
        display_aspect_ratio=_ratio(video.display_aspect_ratio),
        audio_time_base=_ratio(sound.time_base) if sound else "",
    )


def _decode(container: Any) -> None:
    """Every frame; decoders hide small damage unless they are told not to."""
    import av

    streams = [container.streams.video[0], *container.streams.audio[:1]]
    for stream in streams:
        stream.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
    promised, pictures = streams[0].frames, 0
    try:
        for packet in container.demux(streams):
            pictures += len(packet.decode()) * (packet.stream.type == "video")
    except av.FFmpegError as error:
        raise BadVideoError(
            DAMAGED, f"after {pictures} of {promised} frames the decoder says: {error.strerror}"
        ) from error
    if pictures < FEWEST_DECODED * promised or not pictures:
        raise BadVideoError(DAMAGED, f"{pictures} frames, where the index promises {promised}")


def _ratio(value: Fraction | None) -> str:
    return f"{value.numerator}/{value.denominator}" if value else ""
