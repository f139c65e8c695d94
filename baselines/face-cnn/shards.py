"""Faces cut once, kept in Parquet: one row a crop, one row group a video, many videos a shard, an index over all.

    FACES/
      settings.json     how the crops were cut; a second run must agree with it
      index.csv         video, label, original, crops, reason, shard, row_group; written anew whenever a shard is
      shards/           part-00000.parquet ...
      loose/            NAME.parquet: videos done since the last shard, one file each
      log/              HOST-PID.csv: which worker began and ended which video, when, at what processor time

A file appears under its name only when it is whole, so a run may be killed at any moment: what stands in shards/ or
loose/ is done, everything else is not. index.csv can always be made anew from the shards.
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

SCHEMA = pa.schema([
    ("video", pa.string()),
    ("label", pa.int8()),  # 1 FAKE, 0 REAL, null where nobody said
    ("original", pa.string()),  # the REAL video that a FAKE was made from; null: its own
    ("reason", pa.string()),  # why there is no crop; null where there is one
    ("track", pa.int8()),  # which face, the main one is 0
    ("frame", pa.int32()),  # number in the video, from 0
    ("score", pa.float32()),  # of the face detector, 0 to 1
    ("points", pa.list_(pa.float32(), 10)),  # x, y of both eyes, nose and both mouth corners; pixels of the crop
    ("jpeg", pa.binary()),  # the crop, square
])  # fmt: skip
INDEX = ("video", "label", "original", "crops", "reason", "shard", "row_group")
SETTINGS = "settings.json"
VIDEOS_A_SHARD = 256  # 16 crops of 20 KB each: 80 MB a shard


class StopError(Exception):
    """What the user must change; the text says what and how."""


@dataclass(frozen=True)
class Entry:
    """One video of the index; `label` is None where nobody said, `reason` is empty where there are crops."""

    video: str
    label: int | None
    original: str
    crops: int
    reason: str
    path: Path
    row_group: int


@dataclass(frozen=True)
class StoredCrop:
    """One crop as it is kept: which face, frame number, (5, 2) points in pixels of the crop, a JPEG file's bytes."""

    track: int
    frame: int
    points: np.ndarray
    jpeg: bytes


def replace_with(path: Path, table: pa.Table) -> None:
    """Write `table`, one row group, to `path` whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="none")  # JPEG does not shrink
    part.replace(path)


def loose_file(faces: Path, video: str) -> Path:
    """Where a worker leaves one finished video."""
    return faces / "loose" / f"{video}.parquet"


def reason_of(loose: Path) -> str:
    """Why there is no crop in a video's file, or an empty text."""
    return pq.read_table(loose, columns=["reason"])["reason"][0].as_py() or ""


def shard_files(faces: Path) -> list[Path]:
    """All shards, oldest first."""
    return sorted((faces / "shards").glob("part-*.parquet"))


def tidy(faces: Path) -> set[str]:
    """Make the folders, remove half-written files; the names of the videos that need not be looked at again."""
    for name in ("shards", "loose", "log"):
        (faces / name).mkdir(parents=True, exist_ok=True)
    for folder in (faces, faces / "shards", faces / "loose"):
        for part in folder.glob(".*.part"):
            part.unlink()
    done: set[str] = set()
    for shard in shard_files(faces):
        done |= set(pq.read_table(shard, columns=["video"])["video"].to_pylist())
    for path in (faces / "loose").glob("*.parquet"):
        video = path.name.removesuffix(".parquet")
        if video in done:  # killed between writing a shard and removing what went into it
            path.unlink()
        done.add(video)
    return done


def begun(faces: Path) -> set[str]:
    """Names of the videos that a worker began at any time, finished or not."""
    lines = [line for log in (faces / "log").glob("*.csv") for line in log.read_text(encoding="utf-8").splitlines()]
    return {line.split(",", 3)[3] for line in lines if ",begin," in line}


def gather(faces: Path, at_least: int) -> None:
    """Move loose videos into shards of VIDEOS_A_SHARD; the rest stays loose if it is fewer than `at_least`."""
    loose = sorted((faces / "loose").glob("*.parquet"))
    while loose and len(loose) >= at_least:
        now, loose = loose[:VIDEOS_A_SHARD], loose[VIDEOS_A_SHARD:]
        name = f"part-{_next_number(faces):05d}.parquet"
        part = faces / "shards" / f".{name}.{os.getpid()}.part"
        with pq.ParquetWriter(part, SCHEMA, compression="none") as writer:
            for path in now:
                writer.write_table(pq.read_table(path, schema=SCHEMA))  # one row group a video
        part.replace(faces / "shards" / name)
        for path in now:
            path.unlink()
        write_index(faces)


def _next_number(faces: Path) -> int:
    return 1 + max((int(re.sub(r"\D", "", path.stem)) for path in shard_files(faces)), default=-1)


def write_index(faces: Path) -> None:
    """index.csv from the shards themselves."""
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


def cut_fast(faces: Path) -> bool:
    """Whether the crops were cut in the fast mode of frames.py. Raises FileNotFoundError."""
    return bool(json.loads((faces / SETTINGS).read_text(encoding="utf-8")).get("fast", False))


def read_index(faces: Path) -> list[Entry]:
    """Every video of a finished extraction, sorted by name. Raises FileNotFoundError, StopError."""
    path = faces / "index.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != INDEX:
            raise StopError(f"{path}: expected the columns {','.join(INDEX)}. Remove it and run extract.py again.")
        entries = [
            Entry(
                video=row["video"],
                label=int(row["label"]) if row["label"] else None,
                original=row["original"] or row["video"],
                crops=int(row["crops"]),
                reason=row["reason"],
                path=faces / "shards" / row["shard"],
                row_group=int(row["row_group"]),
            )
            for row in rows
        ]
    return sorted(entries, key=lambda entry: entry.video)


def read_crops(entry: Entry) -> list[StoredCrop]:
    """The crops of one video, in the order of their frames."""
    with pq.ParquetFile(entry.path) as file:
        rows = file.read_row_group(entry.row_group, columns=["track", "frame", "points", "jpeg"]).to_pylist()
    return [
        StoredCrop(row["track"], row["frame"], np.array(row["points"], np.float32).reshape(5, 2), row["jpeg"])
        for row in rows
    ]


def table_of(rows: Iterable[dict]) -> pa.Table:
    """Rows as a table of the one schema."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
