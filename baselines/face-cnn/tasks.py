"""One video as a task that any process on any machine can do: cut its faces out, leave them in a file."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shards
from crops import crops_of
from frames import UnusableError

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Task:
    """A video to cut faces out of, the folder they go to, and what metadata.json says of it (label 1 FAKE, 0 REAL)."""

    path: Path
    faces: Path
    label: int | None
    original: str | None
    fast: bool = False  # as for `stills` of frames.py

    def row(self, **of_crop: object) -> dict[str, object]:
        """A row for shards.SCHEMA."""
        return {"video": self.path.name, "label": self.label, "original": self.original, **of_crop}


def attempt(task: Task) -> str:
    """Cut the faces out of one video and leave them in FACES/loose; why there are none, or an empty text."""
    done = shards.loose_file(task.faces, task.path.name)
    if done.exists():  # Dask asks again where a worker died before it could say so
        return shards.reason_of(done)
    note(task, "begin")
    reason = ""
    try:
        rows = [
            task.row(track=track, frame=crop.frame, score=crop.score, points=crop.points.ravel(), jpeg=jpeg(crop.rgb))
            for track, crops in enumerate(crops_of(task.path, fast=task.fast))
            for crop in crops
        ]
    except UnusableError as fault:
        reason = str(fault)
        rows = [task.row(reason=reason)]
    shards.replace_with(done, shards.table_of(rows))
    note(task, "end")
    return reason


def jpeg(rgb: np.ndarray) -> bytes:
    """A JPEG file of (h, w, 3) uint8."""
    whole, content = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not whole:
        raise ValueError(f"a crop of shape {rgb.shape} cannot be a JPEG file")
    return content.tobytes()


def from_jpeg(content: bytes) -> np.ndarray:
    """(h, w, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def note(task: Task, event: str) -> None:
    """A line in this worker's own log: time, event, processor seconds so far, video.

    Who blames a video for a worker's death must know which had begun.
    """
    path = task.faces / "log" / f"{platform.node()}-{os.getpid()}.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.time():.3f},{event},{time.process_time():.3f},{task.path.name}\n")
