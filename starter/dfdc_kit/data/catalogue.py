"""All labelled videos of one or more data folders: where their label files are, and one table of their content."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.labels import read_label_rows
from dfdc_kit.data.solution import LABELS_CSV
from dfdc_kit.errors import DataError, DataMissingError, UsageError
from dfdc_kit.files import translate_read_errors, write_bytes
from dfdc_kit.formatting import plural

NO_PART = -1


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The content of one label file: names (n,) unique, fake (n,), originals (n,) with "" where unknown."""

    file: Path
    folder_name: str  # for people: "dfdc_train_part_3"
    folder: Path  # where its videos are, if they are present
    part: int  # number of the part of the full training set, or NO_PART
    names: list[str]
    fake: npt.NDArray[np.bool_]
    originals: list[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Labelled videos, each once.

    names (n,) unique; fake (n,); originals (n,), "" where unknown; file_index (n,): the index in `label_files` of each
    video's file. A video that is both in a part of the full training set and elsewhere belongs to the part.
    """

    label_files: list[LabelFile]
    names: list[str]
    fake: npt.NDArray[np.bool_]
    originals: list[str]
    file_index: npt.NDArray[np.int64]
    duplicates: dict[str, list[str]]  # the folders of each video that is in more than one

    def __len__(self) -> int:
        return len(self.names)

    def source_videos(self) -> list[str]:
        """(n,): the original of each video; its own name for a real one, and where the original is unknown."""
        return [original or name for original, name in zip(self.originals, self.names, strict=True)]

    def folder_name(self, i: int) -> str:
        """The name of the folder of video `i`."""
        return self.label_files[int(self.file_index[i])].folder_name

    def folder_names(self) -> list[str]:
        """(n,): the name of each video's folder."""
        names = [label_file.folder_name for label_file in self.label_files]
        return [names[at] for at in self.file_index.tolist()]

    def path(self, i: int) -> Path:
        """The path of video `i`, which may be missing."""
        return self.label_files[int(self.file_index[i])].folder / self.names[i]


def read_label_files(paths: Iterable[Path], challenge: Challenge) -> list[LabelFile]:
    """Read all label files in `paths`: files, or folders that contain some, themselves or one level down.

    A file may be a `metadata.json`, a file such as `dfdc_train_part_3.metadata.json`, or a CSV with labels. Raises
    DataMissingError if a path has no labels, DataError if a file is broken.
    """
    with translate_read_errors():
        files = {file.resolve(): file for path in paths for file in find_label_files(path, challenge)}
        label_files = [_read(file, challenge) for file in files.values()]
    return sorted(label_files, key=lambda one: (one.part, one.folder_name, str(one.file)))


def find_label_files(path: Path, challenge: Challenge) -> list[Path]:
    """The label files in `path`. Raises DataMissingError if there are none, UsageError for another kind of file."""
    expected = (
        f"Expected: a {challenge.data.metadata} or {LABELS_CSV}, or a folder that contains one, at most one level down."
    )
    if not path.is_dir():
        if not path.exists():
            raise DataMissingError(f"File or folder not found: {path}", hint=expected)
        if path.suffix.lower() not in (".json", ".csv"):
            raise UsageError(f"{path}: seen a {path.suffix or 'file'}, expected labels: .json or .csv.", hint=expected)
        return [path]
    folders = [path, *sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))]
    found = [file for folder in folders for file in _in_folder(folder, challenge)]
    if not found:
        raise DataMissingError(f"{path} contains no labels.", hint=expected)
    return found


def part_number(folder_name: str, challenge: Challenge) -> int:
    """The number in the name of a part's folder, such as 3 in "dfdc_train_part_3"; NO_PART for any other name."""
    before, _, after = challenge.data.train_parts.partition("{}")
    found = re.fullmatch(rf"{re.escape(before)}0*(\d+){re.escape(after)}", folder_name) if before else None
    return int(found[1]) if found else NO_PART


def _in_folder(folder: Path, challenge: Challenge) -> list[Path]:
    metadata = sorted(path for path in folder.glob(f"*{challenge.data.metadata}") if path.is_file())
    labels = folder / LABELS_CSV
    return metadata or ([labels] if labels.is_file() else [])


def _read(file: Path, challenge: Challenge) -> LabelFile:
    folder_name, folder = _folder_of(file.resolve(), challenge)
    rows = read_label_rows(file, challenge)
    part = part_number(folder_name, challenge)
    names, originals = as_text(rows.ids), as_text(rows.originals)
    return LabelFile(file, folder_name, folder, part, names, rows.labels == 1, originals, rows.notes)


def _folder_of(file: Path, challenge: Challenge) -> tuple[str, Path]:
    """Name and path of the videos' folder: `x.metadata.json` is about the folder `x` next to it, if that exists."""
    own = file.name.removesuffix(challenge.data.metadata).rstrip(".").removesuffix(".csv")
    if not own or file.name == LABELS_CSV:
        return file.parent.name, file.parent
    folder = file.parent / own
    return own, folder if folder.is_dir() else file.parent


