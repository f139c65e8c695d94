"""A split on disk: `split.csv` with the fold of each video, and a folder for each fold that other commands can use."""

import csv
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import ALL_LINES, as_text, preview, read_csv
from dfdc_kit.data.catalogue import Catalogue, label_notes, read_catalogue, sample_csv, solution_csv
from dfdc_kit.data.inspection import find_copies, list_videos
from dfdc_kit.data.labels import file_faults, raise_for_faults
from dfdc_kit.data.split import FOLDS, TRAIN, VALIDATION, Split, SplitPlan, find_working_plan, split
from dfdc_kit.errors import DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.files import translate_read_errors

CSV_NAME = "split.csv"
HEADER = ("filename", "folder", "label", "original", "fold")
OLD_FOLD_COLUMN = "side"  # in split.csv until 0.1.0


class FoldCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many videos one fold has."""

    videos: int
    fake: int
    real: int
    groups: int
    linked: int  # videos that are present, and linked into the fold's folder


class SplitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the videos were split, and where the result is."""

    folder: str
    by: str
    seed: int
    holdout: float  # fraction asked for
    holdout_reached: float  # of the videos that are used
    nearer_seed: int | None
    folds: dict[str, FoldCounts]
    no_part: int  # videos left out because their part is unknown
    public_test: int  # videos kept out of validation because they are in the public test
    copies: int  # videos kept out of training because validation has the same content under another name
    warnings: list[str]
    notes: list[str]


def make_split(paths: list[Path], out: Path, plan: SplitPlan, challenge: Challenge) -> SplitReport:
    """Split the videos of `paths` and write `out/split.csv`, `out/train/` and `out/validation/`, atomically.

    `validation/` is laid out as `dfdc run --data` wants it, `train/` as the challenge's own training folder; videos
    that are present are linked, not copied. An earlier split in `out` is replaced. Raises UsageError, with a command
    that works, where a fold has one class only and another seed or fraction would give both.
    """
    for path in paths:
        _refuse_public_test(path, challenge)
    with translate_read_errors():
        catalogue = read_catalogue(paths, challenge)
        copies, public_copies = _copies(catalogue, paths, challenge)
        public_test = public_test_names(paths, challenge) | public_copies

    def make(plan: SplitPlan) -> Split:
        return split(catalogue, plan, challenge, public_test, copies)

    try:
        found = make(plan)
    except KitError as error:
        if other := find_working_plan(make, plan):
            error.command = split_command(paths, out, other)
        raise
    warnings = [*_one_class_warnings(found, plan, make, paths, out)]
    if found.by == "video":
        warnings.append("Each video was split on its own: a fake and its original may be in both folds.")
    with translate_read_errors(), _folder(out, challenge) as part:
        _write_csv(part / CSV_NAME, found, challenge)
        linked = {
            TRAIN: _write_train(part / "train", found, challenge),
            VALIDATION: _write_validation(part / "validation", found, challenge),
        }
    counts = {name: _counts(found, fold, linked.get(fold, 0)) for fold, name in enumerate(FOLDS)}
    train, validation = counts["train"].videos, counts["validation"].videos
    return SplitReport(
        folder=str(out),
        by=found.by,
        seed=plan.seed,
        holdout=plan.holdout,
        holdout_reached=validation / max(train + validation, 1),
        nearer_seed=found.nearer_seed,
        folds=counts,
        no_part=found.no_part,
        public_test=found.public_test,
        copies=found.copies,
        warnings=warnings,
        notes=label_notes(catalogue),
    )


def _copies(catalogue: Catalogue, paths: list[Path], challenge: Challenge) -> tuple[list[list[str]], set[str]]:
    """Groups of names with the same content, and the names whose content is in the public test."""
    suffix, test_videos = challenge.data.video_suffix, challenge.data.test_videos
    folders = [label_file.folder for label_file in catalogue.label_files]
    folders += [folder / test_videos for folder in _data_folders(paths)]
    files = [file for folder in dict.fromkeys(folders) for file in list_videos(folder, suffix).values()]
    groups = find_copies(files)
    public = {path.name for group in groups if any(_is_public(path, test_videos) for path in group) for path in group}
    names = [sorted({path.name for path in group}) for group in groups]
    return [group for group in names if len(group) > 1], public


