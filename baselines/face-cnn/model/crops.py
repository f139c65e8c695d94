"""Crops of the faces of a video, the same for training and prediction."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faces import Face, Track, track_faces
from frames import Frame

FRAMES = 16  # evenly spaced over the video
SIDE = 224  # pixels, of a stored crop
MARGIN = 0.25  # of the face's longer side, added on each side: a blend's edge is outside the face box
MAIN_SHARE = 0.5  # faces with at least this share of the main face's weight are used, too


@dataclass(frozen=True)
class Crop:
    """A face in one frame. rgb: (SIDE, SIDE, 3) uint8; landmarks: (5, 2) pixels of the crop; score: 0 to 1."""

    frame: int
    rgb: np.ndarray
    landmarks: np.ndarray
    score: float


def crop_face(frame: Frame, face: Face) -> Crop:
    """Crop one face at full resolution."""
    left, top, width, _ = box = face.square(frame.size, MARGIN)
    landmarks = (face.landmarks - (left, top)) * (SIDE / width)
    return Crop(frame.index, frame.rgb(box, SIDE), landmarks.astype(np.float32), face.score)


def crops_of(path: Path, *, fast: bool = False) -> list[list[Crop]]:
    """The crops of each important face, the main face first; `fast` as for `sample_frames`.

    Raises UnusableVideoError.
    """
    tracks: list[Track[Crop]] = track_faces(path, crop_face, FRAMES, fast=fast)
    return [track.measured for track in tracks if track.weight >= MAIN_SHARE * tracks[0].weight]
