"""Degraded copies of a data folder: the same names, labels and layout, other pixels."""

import contextlib
import csv
import filecmp
import io
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from dfdc_kit.data.making.degrade import degrade_clip, random_for
from dfdc_kit.errors import DataError, DataMissingError, UsageError
from dfdc_kit.files import OURS, check_free_space, hold_lock, translate_read_errors, write_bytes, write_json

VIDEO = ".mp4"
TABLES = {".json", ".csv", ".toml", ".md", ".txt"}  # copied unchanged; anything else is left out
PLAN = Path(OURS) / "degrade.json"
METADATA = "metadata.json"
LIST = "degradations.csv"  # path of each copy, and what was done to it
GROWTH = 1.5  # bytes of a copy relative to its source, for the room on disk that is asked for before


class DegradedCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One clip of a degraded folder."""

    path: str  # relative to the degraded folder
    kind: str  # of KINDS; "unchanged" for a clip that could not be decoded and was copied as it is
    problem: str = ""


class DegradeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `dfdc data degrade` made."""

    folder: str
    source: str
    seed: int
    kinds: dict[str, int]  # copies of each kind
    clips: int
    made_now: int  # the others were there from an earlier run
    size_bytes: int
    problems: list[DegradedCopy]
    left_out: list[str]  # files that are neither videos nor tables


class _Task(msgspec.Struct, frozen=True):
    source: Path
    target: Path
    kind: str
    key: str  # the clip's original: a fake gets what its original gets, so that the degradation is no label
    seed: int


