"""Faces of a video: detected with YuNet in a small picture, tracked from frame to frame, the main face first.

Detection at full size costs ten times as much as at SMALL_SIDE (frames.py) and finds hardly more faces. What the
caller needs of a face is taken at once, at full resolution, by its function `measure`; frames are never kept. Faces
are not aligned or warped to a standard pose: resampling would remove the traces that a detector looks for.

The detector, `face_detection_yunet_2023mar.onnx`, is in the same folder.
Copied from baselines/_shared by `make baselines-sync`: change it there, not in a bundled baseline.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from frames import Box, Frame, UnusableVideoError, sample_frames

MODEL = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
MIN_SCORE = 0.7  # of the detector, 0 to 1
MIN_REPORTED_SCORE = 0.05  # lower scores are reported as 0
MIN_FACE_SIDE = 4  # pixels at full resolution, shorter side
MAX_FACES = 2  # per frame, largest first; smaller ones are background
MAX_MOVE = 1.0  # face widths that a face may move between two sampled frames
MAX_RESIZE = 1.6  # factor by which it may grow or shrink between two sampled frames
MAX_RETRIED = 8  # frames without a face that are searched again in other views
RETRY_SCALES = (1.0, 0.5, 0.25)  # of the small picture: a face that fills it is found when it is smaller

cv2.setNumThreads(1)  # videos are processed in parallel, one per core

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Face:
    """A face in a frame, in pixels of the upright picture at full resolution."""

    left: float
    top: float
    width: float
    height: float
    score: float  # of the detector, 0 to 1
    landmarks: np.ndarray  # (5, 2) x, y: right eye, left eye, nose, right and left mouth corner, as the person has them

    @property
    def centre(self) -> tuple[float, float]:
        """x, y."""
        return self.left + self.width / 2, self.top + self.height / 2

    @property
    def side(self) -> float:
        """Side of the square of the same area."""
        return math.sqrt(self.width * self.height)

    def square(self, picture: tuple[int, int], margin: float) -> Box:
        """A square around the face with `margin` of its longer side added on each side; moved or shrunk to fit.

        picture: (width, height), as `Frame.size`. Position and side are even, as `Frame.rgb` and `Frame.planes` need.
        """
        side = min(round(max(self.width, self.height) * (1 + 2 * margin)), *picture) // 2 * 2
        left, top = (
            min(max(round(centre - side / 2), 0), limit - side) // 2 * 2
            for centre, limit in zip(self.centre, picture, strict=True)
        )
        return left, top, side, side


@dataclass
class Track(Generic[Measured]):
    """One face across the sampled frames of a video; all lists have one entry per frame that shows the face."""

    faces: list[Face] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)  # frame numbers
    measured: list[Measured] = field(default_factory=list)  # what the caller's `measure` returned

    @property
    def weight(self) -> float:
        """Sum of score times size: the main face is large, certain and always there."""
        return sum(face.score * face.side for face in self.faces)

    def distance(self, face: Face) -> float:
        """Distance from the track's last face in face widths; infinite if it cannot be the same face."""
        last = self.faces[-1]
        resize = face.side / last.side
        move = math.dist(face.centre, last.centre) / last.side
        return move if move < MAX_MOVE and 1 / MAX_RESIZE < resize < MAX_RESIZE else math.inf


class View(NamedTuple):
    """How the small picture is transformed before detection."""

    quarter_turns: int = 0  # counter-clockwise
    scale: float = 1.0


