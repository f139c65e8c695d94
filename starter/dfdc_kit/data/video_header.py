"""Read a video file's container header, check that the file is complete, and optionally decode it to the end."""

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

CUT_OFF, EMPTY, UNREADABLE, NO_VIDEO, DAMAGED = "cut-off", "empty", "unreadable", "no-video", "damaged"
NO_ACCESS = "no-access"  # a fault of this machine, not of the file
SIZE_IN_64_BITS = 1  # the size field of a box whose size follows in 64 bits
TO_THE_END = 0
MIN_DECODED = 0.9  # fraction of the frames in the index: an edit list may hide a few at the beginning


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the container says about a video. Ratios are text such as "16/9"; "" means not stated."""

    width: int  # pixels
    height: int
    frames: int  # as stated by the container; 0: not stated
    duration_s: float
    frame_rate: str
    display_aspect_ratio: str
    audio_time_base: str  # "": no audio


class FileFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file cannot be used: a code, and what was seen."""

    code: str
    seen: str


class BadVideoError(Exception):
    """A file that cannot be used. Not a KitError: one broken clip is a finding, never the end of a command."""

    def __init__(self, code: str, seen: str) -> None:
        super().__init__(seen)
        self.fault = FileFault(code=code, seen=seen)


def read_header(path: Path, *, deep: bool = False, min_decoded: float = MIN_DECODED) -> Header:
    """Read the header of `path`; with `deep`, decode every video and audio frame, too. Raises BadVideoError.

    Uses one thread and keeps no picture. The decoder releases the GIL, so several files can be read at a time.
    """
    import av

    try:
        with path.open("rb") as file:
            check_complete(file)
        with av.open(path, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise BadVideoError(NO_VIDEO, "no video stream")
            if container.streams.video[0].codec_context is None:
                raise BadVideoError(UNREADABLE, "no decoder for its video stream")
            header = _header(container)
            if deep:
                _decode(container, min_decoded)
            return header
    except av.FFmpegError as error:  # some are an OSError, too
        raise BadVideoError(UNREADABLE, f"the decoder reports: {error.strerror}") from error
    except OSError as error:
        raise BadVideoError(NO_ACCESS, error.strerror or type(error).__name__) from error


def check_complete(file: BinaryIO) -> None:
    """Check that the boxes of an MP4 file end where the file does. Raises BadVideoError if the file is cut off.

    A file whose index comes first opens without an error however much of its end is missing. A file without boxes is
    left to the decoder.
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
        if box_bytes == SIZE_IN_64_BITS:
            box_bytes = int.from_bytes(head[8:])
        at += max(box_bytes, 8)
    if at > size_bytes:
        raise BadVideoError(CUT_OFF, f"{size_bytes:,} bytes, expected {at:,}")


def _header(container: Any) -> Header:
    video = container.streams.video[0]
    audio = container.streams.audio[0] if container.streams.audio else None
    return Header(
        width=video.width,
        height=video.height,
        frames=video.frames,
        duration_s=float(container.duration or 0) / 1e6,
        frame_rate=_ratio(video.average_rate),
        display_aspect_ratio=_ratio(video.display_aspect_ratio),
        audio_time_base=_ratio(audio.time_base) if audio else "",
    )


def _decode(container: Any, min_decoded: float) -> None:
    """Decode every frame, with error detection on: by default decoders hide small damage."""
    import av

    streams = [container.streams.video[0], *container.streams.audio[:1]]
    for stream in streams:
        stream.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
    indexed, decoded = streams[0].frames, 0
    try:
        for packet in container.demux(streams):
            decoded += len(packet.decode()) * (packet.stream.type == "video")
    except av.FFmpegError as error:
        raise BadVideoError(
            DAMAGED, f"after {decoded} of {indexed} frames the decoder reports: {error.strerror}"
        ) from error
    if decoded < min_decoded * indexed or not decoded:
        raise BadVideoError(DAMAGED, f"{decoded} frames decoded, {indexed} in the index")


def _ratio(value: Fraction | None) -> str:
    return f"{value.numerator}/{value.denominator}" if value else ""
