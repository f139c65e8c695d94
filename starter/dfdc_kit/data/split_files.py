"""A split on disk: one CSV that says all, and a folder for each side that other commands and scripts can use."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import HARMLESS, as_text, preview, read_csv
from dfdc_kit.data.catalogue import Catalogue, read_catalogue, reading, sample_csv, solution_csv
from dfdc_kit.data.metadata import raise_for
from dfdc_kit.data.split import SIDES, TRAIN, VALIDATION, Split, SplitPlan, split
from dfdc_kit.errors import DataMissingError, OutputError, UsageError
from dfdc_kit.formatting import plural

CSV_NAME = "split.csv"
HEADER = ("filename", "folder", "label", "original", "side")


class SideCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many videos one side has."""

    videos: int
    fake: int
    real: int
    groups: int
    linked: int  # videos that are there, and linked into the side's folder


class SplitReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was cut, and where it lies."""

    folder: str
    by: str
    seed: int
    share_asked: float
    share_reached: float  # of the videos that are used
    nearer_seed: int | None
    sides: dict[str, SideCounts]
    no_part: int  # videos left out because it is not known which part they belong to
    public_test: int  # videos kept out of validation because the public test shows them


def make_split(paths: list[Path], out: Path, plan: SplitPlan, challenge: Challenge) -> SplitReport:
    """Cut the videos of `paths` and write `out/split.csv`, `out/train/` and `out/validation/`, whole or not at all.

    `validation/` is laid out as `dfdc run --data` wants it, `train/` as the challenge's own training folder; videos
    that are there are linked, not copied. An earlier split in `out` is replaced.
    """
    for path in paths:
        _refuse_public_test(path, challenge)
    with reading():
        found = split(read_catalogue(paths, challenge), plan, challenge, public_test_names(paths, challenge))
    with _folder(out, challenge) as part:
        _write_csv(part / CSV_NAME, found, challenge)
        linked = {
            TRAIN: _write_train(part / "train", found, challenge),
            VALIDATION: _write_validation(part / "validation", found, challenge),
        }
    counts = {name: _counts(found, side, linked.get(side, 0)) for side, name in enumerate(SIDES)}
    train, validation = counts["train"].videos, counts["validation"].videos
    return SplitReport(
        folder=str(out),
        by=found.by,
        seed=plan.seed,
        share_asked=plan.share,
        share_reached=validation / (train + validation),
        nearer_seed=found.nearer_seed,
        sides=counts,
        no_part=found.no_part,
        public_test=found.public_test,
    )


def public_test_names(paths: Iterable[Path], challenge: Challenge) -> frozenset[str]:
    """Names of the public test's videos, where the data folders show them: by their files, or the sample submission."""
    names: set[str] = set()
    folders = {(path if path.is_dir() else path.parent).resolve() for path in paths}
    for folder in folders | {folder.parent for folder in folders}:
        videos, sample = folder / challenge.data.test_videos, folder / challenge.data.sample_submission
        if videos.is_dir():
            names |= {path.name for path in videos.iterdir() if path.suffix == challenge.data.video_suffix}
        if sample.is_file():
            ids = read_csv(sample).column(challenge.submission.row_id)
            names |= set() if ids is None else set(as_text(ids))
    return frozenset(names)


def read_sides(path: Path) -> dict[str, str]:
    """Which side each video is on, by name, from a `split.csv` or the folder that holds one.

    Raises DataMissingError if it is not there, DataError naming line, seen and expected if it is broken.
    """
    file = path / CSV_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataMissingError(f"There is no split {file}.", hint="Make one: dfdc data split DIR")
    text = read_csv(file)
    names, sides = text.column("filename"), text.column("side")
    faults = [f"{code}" for code in text.anomalies if code not in HARMLESS]
    if names is None or sides is None:
        raise_for(file, [*faults, f"line 1: seen {','.join(text.header)!r:.80}, expected columns filename and side"])
    assert names is not None  # noqa: S101 - raised above
    assert sides is not None  # noqa: S101
    wrong = np.flatnonzero(~np.isin(sides, [side.encode() for side in SIDES]))
    faults += [
        f"line {text.lines[i]}, side: seen {preview(sides[i])!r}, expected {', '.join(SIDES)}" for i in wrong.tolist()
    ]
    found = dict(zip(as_text(names), as_text(sides), strict=True))
    if len(found) < len(names):
        faults.append(f"{plural(len(names) - len(found), 'name')} more than once in it, expected each once")
    raise_for(file, faults)
    return found


