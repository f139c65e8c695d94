"""Faces cut once, kept in Parquet: one row a crop, one row group a video, many videos a shard, an index over all.

    FACES/
      settings.json     how the crops were cut; a second run must agree with it
      index.csv         video, label, original, crops, reason, shard, row_group; written anew whenever a shard is
      shards/           part-00000.parquet ...
      loose/            NAME.parquet: videos done since the last shard, one file each
      log/              HOST-PID.csv: which worker began and ended which video, when, at what processor time
      .lock             which program is writing here, see lock.py

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
    _name(part, path)


def _name(part: Path, path: Path) -> None:
    """Give a finished file its name, once the disk has it: else, after a power cut, there might be the name alone."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
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
    """Make the folders, remove half-written files; the names of the videos that need not be looked at again.

    Raises StopError if a shard is damaged; a damaged file of a single video is removed, that it be cut again.
    """
    for name in ("shards", "loose", "log"):
        (faces / name).mkdir(parents=True, exist_ok=True)
    for folder in (faces, faces / "shards", faces / "loose"):
        for part in folder.glob(".*.part"):
            part.unlink()
    done: set[str] = set()
    for shard in shard_files(faces):
        try:
            done |= set(pq.read_table(shard, columns=["video"])["video"].to_pylist())
        except pa.ArrowInvalid as error:
            raise StopError(f"{shard} is damaged: {error}. Remove it, and its videos are cut again.") from error
    for path in (faces / "loose").glob("*.parquet"):
        video = path.name.removesuffix(".parquet")
        if video in done:  # killed between writing a shard and removing what went into it
            path.unlink()
        elif is_whole(path):
            done.add(video)
        else:
            print(f"{path} is damaged: {video} is cut again", flush=True)
            path.unlink()
    return done


def is_whole(path: Path) -> bool:
    """Whether a Parquet file has its end, which is written last."""
    try:
        pq.read_metadata(path)
    except pa.ArrowInvalid:
        return False
    return True


def begun(faces: Path) -> set[str]:
    """Names of the videos that a worker began at any time, finished or not.

    A line may be torn, by a full disk or a power cut, and the next one glued to it: only what ends a line counts.
    """
    logs = [log.read_text(encoding="utf-8", errors="replace") for log in (faces / "log").glob("*.csv")]
    return {name for log in logs for name in re.findall(r"^.*,begin,\d+\.\d+,(.+)$", log, re.MULTILINE)}


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
        _name(part, faces / "shards" / name)
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


def how_cut(faces: Path) -> dict[str, object]:
    """What settings.json says of the crops; `fast`: in the fast mode of frames.py. Raises StopError."""
    path = faces / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StopError(f"{path} cannot be read: {error}. Choose another --out for extract.py.") from error
    if not isinstance(settings, dict):
        raise StopError(f"{path}: expected {{name: value}}, found {settings!r}. Choose another --out for extract.py.")
    return {"fast": False, **settings}  # older folders do not say it


def read_index(faces: Path) -> list[Entry]:
    """Every video of a finished extraction, sorted by name. Raises FileNotFoundError, StopError."""
    path = faces / "index.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != INDEX:
                raise StopError(f"{path}: expected the columns {','.join(INDEX)}. Remove it and run extract.py again.")
            entries = [_entry(row, f"{path}, line {rows.line_num}", faces) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise StopError(f"{path} is damaged: {error}. Run extract.py again, it writes it anew.") from error
    if missing := sorted({entry.path for entry in entries if not entry.path.is_file()}):
        raise StopError(f"{missing[0]} is not there, but {path} names it. Run extract.py again on the same videos.")
    return sorted(entries, key=lambda entry: entry.video)


def _entry(row: dict[str, str], where: str, faces: Path) -> Entry:
    try:
        return Entry(
            video=row["video"],
            label=int(row["label"]) if row["label"] else None,
            original=row["original"] or row["video"],
            crops=int(row["crops"]),
            reason=row["reason"],
            path=faces / "shards" / row["shard"],
            row_group=int(row["row_group"]),
        )
    except (TypeError, ValueError) as error:  # a value is missing, or is no number
        raise StopError(
            f"{where}: expected {','.join(INDEX)}, found {','.join(map(str, row.values()))}. "
            "Run extract.py again, it writes it anew."
        ) from error


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
