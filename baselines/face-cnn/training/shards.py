"""Extracted faces in Parquet: one row per crop, one row group per video, many videos per shard, and an index.

    FACES/
      settings.json     how the crops were made; later runs must use the same settings
      index.csv         video, label, original, crops, reason, shard, row_group; rewritten with every new shard
      shards/           part-00000.parquet ...
      videos/           NAME.parquet: videos that are finished but not in a shard yet
      log/              HOST-PID.csv: which worker started and finished which video, wall-clock and CPU time
      .lock             the program that is writing here (common.folder_lock)

Files are written atomically, so a run can be killed at any moment: videos in shards/ or videos/ are done, all others
are not. index.csv can always be made again from the shards.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import InputError

SCHEMA = pa.schema([
    ("video", pa.string()),
    ("label", pa.int8()),  # 1 FAKE, 0 REAL, null if unknown
    ("original", pa.string()),  # the REAL video that a FAKE was made from; null for a REAL video
    ("reason", pa.string()),  # why there is no crop, else null
    ("track", pa.int8()),  # number of the face, 0 is the main face
    ("frame", pa.int32()),  # frame number, from 0
    ("score", pa.float32()),  # of the face detector, 0 to 1
    ("landmarks", pa.list_(pa.float32(), 10)),  # x, y of both eyes, nose, both mouth corners; pixels of the crop
    ("jpeg", pa.binary()),  # the crop, square
])  # fmt: skip
INDEX = ("video", "label", "original", "crops", "reason", "shard", "row_group")
SETTINGS = "settings.json"
VIDEOS_PER_SHARD = 256  # 16 crops of 20 KB each: 80 MB a shard


@dataclass(frozen=True)
class VideoEntry:
    """One row of the index; `label` is None if unknown, `reason` is empty if there are crops."""

    video: str
    label: int | None
    original: str
    crops: int
    reason: str
    path: Path
    row_group: int


@dataclass(frozen=True)
class StoredCrop:
    """One stored crop: face number, frame number, (5, 2) landmarks in pixels of the crop, JPEG bytes."""

    track: int
    frame: int
    landmarks: np.ndarray
    jpeg: bytes


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` as one row group to `path`, atomically."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="none")  # JPEG is compressed already
    _publish(part, path)


def _publish(part: Path, path: Path) -> None:
    """Flush a finished file to disk and rename it; without the flush a power cut could leave an empty file."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


def video_file(faces: Path, video: str) -> Path:
    """The file of one finished video that is not in a shard yet."""
    return faces / "videos" / f"{video}.parquet"


def reason_of(path: Path) -> str:
    """Why there is no crop in a video's file, or an empty string."""
    return pq.read_table(path, columns=["reason"])["reason"][0].as_py() or ""


def shard_files(faces: Path) -> list[Path]:
    """All shards, oldest first."""
    return sorted((faces / "shards").glob("part-*.parquet"))


def prepare(faces: Path) -> set[str]:
    """Create the folders, remove incomplete files; returns the names of the videos that are done.

    A damaged file of a single video is removed, so that the video is read again. Raises InputError for a damaged shard.
    """
    for name in ("shards", "videos", "log"):
        (faces / name).mkdir(parents=True, exist_ok=True)
    for folder in (faces, faces / "shards", faces / "videos"):
        for part in folder.glob(".*.part"):
            part.unlink()
    done: set[str] = set()
    for shard in shard_files(faces):
        try:
            done |= set(pq.read_table(shard, columns=["video"])["video"].to_pylist())
        except pa.ArrowInvalid as error:
            raise InputError(f"{shard} is damaged: {error}. Remove it, and its videos are read again.") from error
    for path in (faces / "videos").glob("*.parquet"):
        video = path.name.removesuffix(".parquet")
        if video in done:  # killed after writing a shard and before removing its inputs
            path.unlink()
        elif is_intact(path):
            done.add(video)
        else:
            print(f"{path} is damaged: {video} is read again", flush=True)
            path.unlink()
    return done


def is_intact(path: Path) -> bool:
    """Whether a Parquet file has its footer, which is written last."""
    try:
        pq.read_metadata(path)
    except pa.ArrowInvalid:
        return False
    return True


