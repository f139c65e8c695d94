"""Extraction of the faces of one video into a file, as a task for any process on any machine."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import common  # noqa: F401  (puts model/ on sys.path)
import cv2
import numpy as np
import shards
from crops import crops_of
from frames import UnusableVideoError

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Task:
    """A video, the folder for its faces, and its entry in metadata.json (label: 1 FAKE, 0 REAL)."""

    path: Path
    faces: Path
    label: int | None
    original: str | None
    fast: bool = False  # as for `sample_frames`

    def row(self, **values: object) -> dict[str, object]:
        """A row of shards.SCHEMA."""
        return {"video": self.path.name, "label": self.label, "original": self.original, **values}


def extract_faces(task: Task) -> str:
    """Extract the faces of one video into FACES/videos; returns the reason why there are none, or an empty string."""
    done = shards.video_file(task.faces, task.path.name)
    if done.exists():  # Dask repeats a task whose worker died before it could report
        return shards.reason_of(done)
    log(task, "begin")
    reason = ""
    try:
        rows = [
            task.row(
                track=track, frame=crop.frame, score=crop.score, landmarks=crop.landmarks.ravel(), jpeg=jpeg(crop.rgb)
            )
            for track, crops in enumerate(crops_of(task.path, fast=task.fast))
            for crop in crops
        ]
    except UnusableVideoError as error:
        reason = str(error)
        rows = [task.row(reason=reason)]
    shards.write_table(done, shards.table_of(rows))
    log(task, "end")
    return reason


def jpeg(rgb: np.ndarray) -> bytes:
    """Encode (h, w, 3) uint8 RGB."""
    encoded, content = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not encoded:
        raise ValueError(f"a crop of shape {rgb.shape} cannot be encoded as JPEG")
    return content.tobytes()


def from_jpeg(content: bytes) -> np.ndarray:
    """Decode to (h, w, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def log(task: Task, event: str) -> None:
    """Append a line to this worker's log: time, event, CPU seconds so far, video.

    When a worker dies, the log says which videos it had started.
    """
    path = task.faces / "log" / f"{platform.node()}-{os.getpid()}.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.time():.3f},{event},{time.process_time():.3f},{task.path.name}\n")
