"""Evenly spaced frames of a video, bit for bit as the decoder gives them, for less than the cost of decoding them all.

The compressed packets are read once without decoding; their times say which frames to keep. Every packet then goes to
the decoder in order, because seeking costs several times more. Frames that are neither wanted nor used as a reference
("non-reference" frames, half of a DFDC clip) are skipped; the wanted frames come out bit for bit the same. Only wanted
frames are converted: to a small picture for face detection, and to a full-resolution crop where one is asked for. The
optional fast mode returns other frames: reference frames from the beginning of the video.

One decoder thread per video and one video per core: `map_in_order` runs a function that way, with bounded read-ahead.
Copied from baselines/_shared by `make baselines-sync`: change it there, not in a bundled baseline.
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

MAX_FRAMES = 900  # 30 s; only the beginning of a longer video is read
MAX_BYTES = 64 << 20  # of compressed video kept in memory; a DFDC clip has 2 to 10 MB
FAST_FRACTION = 3  # the fast mode reads the first 1/3 of a video
MIN_SIDE = 64  # pixels, shorter side of a video
SMALL_SIDE = 640  # pixels, longer side of the small picture: quick to search; faces in DFDC are at least 50 wide in it
SKIPPING = ("h264", "hevc", "mpeg4")  # decoders that skip frames correctly; AV1's also loses wanted frames
PLANAR = ("yuv420p", "yuvj420p")  # formats that are cropped without converting the whole frame; others are converted

Box = tuple[int, int, int, int]  # left, top, width, height; pixels of the upright picture at full resolution
Result = TypeVar("Result")


class UnusableVideoError(Exception):
    """A video that gets the fallback prediction; the text is a short reason code."""


@dataclass(frozen=True)
class Frame:
    """One frame, upright. `small_bgr`: (height, width, 3) uint8; `scale`: full-resolution pixels per small pixel."""

    index: int  # in display order, from 0
    small_bgr: np.ndarray
    scale: float
    decoded: av.VideoFrame  # as stored, planar 4:2:0
    quarter_turns: int  # counter-clockwise, from stored to upright: the file's rotation flag

    def rotated(self, quarter_turns: int) -> "Frame":
        """The same frame with its upright picture rotated counter-clockwise by that many quarter turns."""
        if not quarter_turns:
            return self
        small = np.ascontiguousarray(np.rot90(self.small_bgr, quarter_turns))
        return replace(self, small_bgr=small, quarter_turns=(self.quarter_turns + quarter_turns) % 4)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels, rounded down to even numbers."""
        width, height = self.decoded.width // 2 * 2, self.decoded.height // 2 * 2
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def planes(self, box: Box) -> list[np.ndarray]:
        """The decoder's own Y, U and V planes inside `box`, uint8, without resampling.

        Y is (height, width), U and V half of that. The sides of the box are rounded down to even numbers.
        """
        left, top, width, height = full = self._stored(box)
        half = (left // 2, top // 2, width // 2, height // 2)
        boxes = zip(self.decoded.planes, (full, half, half), strict=True)
        return [np.rot90(_crop(plane, plane_box), self.quarter_turns) for plane, plane_box in boxes]

    def rgb(self, box: Box, side: int | None = None) -> np.ndarray:
        """The colours inside `box`, (height, width, 3) uint8; resized to (side, side, 3) if `side` is given."""
        planes = self.planes(box)
        height, width = planes[0].shape
        flat = np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width)
        crop = av.VideoFrame.from_ndarray(flat, format=self.decoded.format.name)
        crop.colorspace, crop.color_range = self.decoded.colorspace, self.decoded.color_range
        if side is not None:
            interpolation = "AREA" if side < width else "BICUBIC"
            crop = crop.reformat(width=side, height=side, format="rgb24", interpolation=interpolation)
        return crop.to_ndarray(format="rgb24")

    def _stored(self, box: Box) -> Box:
        """`box` in the stored frame, inside it, on even pixels because colour has half the resolution."""
        left, top, width, height = box
        (frame_width, frame_height), turns = self.size, self.quarter_turns
        for _ in range(turns):  # undo one quarter turn
            left, top, width, height = frame_height - (top + height), left, height, width
            frame_width, frame_height = frame_height, frame_width
        left, width = _clamp(left, width, frame_width)
        top, height = _clamp(top, height, frame_height)
        return left, top, width, height