def started(faces: Path) -> set[str]:
    """Names of the videos that any worker has started, finished or not.

    A full disk or a power cut can leave an incomplete line with the next one appended: only line ends are read.
    """
    logs = [log.read_text(encoding="utf-8", errors="replace") for log in (faces / "log").glob("*.csv")]
    return {name for log in logs for name in re.findall(r"^.*,begin,\d+\.\d+,(.+)$", log, re.MULTILINE)}


def write_shards(faces: Path, at_least: int) -> None:
    """Move finished videos into shards of VIDEOS_PER_SHARD, as long as there are `at_least` videos."""
    remaining = sorted((faces / "videos").glob("*.parquet"))
    while remaining and len(remaining) >= at_least:
        now, remaining = remaining[:VIDEOS_PER_SHARD], remaining[VIDEOS_PER_SHARD:]
        name = f"part-{_next_number(faces):05d}.parquet"
        part = faces / "shards" / f".{name}.{os.getpid()}.part"
        with pq.ParquetWriter(part, SCHEMA, compression="none") as writer:
            for path in now:
                writer.write_table(pq.read_table(path, schema=SCHEMA))  # one row group per video
        _publish(part, faces / "shards" / name)
        for path in now:
            path.unlink()
        write_index(faces)


def _next_number(faces: Path) -> int:
    return 1 + max((int(re.sub(r"\D", "", path.stem)) for path in shard_files(faces)), default=-1)


def write_index(faces: Path) -> None:
    """Write index.csv from the shards."""
    part = faces / ".index.csv.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(INDEX)
        for shard in shard_files(faces):
            table.writerows(_rows_of(shard))
    part.replace(faces / "index.csv")


def _rows_of(shard: Path) -> Iterator[tuple[object, ...]]:
    with pq.ParquetFile(shard) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["video", "label", "original", "reason"]).to_pylist()
            first = rows[0]
            label = "" if first["label"] is None else first["label"]
            crops = 0 if first["reason"] else len(rows)
            yield (first["video"], label, first["original"] or "", crops, first["reason"] or "", shard.name, group)


def read_settings(faces: Path) -> dict[str, object]:
    """settings.json: how the crops were made; `fast`: in the fast mode of frames.py. Raises InputError."""
    path = faces / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Choose another --out for extract.py.") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path}: expected {{name: value}}, found {settings!r}. Choose another --out for extract.py.")
    return {"fast": False, **settings}  # older folders do not have it


def read_index(faces: Path) -> list[VideoEntry]:
    """All videos of a finished extraction, sorted by name. Raises FileNotFoundError, InputError."""
    path = faces / "index.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != INDEX:
                raise InputError(f"{path}: expected the columns {','.join(INDEX)}. Remove it and run extract.py again.")
            entries = [_entry(row, f"{path}, line {rows.line_num}", faces) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}. Run extract.py again to rewrite it.") from error
    if missing := sorted({entry.path for entry in entries if not entry.path.is_file()}):
        raise InputError(f"{missing[0]} is missing, but {path} lists it. Run extract.py again on the same videos.")
    return sorted(entries, key=lambda entry: entry.video)


def _entry(row: dict[str, str], where: str, faces: Path) -> VideoEntry:
    try:
        return VideoEntry(
            video=row["video"],
            label=int(row["label"]) if row["label"] else None,
            original=row["original"] or row["video"],
            crops=int(row["crops"]),
            reason=row["reason"],
            path=faces / "shards" / row["shard"],
            row_group=int(row["row_group"]),
        )
    except (TypeError, ValueError) as error:  # a value is missing or not a number
        raise InputError(
            f"{where}: expected {','.join(INDEX)}, found {','.join(map(str, row.values()))}. "
            "Run extract.py again to rewrite it."
        ) from error


def read_crops(entry: VideoEntry) -> list[StoredCrop]:
    """The crops of one video, in the order of their frames."""
    with pq.ParquetFile(entry.path) as file:
        rows = file.read_row_group(entry.row_group, columns=["track", "frame", "landmarks", "jpeg"]).to_pylist()
    return [
        StoredCrop(row["track"], row["frame"], np.array(row["landmarks"], np.float32).reshape(5, 2), row["jpeg"])
        for row in rows
    ]


def table_of(rows: Iterable[dict]) -> pa.Table:
    """Rows as a table with SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
