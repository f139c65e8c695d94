"""Evenly spaced frames of a video, each exactly as the decoder would give it, for less than decoding them all costs.

The compressed packets are read once, without decoding; then the wanted frames are known by their times. Every packet
goes to the decoder in order, for seeking costs many times more. But frames that nobody wants and that no other frame
is built upon ("non-reference" frames, half of a clip of the challenge) are left out, and what is wanted still comes
out bit for bit the same. Only wanted frames are converted: a small picture to find faces in, and a box at full
resolution where asked. A fast mode, for who asks for it, gives other frames: reference frames of the beginning.

One decoder thread a video and one video a core: `in_order` runs a function so, and never runs far ahead of its reader.
This file is the same, byte for byte, in every baseline that reads video with it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter

MAX_FRAMES = 900  # 30 s; of a longer video only the beginning is read
MAX_BYTES = 64 << 20  # of compressed video, kept in memory; a clip of the challenge has 2 to 10 MB
FAST_PART = 3  # the fast mode reads the first of so many equal parts of a video
MIN_SIDE = 64  # pixels, of a video
SMALL_SIDE = 640  # pixels, longer side of the small picture: quick to search, and a face of this challenge has 50
SKIPPING = ("h264", "hevc", "mpeg4")  # decoders that can leave a frame out; AV1's loses wanted ones with it
PLANAR = ("yuv420p", "yuvj420p")  # formats that are cut without converting the whole frame; others are converted first

Box = tuple[int, int, int, int]  # left, top, width, height; pixels of the upright picture at full resolution
Result = TypeVar("Result")


class UnusableError(Exception):
    """A video without a prediction; the text is a short reason code."""


@dataclass(frozen=True)
class Still:
    """One frame, upright. `small_bgr`: (height, width, 3) uint8; `scale`: full-resolution pixels for one of its."""

    index: int  # in the order shown, from 0
    small_bgr: np.ndarray
    scale: float
    frame: av.VideoFrame  # as stored, planar 4:2:0
    turns: int  # quarter turns counter-clockwise from stored to upright: the file's rotation flag

    def turned(self, turns: int) -> "Still":
        """The same still as if its upright picture were turned by so many quarters counter-clockwise."""
        small = np.ascontiguousarray(np.rot90(self.small_bgr, turns))
        return replace(self, small_bgr=small, turns=(self.turns + turns) % 4) if turns else self

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels, without a last odd column or row."""
        width, height = self.frame.width // 2 * 2, self.frame.height // 2 * 2
        return (height, width) if self.turns % 2 else (width, height)

    def planes(self, box: Box) -> list[np.ndarray]:
        """The decoder's own brightness, blue and red differences inside `box`, uint8, nothing resized.

        (height, width), and half of that for the colours. Sides of the box are rounded down to even ones.
        """
        left, top, width, height = whole = self._stored(box)
        half = (left // 2, top // 2, width // 2, height // 2)
        parts = zip(self.frame.planes, (whole, half, half), strict=True)
        return [np.rot90(_cut(plane, part), self.turns) for plane, part in parts]

    def rgb(self, box: Box, side: int | None = None) -> np.ndarray:
        """(height, width, 3) uint8: the colours inside `box`; resized to `side` x `side` if given."""
        planes = self.planes(box)
        height, width = planes[0].shape
        flat = np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width)
        cut = av.VideoFrame.from_ndarray(flat, format=self.frame.format.name)
        cut.colorspace, cut.color_range = self.frame.colorspace, self.frame.color_range
        if side is not None:
            scaler = "AREA" if side < width else "BICUBIC"
            cut = cut.reformat(width=side, height=side, format="rgb24", interpolation=scaler)
        return cut.to_ndarray(format="rgb24")

    def _stored(self, box: Box) -> Box:
        """`box` in the frame as stored, within it, on even pixels: colours have half the resolution."""
        left, top, width, height = box
        (across, down), turns = self.size, self.turns
        for _ in range(turns):  # undo one quarter turn
            left, top, width, height = down - (top + height), left, height, width
            across, down = down, across
        left, width = _within(left, width, across)
        top, height = _within(top, height, down)
        return left, top, width, height


