"""From a video to crops of its faces, the one way that training and prediction share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faces import Face, Track, follow
from frames import Still

FRAMES = 16  # evenly spaced over the video
SIDE = 224  # pixels, of a crop as it is kept
MARGIN = 0.25  # of the face's longer side, added on each side: blends end outside the face
MAIN_SHARE = 0.5  # a face half as large and steady as the main one is looked at, too


@dataclass(frozen=True)
class Crop:
    """A face in one frame. rgb: (SIDE, SIDE, 3) uint8; points: (5, 2) pixels of the crop; score: 0 to 1."""

    frame: int
    rgb: np.ndarray
    points: np.ndarray
    score: float


def look(still: Still, face: Face) -> Crop:
    """Cut one face out at full resolution."""
    left, top, width, _ = box = face.square(still.size, MARGIN)
    points = (face.points - (left, top)) * (SIDE / width)
    return Crop(still.index, still.rgb(box, SIDE), points.astype(np.float32), face.score)


def crops_of(path: Path, *, fast: bool = False) -> list[list[Crop]]:
    """The crops of each face that matters, the main face first; `fast` as for `stills` of frames.py.

    Raises UnusableError.
    """
    tracks: list[Track[Crop]] = follow(path, look, FRAMES, fast=fast)
    return [track.seen for track in tracks if track.weight >= MAIN_SHARE * tracks[0].weight]