def _is_public(path: Path, test_videos: str) -> bool:
    return path.parent.name == test_videos


def _one_class_warnings(
    found: Split, plan: SplitPlan, make: Callable[[SplitPlan], Split], paths: list[Path], out: Path
) -> Iterator[str]:
    """Raise UsageError where another plan would give both classes in both folds; warn where none does."""
    faulty = [FOLDS[fold] for fold in (TRAIN, VALIDATION) if len(found.classes(fold)) < 2]
    if not faulty:
        return
    what = f"The {' and the '.join(faulty)} {'fold has' if len(faulty) == 1 else 'folds have'} one class only"
    if len(set(found.catalogue.fake.tolist())) == 2 and (other := find_working_plan(make, plan)):
        raise UsageError(
            f"{what}; a score on it says nothing about the other.", command=split_command(paths, out, other)
        )
    yield f"{what}: a score on it says nothing about the other class. Add labels of both classes."


def split_command(paths: Iterable[Path], out: Path | None, plan: SplitPlan) -> str:
    """The command line that makes this split; `out` None: in the default folder."""
    options = [*map(str, paths), *([] if out is None else ["--out", str(out)])]
    options += ["--seed", str(plan.seed)] * (plan.seed != 0) + ["--holdout", f"{plan.holdout:g}"] * (
        plan.holdout != 0.2
    )
    options += ["--by", plan.by] * (plan.by != "auto") + ["--balance"] * plan.balance + ["--nearest"] * plan.nearest
    return shlex.join(["dfdc", "data", "split", *options])


def _data_folders(paths: Iterable[Path]) -> set[Path]:
    """The folders that may have the public test in them: those of `paths`, and the ones above."""
    folders = {(path if path.is_dir() else path.parent).resolve() for path in paths}
    return folders | {folder.parent for folder in folders}


def public_test_names(paths: Iterable[Path], challenge: Challenge) -> frozenset[str]:
    """Names of the public test's videos: files in test_videos, and rows of the sample submission."""
    names: set[str] = set()
    for folder in _data_folders(paths):
        sample = folder / challenge.data.sample_submission
        names |= list_videos(folder / challenge.data.test_videos, challenge.data.video_suffix).keys()
        if sample.is_file():
            ids = read_csv(sample).column(challenge.submission.row_id)
            names |= set() if ids is None else set(as_text(ids))
    return frozenset(names)


def read_folds(path: Path) -> dict[str, str]:
    """The fold of each video, by name, from a `split.csv` or the folder that contains one.

    Raises DataMissingError if it is missing, DataError naming line, seen and expected if it is broken.
    """
    file = path / CSV_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataMissingError(f"File or folder not found: {file}", hint="Make a split.", command="dfdc data split DIR")
    text = read_csv(file, ALL_LINES)
    names, folds = text.column("filename"), text.column("fold")
    folds = text.column(OLD_FOLD_COLUMN) if folds is None else folds
    hint = "Make it again: dfdc data split DIR"
    faults = list(file_faults(text))
    if names is None or folds is None:
        faults.append(f"line 1: seen {','.join(text.header)!r:.80}, expected columns filename and fold")
        raise_for_faults(file, faults, hint)
    assert names is not None  # noqa: S101 - raised above
    assert folds is not None  # noqa: S101
    wrong = np.flatnonzero(~np.isin(folds, [fold.encode() for fold in FOLDS]))
    faults += [
        f"line {text.lines[i]}, fold: seen {preview(folds[i])!r}, expected {', '.join(FOLDS)}" for i in wrong.tolist()
    ]
    found = dict(zip(as_text(names), as_text(folds), strict=True))
    first_line: dict[bytes, int] = {}
    for name, line in zip(names.tolist(), text.lines.tolist(), strict=True):
        if first_line.setdefault(name, line) != line:
            faults.append(f"line {line}: {preview(name)!r} again, as on line {first_line[name]}")
    raise_for_faults(file, faults, hint)
    return found