def _within(start: int, length: int, side: int) -> tuple[int, int]:
    """Start and length, even, at least 2 long, inside 0 to `side`."""
    start = min(max(start, 0), side - 2) // 2 * 2
    return start, max(min(length, side - start) // 2 * 2, 2)


def _cut(plane: av.video.plane.VideoPlane, box: Box) -> np.ndarray:
    left, top, width, height = box
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[top : top + height, left : left + width]


# ---------------------------------------------------------------------------------------------------- reading a video


def stills(path: Path, count: int = 32, small_side: int = SMALL_SIDE, *, fast: bool = False) -> Iterator[Still]:
    """`count` evenly spaced frames in order, or all of a shorter video; what is broken is passed over.

    By number, not by time: a frame rate that varies does not matter. A frame holds 3 MB at 1080p: use it, let it go.
    `fast`: spread over the first third only, and only frames that others are built upon: perhaps fewer.
    Raises UnusableError: missing, unreadable, no-video-stream, no-frames, too-small.
    """
    given = 0
    try:
        with av.open(path, metadata_errors="ignore") as container:
            stream = container.streams.best("video")  # not a cover picture
            if stream is None:
                raise UnusableError("no-video-stream")
            if stream.codec_context is None:  # a kind of video that this build cannot decode, or a broken index
                raise UnusableError("unreadable")
            stream.thread_count = 1  # one video a core is quicker than one video on all cores
            packets = _packets(container, stream)
            small = VideoReformatter()  # keeps its tables from frame to frame
            for index, frame in (_early if fast else _wanted)(stream.codec_context, packets, count):
                yield _still(index, frame, small, small_side)
                given += 1
    except FileNotFoundError:
        raise UnusableError("missing") from None
    except (av.FFmpegError, OSError) as error:
        raise UnusableError("unreadable") from error
    if not given:
        raise UnusableError("no-frames")


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> list[av.Packet]:
    """The compressed frames in decoding order, without decoding. A file that breaks off is used up to there."""
    packets: list[av.Packet] = []
    size = 0
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            packets.append(packet)
            size += packet.size
            if len(packets) == MAX_FRAMES or size > MAX_BYTES:
                break
    except av.FFmpegError:
        if not packets:
            raise
    return packets


def _wanted(decoder: av.VideoCodecContext, packets: list[av.Packet], count: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, frame) of the wanted ones; ends after the last."""
    times = _times(packets)
    numbers = _spread(len(times), count)
    exact = _tell_apart(times)  # else frames are told apart by their order alone
    shown = sorted(times) if exact else []
    wanted = {shown[number] if exact else number: number for number in numbers}
    skips = exact and decoder.name in SKIPPING
    seen = 0
    for packet in [*packets, None]:  # None: give out what is held back
        if skips:
            decoder.skip_frame = "NONREF" if packet is not None and packet.pts not in wanted else "DEFAULT"
        for frame in _decoded(decoder, packet):
            number = wanted.pop(frame.pts if exact else seen, None)
            seen += 1
            if number is not None:
                yield number, frame
        if not wanted:
            return


def _early(decoder: av.VideoCodecContext, packets: list[av.Packet], count: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """As _wanted, in the fast mode: of the beginning, for each wanted one the next that others are built upon."""
    times = _times(packets)
    packets = _beginning(packets, max(count, len(times) // FAST_PART))
    if not _tell_apart(times):
        yield from _wanted(decoder, packets, count)
        return
    number_of = {time: number for number, time in enumerate(sorted(times))}
    numbers = _spread(len(_times(packets)), count)
    if decoder.name in SKIPPING:
        decoder.skip_frame = "NONREF"
    for packet in [*packets, None]:
        for frame in _decoded(decoder, packet):
            number = number_of.get(frame.pts)
            if number is not None and numbers and number >= numbers[0]:
                yield number, frame
                numbers = [later for later in numbers if later > number]


def _beginning(packets: list[av.Packet], count: int) -> list[av.Packet]:
    """Up to the `count`th that is shown, or all of fewer; the decoder needs those that an edit list hides, too."""
    shown = [place for place, packet in enumerate(packets, 1) if not packet.is_discard]
    return packets[: shown[count - 1]] if count <= len(shown) else packets


def _times(packets: list[av.Packet]) -> list[int | None]:
    """When each frame is shown, in decoding order; without those that an edit list hides."""
    return [packet.pts for packet in packets if not packet.is_discard]


def _tell_apart(times: list[int | None]) -> bool:
    return None not in times and len(set(times)) == len(times)


def _spread(total: int, count: int) -> list[int]:
    """`count` numbers below `total`, evenly spaced, or all of fewer."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _decoded(decoder: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
    try:
        return decoder.decode(packet)
    except av.FFmpegError:
        return []  # a broken packet; the next may be whole


def _still(index: int, frame: av.VideoFrame, small: VideoReformatter, small_side: int) -> Still:
    if min(frame.width, frame.height) < MIN_SIDE:
        raise UnusableError("too-small")
    scale = max(frame.width, frame.height) / small_side  # a tiny video is enlarged: its faces are found so
    width, height = round(frame.width / scale), round(frame.height / scale)
    picture = small.reformat(frame, width=width, height=height, format="bgr24", interpolation="AREA").to_ndarray()
    turns = round(frame.rotation / 90) % 4
    if frame.format.name not in PLANAR:
        frame = frame.reformat(format="yuv420p")
    return Still(index, np.ascontiguousarray(np.rot90(picture, turns)), scale, frame, turns)


# --------------------------------------------------------------------------------------------------------- many videos


def in_order(work: Callable[[Path], Result], paths: Iterable[Path]) -> Iterator[Result | UnusableError]:
    """What `work` makes of each path, or the reason why it cannot, in the order of `paths`.

    A thread a core. At most two results a core wait to be taken: a slow reader slows the decoders, memory stays flat.
    """

    def attempt(path: Path) -> Result | UnusableError:
        try:
            return work(path)
        except UnusableError as reason:
            return reason

    pool = ThreadPoolExecutor(cores())
    waiting: deque[Future[Result | UnusableError]] = deque()
    try:
        for path in paths:
            waiting.append(pool.submit(attempt, path))
            if len(waiting) > 2 * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
