"""Faces of a video: found in small pictures with YuNet, followed from still to still, the main one first.

Small means SMALL_SIDE of frames.py: at full size the detector costs ten times as much and finds hardly more. What is
wanted of a face is taken at once, at full resolution, by a function `look` of the caller; frames are never kept.
A box is not turned or warped to a standard pose: resampling would wipe out the very traces that are looked for.

The detector, `face_detection_yunet_2023mar.onnx`, travels beside this file. This file is the same, byte for byte, in
every baseline that uses it.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
from frames import Box, Still, UnusableError, stills

MODEL = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
MIN_SCORE = 0.7  # of the detector, 0 to 1
LEAST = 4  # pixels at full resolution, of a face's shorter side
MAX_FACES = 2  # a still, largest first: what comes after is background
REACH = 1.0  # face widths that a face may move between two stills
GROWTH = 1.6  # times that it may become larger or smaller between two stills
BLANKS = 8  # of the stills without a face, if most have none, are searched again turned by quarters

cv2.setNumThreads(1)  # a video a core: threads inside a video would only get into each other's way

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Face:
    """A face in a still, in pixels of the upright picture at full resolution."""

    left: float
    top: float
    width: float
    height: float
    score: float  # of the detector, 0 to 1
    points: (
        np.ndarray
    )  # (5, 2) x, y: right eye, left eye, nose, right and left corner of the mouth, as the person has them

    @property
    def middle(self) -> tuple[float, float]:
        """x, y."""
        return self.left + self.width / 2, self.top + self.height / 2

    @property
    def side(self) -> float:
        """Side of the square of the same area."""
        return math.sqrt(self.width * self.height)

    def square(self, picture: tuple[int, int], margin: float) -> Box:
        """A square about the face, `margin` of its longer side added on each side; moved, or shrunk, into the picture.

        picture: (width, height), as `Still.size`. The square has even sides, as `Still.rgb` and `Still.luma` have.
        """
        side = min(round(max(self.width, self.height) * (1 + 2 * margin)), *picture) // 2 * 2
        left, top = (
            min(max(round(middle - side / 2), 0), room - side) // 2 * 2
            for middle, room in zip(self.middle, picture, strict=True)
        )
        return left, top, side, side


@dataclass
class Track(Generic[Seen]):
    """One face over the stills of a video, and what the caller's `look` made of it each time; all lists (n,)."""

    faces: list[Face] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)  # numbers of the frames
    seen: list[Seen] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Large, sure and there all the time: the main face has the largest."""
        return sum(face.score * face.side for face in self.faces)

    def distance(self, face: Face) -> float:
        """From the last face of the track in face widths; infinite for one that cannot be the same."""
        last = self.faces[-1]
        growth = face.side / last.side
        moved = math.dist(face.middle, last.middle) / last.side
        return moved if moved < REACH and 1 / GROWTH < growth < GROWTH else math.inf


def follow(
    path: Path, look: Callable[[Still, Face], Seen], count: int = 32, *, fast: bool = False
) -> list[Track[Seen]]:
    """The faces of a video, the main one first, from `count` evenly spaced stills; `look` is called for each face.

    Where most stills show no face, but do when turned by quarters, the video is turned: rotation flags can be wrong.
    `fast` as for `stills`. Raises UnusableError: those of `stills`, and no-face.
    """
    tracks, blanks, stills_read = _follow(path, look, count, fast, turns=0)
    if 2 * len(blanks) > stills_read:
        turns = _turns(blanks[:: -(-len(blanks) // BLANKS)])
        tracks = (_follow(path, look, count, fast, turns)[0] if turns else []) or tracks
    if not tracks:
        raise UnusableError("no-face")
    return sorted(tracks, key=lambda track: -track.weight)


def _follow(
    path: Path, look: Callable[[Still, Face], Seen], count: int, fast: bool, turns: int
) -> tuple[list[Track[Seen]], list[np.ndarray], int]:
    """Tracks, the small pictures without a face, and how many stills there were."""
    tracks: list[Track[Seen]] = []
    blanks: list[np.ndarray] = []
    stills_read = 0
    for still in stills(path, count, fast=fast):
        still = still.turned(turns)
        stills_read += 1
        found = find(still)
        if not found:
            blanks.append(still.small_bgr)
        free = list(tracks)
        for face in found:
            track = min(free, key=lambda track: track.distance(face), default=None)
            if track is None or track.distance(face) == math.inf:
                track = Track()
                tracks.append(track)
            else:
                free.remove(track)
            track.faces.append(face)
            track.indices.append(still.index)
            track.seen.append(look(still, face))
    return tracks, blanks, stills_read


def find(still: Still) -> list[Face]:
    """The faces of one still, at most MAX_FACES, largest first."""
    faces = [
        Face(*np.rint(row[:4] * still.scale).tolist(), float(row[14]), row[4:14].reshape(5, 2) * still.scale)
        for row in _detect(still.small_bgr)
        if row[2:4].min() * still.scale >= LEAST
    ]  # in whole pixels: builds of the detector differ in the fifth digit, and what is measured shall not
    return sorted(faces, key=lambda face: -face.side)[:MAX_FACES]


def _turns(pictures: list[np.ndarray]) -> int:
    """Quarter turns counter-clockwise after which most of `pictures` show a face; 0 if there is no such turn."""
    shows = {
        turns: sum(len(_detect(np.ascontiguousarray(np.rot90(picture, turns)))) > 0 for picture in pictures)
        for turns in (1, 3, 2)
    }
    best = max(shows, key=shows.__getitem__)
    return best if 2 * shows[best] > len(pictures) else 0


_of_thread = threading.local()


def _detect(picture_bgr: np.ndarray) -> np.ndarray:
    """(n, 15) float32: left, top, width, height, five points, score. A detector is not made for two threads at once."""
    if not hasattr(_of_thread, "detector"):
        _of_thread.detector = cv2.FaceDetectorYN.create(str(MODEL), "", (0, 0), MIN_SCORE)
    height, width = picture_bgr.shape[:2]
    _of_thread.detector.setInputSize((width, height))
    found = _of_thread.detector.detect(picture_bgr)[1]
    return np.zeros((0, 15), np.float32) if found is None else found