def track_faces(
    path: Path, measure: Callable[[Frame, Face], Measured], count: int = 32, *, fast: bool = False
) -> list[Track[Measured]]:
    """The faces of a video, the main one first, in `count` evenly spaced frames; calls `measure` for each face.

    Where most frames show no face, other views are tried: rotated, because rotation flags can be wrong, and smaller,
    because a face that fills the picture has a low score. If most frames show a face then, that view is used.
    `fast` as for `sample_frames`. Raises UnusableVideoError: those of `sample_frames`, and no-face with the best score.
    """
    tracks, without_face, frames_read = _track(path, measure, count, fast, View())
    best_score = 0.0
    if 2 * len(without_face) > frames_read:
        view, best_score = _best_view(without_face[:: -(-len(without_face) // MAX_RETRIED)])
        tracks = (_track(path, measure, count, fast, view)[0] if view else []) or tracks
    if not tracks:
        raise UnusableVideoError(f"no-face (best score {best_score:.2f} below {MIN_SCORE:.2f})")
    return sorted(tracks, key=lambda track: -track.weight)


def _track(
    path: Path, measure: Callable[[Frame, Face], Measured], count: int, fast: bool, view: View
) -> tuple[list[Track[Measured]], list[np.ndarray], int]:
    """Tracks, the small pictures without a face, and the number of frames."""
    tracks: list[Track[Measured]] = []
    without_face: list[np.ndarray] = []
    frames_read = 0
    for frame in sample_frames(path, count, fast=fast):
        frame = frame.rotated(view.quarter_turns)
        frames_read += 1
        faces = detect_faces(frame, view.scale)
        if not faces:
            without_face.append(frame.small_bgr)
        unmatched = list(tracks)
        for face in faces:
            track = min(unmatched, key=lambda track: track.distance(face), default=None)
            if track is None or track.distance(face) == math.inf:
                track = Track()
                tracks.append(track)
            else:
                unmatched.remove(track)
            track.faces.append(face)
            track.indices.append(frame.index)
            track.measured.append(measure(frame, face))
    return tracks, without_face, frames_read


def detect_faces(frame: Frame, scale: float = 1.0) -> list[Face]:
    """The faces of one frame, at most MAX_FACES, largest first; `scale` is applied to the small picture."""
    faces = [
        Face(*np.rint(row[:4] * frame.scale).tolist(), float(row[14]), row[4:14].reshape(5, 2) * frame.scale)
        for row in _detect(frame.small_bgr, scale)
        if row[2:4].min() * frame.scale >= MIN_FACE_SIDE
    ]  # boxes in whole pixels: builds of the detector differ in the fifth digit, predictions must not
    return sorted(faces, key=lambda face: -face.side)[:MAX_FACES]


def _best_view(pictures: list[np.ndarray]) -> tuple[View | None, float]:
    """The first view in which most of `pictures` show a face, if there is one, and the best score so far, 0 to 1."""
    best_score = 0.0
    for scale in RETRY_SCALES:
        with_face = {}
        for turns in (0, 1, 3, 2):
            rotated = [np.ascontiguousarray(np.rot90(picture, turns)) for picture in pictures]
            scores = [float(_detect(picture, scale, MIN_REPORTED_SCORE)[:, 14].max(initial=0.0)) for picture in rotated]
            with_face[turns] = sum(score >= MIN_SCORE for score in scores)
            best_score = max(best_score, *scores)
        best = max(with_face, key=with_face.__getitem__)
        if 2 * with_face[best] > len(pictures):
            return View(best, scale), best_score
    return None, best_score


_thread_local = threading.local()


def _detect(picture_bgr: np.ndarray, scale: float = 1.0, min_score: float = MIN_SCORE) -> np.ndarray:
    """(n, 15) float32: left, top, width, height, five landmarks, score. The detector is not thread-safe."""
    if not hasattr(_thread_local, "detector"):
        _thread_local.detector = cv2.FaceDetectorYN.create(str(MODEL), "", (0, 0))
    if scale != 1:
        picture_bgr = cv2.resize(picture_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = picture_bgr.shape[:2]
    _thread_local.detector.setScoreThreshold(min_score)
    _thread_local.detector.setInputSize((width, height))
    rows = _thread_local.detector.detect(picture_bgr)[1]
    if rows is None:
        return np.zeros((0, 15), np.float32)
    rows[:, :14] /= scale
    return rows