# ------------------------------------------------------------------------------------------------- several files as one


def read_catalogue(paths: Iterable[Path], challenge: Challenge) -> Catalogue:
    """Read label files and folders into one catalogue.

    Raises DataMissingError if there is none; DataError if a file is broken, or two files contradict each other.
    """
    return join_label_files(read_label_files(paths, challenge), challenge)


def join_label_files(label_files: list[LabelFile], challenge: Challenge) -> Catalogue:
    """One catalogue of several files. Raises DataError, naming both files, where they contradict each other."""
    merger = _Merger(label_files, (challenge.submission.negative, challenge.submission.positive))
    for number in range(len(label_files)):
        merger.add(number)
    if merger.conflicts:
        raise DataError(
            f"The label files contradict each other about {plural(len(merger.conflicts), 'video')}:",
            hint="Leave out the file that is wrong.",
            faults=merger.conflicts,
        )
    if not merger.names:
        raise DataMissingError("The labels name no video.", hint="Expected: at least one entry, name and label.")
    return merger.catalogue()


class _Merger:
    """Adds label files to a catalogue, one after the other."""

    def __init__(self, label_files: list[LabelFile], class_names: tuple[str, str]) -> None:
        self.label_files = label_files
        self.class_names = class_names
        self.row_of: dict[str, int] = {}
        self.names: list[str] = []
        self.fake: list[bool] = []
        self.originals: list[str] = []
        self.file_index: list[int] = []
        self.duplicates: dict[str, list[str]] = {}
        self.conflicts: list[str] = []

    def add(self, number: int) -> None:
        one = self.label_files[number]
        for name, fake, original in zip(one.names, one.fake.tolist(), one.originals, strict=True):
            row = self.row_of.setdefault(name, len(self.names))
            if row < len(self.names):
                self._add_duplicate(row, number, fake, original)
            else:
                self.names.append(name)
                self.fake.append(fake)
                self.originals.append(original)
                self.file_index.append(number)

    def _add_duplicate(self, row: int, number: int, fake: bool, original: str) -> None:
        """The video of `row` is in one more file."""
        name, before, now = self.names[row], self.label_files[self.file_index[row]], self.label_files[number]
        self.duplicates.setdefault(name, [before.folder_name]).append(now.folder_name)
        if self.fake[row] != fake:
            seen = self.class_names[self.fake[row]], self.class_names[fake]
            self.conflicts.append(f"{name}: {seen[0]} in {before.file}, {seen[1]} in {now.file}")
        elif original and self.originals[row] and original != self.originals[row]:
            seen = self.originals[row], original
            self.conflicts.append(f"{name}: original {seen[0]} in {before.file}, {seen[1]} in {now.file}")
        self.originals[row] = self.originals[row] or original
        if before.part == NO_PART:
            self.file_index[row] = number

    def catalogue(self) -> Catalogue:
        fake, file_index = np.array(self.fake, np.bool_), np.array(self.file_index, np.int64)
        return Catalogue(self.label_files, self.names, fake, self.originals, file_index, self.duplicates)


# --------------------------------------------------------------------------------------------------------- CSVs written


class LabelsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `dfdc data labels` wrote."""

    path: str
    sources: list[str]
    rows: int
    fake: int
    real: int
    duplicates: int  # videos that more than one file names, with the same label
    notes: list[str]


def write_labels(paths: Iterable[Path], out: Path, challenge: Challenge) -> LabelsReport:
    """Write the solution of all videos in `paths` to `out`, sorted by name, atomically.

    Raises DataMissingError, DataError (a broken file; two files that contradict each other) or OutputError.
    """
    catalogue = read_catalogue(paths, challenge)
    write_bytes(out, solution_csv(catalogue, range(len(catalogue)), challenge))
    fake = int(catalogue.fake.sum())
    return LabelsReport(
        path=str(out),
        sources=[str(one.file) for one in catalogue.label_files],
        rows=len(catalogue),
        fake=fake,
        real=len(catalogue) - fake,
        duplicates=len(catalogue.duplicates),
        notes=label_notes(catalogue),
    )


def label_notes(catalogue: Catalogue) -> list[str]:
    """How columns and names that are not the official ones were interpreted."""
    return [f"{one.file}: {note}" for one in catalogue.label_files for note in one.notes]


def solution_csv(catalogue: Catalogue, rows: Iterable[int], challenge: Challenge) -> bytes:
    """Some rows of a catalogue as a solution file, sorted by name."""
    return _csv(((catalogue.names[i], int(catalogue.fake[i])) for i in rows), challenge)


def sample_csv(catalogue: Catalogue, rows: Iterable[int], challenge: Challenge) -> bytes:
    """A sample submission of some rows: as in the challenge's own file, each label is the integer 0."""
    return _csv(((catalogue.names[i], 0) for i in rows), challenge)


def _csv(rows: Iterable[tuple[str, int]], challenge: Challenge) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([challenge.submission.row_id, challenge.submission.label])
    table.writerows(sorted(rows))
    return text.getvalue().encode()