def _refuse_public_test(path: Path, challenge: Challenge) -> None:
    folder = path if path.is_dir() else path.parent
    if folder.resolve().name == challenge.data.test_videos:
        raise UsageError(
            f"{path}: do not validate on the public {challenge.data.test_videos}: they are copies of training videos,"
            " so a model trained on those has seen them.",
            hint="Split the training videos: a folder that contains train_sample_videos or parts.",
        )


@contextmanager
def _folder(out: Path, challenge: Challenge) -> Iterator[Path]:
    """A new folder next to `out` that replaces it when the block succeeds, and is removed when it fails."""
    _check_ours(out, challenge)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise OutputError(
            f"Cannot write {out}: {error.strerror}.", hint="Choose a writable folder: --out DIR"
        ) from error
    try:
        part = temporary / "new"
        part.mkdir()
        yield part
        _swap(out, part, temporary / "old")
    except OSError as error:
        raise OutputError(
            f"Cannot write {out}: {error.strerror}.", hint="Free some space or choose another folder: --out DIR"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_ours(out: Path, challenge: Challenge) -> None:
    """Raise UsageError if `out` contains anything but an earlier split: it would be deleted."""
    if not out.exists():
        return
    layout = challenge.data
    known = {
        Path(CSV_NAME),
        Path("train") / layout.metadata,
        Path("validation") / layout.solution,
        Path("validation") / layout.sample_submission,
    }
    foreign = (
        path
        for folder, _, files in os.walk(out)
        for path in (Path(folder, name) for name in files)
        if not path.is_symlink() and path.relative_to(out) not in known
    )
    first = next(foreign, None) if out.is_dir() else out
    if first is not None:
        raise UsageError(
            f"{out} exists and is not only an earlier split: {first} would be deleted.",
            hint="Choose another folder: --out DIR",
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
        folds = [FOLDS[fold] for fold in found.folds.tolist()]
        table.writerows(sorted(zip(rows.names, rows.folder_names(), labels, rows.originals, folds, strict=True)))


def _write_train(folder: Path, found: Split, challenge: Challenge) -> int:
    """Write links and a metadata.json in the challenge's own form; the number of links."""
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
    """Write links, a sample submission and a solution; the number of links."""
    rows, catalogue = found.rows(VALIDATION), found.catalogue
    solution = folder / challenge.data.solution
    solution.parent.mkdir(parents=True)
    solution.write_bytes(solution_csv(catalogue, rows, challenge))
    (folder / challenge.data.sample_submission).write_bytes(sample_csv(catalogue, rows, challenge))
    (folder / challenge.data.test_videos).mkdir()
    return _link(folder / challenge.data.test_videos, catalogue, rows)


def _link(folder: Path, catalogue: Catalogue, rows: list[int]) -> int:
    """Link the videos that are present into `folder`; how many."""
    present = [{path.name for path in label_file.folder.iterdir()} for label_file in catalogue.label_files]
    linked = 0
    for i in rows:
        if catalogue.names[i] in present[catalogue.file_index[i]]:
            (folder / catalogue.names[i]).symlink_to(catalogue.path(i))
            linked += 1
    return linked


def _counts(found: Split, fold: int, linked: int) -> FoldCounts:
    in_fold = found.folds == fold
    fake = int((in_fold & found.catalogue.fake).sum())
    groups = len({found.groups[i] for i in np.flatnonzero(in_fold).tolist()})
    videos = int(in_fold.sum())
    return FoldCounts(videos=videos, fake=fake, real=videos - fake, groups=groups, linked=linked)