def degrade_folder(
    folder: Path,
    out: Path,
    kinds: list[str],
    *,
    seed: int = 0,
    each: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> DegradeReport:
    """Write a copy of the data folder `folder` to `out`, each clip degraded by one of `kinds`, chosen at random.

    `each`: a copy of the whole folder for every kind instead, in `out`/KIND. The result depends on the names, the
    seed and the kinds only; clips that exist already are kept, so that a stopped run continues. A clip that cannot
    be decoded is copied unchanged, with a warning. `progress(done, total)` counts clips.

    Raises DataMissingError without a clip, UsageError if `out` holds something else, OutputError without room.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: expected at least 1.", hint="For example: --workers 2")
    source, out = folder.absolute(), out.absolute()
    clips, tables, left_out = _find(source, out)
    with hold_lock(out / OURS / "lock", f"Another `dfdc data degrade` into {out} is running", "--out", warn):
        _check_plan(out, {"source": str(source), "seed": seed, "kinds": kinds, "each": each})
        tasks = list(_tasks(source, out, clips, kinds, seed, each))
        _copy_tables(source, out, tables, kinds if each else [""])
        copies, made = _make(tasks, out, workers, progress, warn)
        listed = io.StringIO()
        csv.writer(listed, lineterminator="\n").writerows([("path", "kind"), *((one.path, one.kind) for one in copies)])
        write_bytes(out / LIST, listed.getvalue().encode("utf-8", "surrogateescape"))
    return DegradeReport(
        folder=str(out),
        source=str(source),
        seed=seed,
        kinds={kind: sum(copy.kind == kind for copy in copies) for kind in kinds},
        clips=len(copies),
        made_now=made,
        size_bytes=sum(task.target.stat().st_size for task in tasks),
        problems=[copy for copy in copies if copy.problem],
        left_out=left_out,
    )


def _find(source: Path, out: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Relative paths of the clips and of the tables below `source`, and the names of all other files."""
    if not source.is_dir():
        raise DataMissingError(f"Folder not found: {source}")
    if out == source or source.is_relative_to(out):
        raise UsageError(f"--out {out} would overwrite the data folder {source}.", hint="Choose another folder.")
    clips: list[Path] = []
    tables: list[Path] = []
    others: list[Path] = []
    with translate_read_errors():
        for at, folders, names in os.walk(source, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(at, name) != out)
            for name in sorted(name for name in names if not name.startswith(".")):
                path = Path(at, name).relative_to(source)
                suffix = path.suffix.lower()
                (clips if suffix == VIDEO else tables if suffix in TABLES else others).append(path)
    if not clips:
        raise DataMissingError(
            f"{source} contains no *{VIDEO} file.", hint="Name a data folder, or one such as train_sample_videos."
        )
    return clips, [path for path in tables if path.name != LIST], [str(path) for path in others]


def _raise(error: OSError) -> None:
    raise error


def _check_plan(out: Path, plan: dict[str, object]) -> None:
    """Write the plan into `out`. Raises UsageError if `out` holds another one, or other files."""
    file = out / PLAN
    if file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if earlier != plan:
            changed = ", ".join(f"{name} was {earlier.get(name)}" for name in plan if earlier.get(name) != plan[name])
            raise UsageError(f"{out} holds copies made with other options: {changed}.", hint="Choose another --out.")
        return
    if any(path.name != OURS for path in out.iterdir()):
        raise UsageError(f"{out} is not empty.", hint="Choose a new folder with --out.")
    write_json(file, plan)


def _tasks(source: Path, out: Path, clips: list[Path], kinds: list[str], seed: int, each: bool) -> Iterable[_Task]:
    originals = {parent: read_originals(source / parent) for parent in {clip.parent for clip in clips}}
    for clip in clips:
        key = originals[clip.parent].get(clip.name) or clip.name
        if each:
            yield from (_Task(source / clip, out / kind / clip, kind, key, seed) for kind in kinds)
        else:
            kind = str(random_for(seed, "kind", key).choice(kinds))
            yield _Task(source / clip, out / clip, kind, key, seed)


def read_originals(folder: Path) -> dict[str, str]:
    """Clip -> the original it was made from, from the folder's metadata.json; empty without a readable one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        entries = json.loads((folder / METADATA).read_text(encoding="utf-8")).items()
        return {name: entry["original"] for name, entry in entries if entry.get("original")}
    return {}


def _copy_tables(source: Path, out: Path, tables: list[Path], places: list[str]) -> None:
    for table in tables:
        content = (source / table).read_bytes()
        for place in places:
            write_bytes(out / place / table, content)


def _make(
    tasks: list[_Task], out: Path, workers: int, progress: Callable[[int, int], None], warn: Callable[[str], None]
) -> tuple[list[DegradedCopy], int]:
    """Make what is missing, one clip per thread (the codecs release the interpreter); all copies, and how many now."""
    missing = [task for task in tasks if not _is_done(task)]
    check_free_space(out, int(GROWTH * sum(task.source.stat().st_size for task in missing)), "--out")
    to_make = {task.target for task in missing}
    copies = {task.target: _existing(task, out) for task in tasks if task.target not in to_make}
    progress(len(copies), len(tasks))
    pool = ThreadPoolExecutor(workers)
    try:
        for task, copy in zip(missing, pool.map(lambda task: _degrade(task, out), missing), strict=True):
            copies[task.target] = copy
            if copy.problem:
                warn(f"{copy.problem} It was copied unchanged.")
            progress(len(copies), len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
    return [copies[task.target] for task in tasks], len(missing)


def _is_done(task: _Task) -> bool:
    return task.target.is_file() and task.target.stat().st_mtime >= task.source.stat().st_mtime


def _existing(task: _Task, out: Path) -> DegradedCopy:
    path = str(task.target.relative_to(out))
    if task.target.stat().st_size == task.source.stat().st_size and filecmp.cmp(
        task.source, task.target, shallow=False
    ):
        return DegradedCopy(path=path, kind="unchanged", problem=f"{task.source} cannot be decoded.")
    return DegradedCopy(path=path, kind=task.kind)


def _degrade(task: _Task, out: Path) -> DegradedCopy:
    path = str(task.target.relative_to(out))
    try:
        degrade_clip(task.source, task.target, task.kind, random_for(task.seed, task.kind, task.key))
    except DataError as error:
        write_bytes(task.target, task.source.read_bytes())
        return DegradedCopy(path=path, kind="unchanged", problem=str(error))
    return DegradedCopy(path=path, kind=task.kind)