def _clamp(start: int, length: int, limit: int) -> tuple[int, int]:
    """Start and length, both even, length at least 2, inside 0 to `limit`."""
    start = min(max(start, 0), limit - 2) // 2 * 2
    return start, max(min(length, limit - start) // 2 * 2, 2)


def _crop(plane: av.video.plane.VideoPlane, box: Box) -> np.ndarray:
    left, top, width, height = box
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[top : top + height, left : left + width]


# ---------------------------------------------------------------------------------------------------- reading a video


def sample_frames(path: Path, count: int = 32, small_side: int = SMALL_SIDE, *, fast: bool = False) -> Iterator[Frame]:
    """`count` evenly spaced frames in order, or all frames of a shorter video; damaged frames are skipped.

    Spaced by frame number, so a variable frame rate does not matter. A frame holds 3 MB at 1080p: do not keep it.
    `fast`: only reference frames of the first third, perhaps fewer than `count`.
    Raises UnusableVideoError: missing, unreadable, no-video-stream, no-frames, too-small.
    """
    found = 0
    try:
        with av.open(path, metadata_errors="ignore") as container:
            stream = container.streams.best("video")  # not the cover picture
            if stream is None:
                raise UnusableVideoError("no-video-stream")
            if stream.codec_context is None:  # this build has no decoder for it, or the index is broken
                raise UnusableVideoError("unreadable")
            stream.thread_count = 1  # one video per core is faster than one video on all cores
            packets = _read_packets(container, stream)
            reformatter = VideoReformatter()  # reuses its tables from frame to frame
            decode = _decode_fast if fast else _decode_selected
            for index, decoded in decode(stream.codec_context, packets, count):
                yield _frame(index, decoded, reformatter, small_side)
                found += 1
    except FileNotFoundError:
        raise UnusableVideoError("missing") from None
    except (av.FFmpegError, OSError) as error:
        raise UnusableVideoError("unreadable") from error
    if not found:
        raise UnusableVideoError("no-frames")


def _read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> list[av.Packet]:
    """The compressed frames in decoding order, not decoded. A truncated file is used up to where it ends."""
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


def _decode_selected(
    decoder: av.VideoCodecContext, packets: list[av.Packet], count: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, frame) for `count` evenly spaced frames. Stops after the last one."""
    times = _display_times(packets)
    numbers = _evenly_spaced(len(times), count)
    by_time = _are_unique(times)  # else frames can only be identified by counting them
    in_display_order = sorted(times) if by_time else []
    wanted = {in_display_order[number] if by_time else number: number for number in numbers}
    can_skip = by_time and decoder.name in SKIPPING
    decoded = 0
    for packet in [*packets, None]:  # None flushes the decoder
        if can_skip:
            decoder.skip_frame = "NONREF" if packet is not None and packet.pts not in wanted else "DEFAULT"
        for frame in _decode(decoder, packet):
            number = wanted.pop(frame.pts if by_time else decoded, None)
            decoded += 1
            if number is not None:
                yield number, frame
        if not wanted:
            return


def _decode_fast(
    decoder: av.VideoCodecContext, packets: list[av.Packet], count: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """As `_decode_selected`, for the fast mode: for each wanted frame the next reference frame of the first third."""
    times = _display_times(packets)
    packets = _first_packets(packets, max(count, len(times) // FAST_FRACTION))
    if not _are_unique(times):
        yield from _decode_selected(decoder, packets, count)
        return
    number_of = {time: number for number, time in enumerate(sorted(times))}
    numbers = _evenly_spaced(len(_display_times(packets)), count)
    if decoder.name in SKIPPING:
        decoder.skip_frame = "NONREF"
    for packet in [*packets, None]:
        for frame in _decode(decoder, packet):
            number = number_of.get(frame.pts)
            if number is not None and numbers and number >= numbers[0]:
                yield number, frame
                numbers = [later for later in numbers if later > number]


def _first_packets(packets: list[av.Packet], count: int) -> list[av.Packet]:
    """Up to the `count`th displayed frame; frames hidden by an edit list are kept, the decoder needs them."""
    displayed = [position for position, packet in enumerate(packets, 1) if not packet.is_discard]
    return packets[: displayed[count - 1]] if count <= len(displayed) else packets


def _display_times(packets: list[av.Packet]) -> list[int | None]:
    """Presentation times in decoding order, without frames that an edit list hides."""
    return [packet.pts for packet in packets if not packet.is_discard]


def _are_unique(times: list[int | None]) -> bool:
    return None not in times and len(set(times)) == len(times)


def _evenly_spaced(total: int, count: int) -> list[int]:
    """`count` evenly spaced numbers below `total`; all of them if `total` is smaller."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _decode(decoder: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
    try:
        return decoder.decode(packet)
    except av.FFmpegError:
        return []  # a damaged packet; the next one may be intact


def _frame(index: int, decoded: av.VideoFrame, reformatter: VideoReformatter, small_side: int) -> Frame:
    if min(decoded.width, decoded.height) < MIN_SIDE:
        raise UnusableVideoError("too-small")
    scale = max(decoded.width, decoded.height) / small_side  # a tiny video is enlarged, so that its faces are found
    width, height = round(decoded.width / scale), round(decoded.height / scale)
    small = reformatter.reformat(decoded, width=width, height=height, format="bgr24", interpolation="AREA").to_ndarray()
    turns = round(decoded.rotation / 90) % 4
    if decoded.format.name not in PLANAR:
        decoded = decoded.reformat(format="yuv420p")
    return Frame(index, np.ascontiguousarray(np.rot90(small, turns)), scale, decoded, turns)


# --------------------------------------------------------------------------------------------------------- many videos


def map_in_order(work: Callable[[Path], Result], paths: Iterable[Path]) -> Iterator[Result | UnusableVideoError]:
    """`work(path)` for each path, or the UnusableVideoError it raised, in the order of `paths`.

    One thread per core. At most two results per core wait for the consumer, so memory stays flat when it is slow.
    """

    def attempt(path: Path) -> Result | UnusableVideoError:
        try:
            return work(path)
        except UnusableVideoError as error:
            return error

    pool = ThreadPoolExecutor(cpu_count())
    pending: deque[Future[Result | UnusableVideoError]] = deque()
    try:
        for path in paths:
            pending.append(pool.submit(attempt, path))
            if len(pending) > 2 * cpu_count():
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cpu_count() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