def _refuse_public_test(path: Path, challenge: Challenge) -> None:
    folder = path if path.is_dir() else path.parent
    if folder.resolve().name == challenge.data.test_videos:
        raise UsageError(
            f"{path}: the public {challenge.data.test_videos} are no validation set: they come from the training set,"
            " and a model trained on it knows them.",
            hint="Split the training videos: dfdc data split DIR, where DIR holds train_sample_videos or parts",
        )


@contextmanager
def _folder(out: Path, challenge: Challenge) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends well, and goes when it does not."""
    _check_ours(out, challenge)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise OutputError(
            f"Cannot write {out}: {error.strerror}.", hint="Choose a folder that can be written: --out"
        ) from error
    try:
        part = room / "new"
        part.mkdir()
        yield part
        _swap(out, part, room / "old")
    except OSError as error:
        raise OutputError(
            f"Cannot write {out}: {error.strerror}.", hint="Free some space or choose another folder: --out"
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check_ours(out: Path, challenge: Challenge) -> None:
    """Raise UsageError if `out` holds anything but an earlier split: what is in it would go."""
    if not out.exists():
        return
    layout = challenge.data
    known = {
        Path(CSV_NAME),
        Path("train") / layout.metadata,
        Path("validation") / layout.solution,
        Path("validation") / layout.sample_submission,
    }
    strangers = (
        path
        for folder, _, files in os.walk(out)
        for path in (Path(folder, name) for name in files)
        if not path.is_symlink() and path.relative_to(out) not in known
    )
    stranger = next(strangers, None) if out.is_dir() else out
    if stranger is not None:
        raise UsageError(
            f"{out} is there and is no split of ours: {stranger} would be lost.", hint="Choose another folder: --out"
        )


def _swap(out: Path, part: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        part.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise


def _write_csv(path: Path, found: Split, challenge: Challenge) -> None:
    columns = challenge.submission
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        rows = found.catalogue
        labels = [columns.positive if fake else columns.negative for fake in rows.fake.tolist()]
        sides = [SIDES[side] for side in found.sides.tolist()]
        table.writerows(sorted(zip(rows.names, rows.places(), labels, rows.originals, sides, strict=True)))


def _write_train(folder: Path, found: Split, challenge: Challenge) -> int:
    """Links and a metadata.json in the challenge's own form; how many videos are there."""
    rows, catalogue, columns = found.rows(TRAIN), found.catalogue, challenge.submission
    metadata = {
        catalogue.names[i]: {
            "label": columns.positive if catalogue.fake[i] else columns.negative,
            "split": "train",
            "original": catalogue.originals[i] or None,
        }
        for i in rows
    }
    folder.mkdir()
    (folder / challenge.data.metadata).write_bytes(msgspec.json.encode(metadata))
    return _link(folder, catalogue, rows)


def _write_validation(folder: Path, found: Split, challenge: Challenge) -> int:
    """Links, a sample submission and a solution; how many videos are there."""
    rows, catalogue = found.rows(VALIDATION), found.catalogue
    solution = folder / challenge.data.solution
    solution.parent.mkdir(parents=True)
    solution.write_bytes(solution_csv(catalogue, rows, challenge))
    (folder / challenge.data.sample_submission).write_bytes(sample_csv(catalogue, rows, challenge))
    (folder / challenge.data.test_videos).mkdir()
    return _link(folder / challenge.data.test_videos, catalogue, rows)


def _link(folder: Path, catalogue: Catalogue, rows: list[int]) -> int:
    """Link the videos that are there into `folder`."""
    there = [_names(label_file.folder) for label_file in catalogue.label_files]
    linked = 0
    for i in rows:
        if catalogue.names[i] in there[catalogue.at[i]]:
            (folder / catalogue.names[i]).symlink_to(catalogue.path(i))
            linked += 1
    return linked


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _counts(found: Split, side: int, linked: int) -> SideCounts:
    on_side = found.sides == side
    fake = int((on_side & found.catalogue.fake).sum())
    groups = len({found.groups[i] for i in np.flatnonzero(on_side).tolist()})
    videos = int(on_side.sum())
    return SideCounts(videos=videos, fake=fake, real=videos - fake, groups=groups, linked=linked)
