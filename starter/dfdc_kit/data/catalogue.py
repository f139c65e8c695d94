"""What metadata says about the videos of one folder, and where a data folder keeps its metadata."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.metadata import read_metadata
from dfdc_kit.data.solution import read_solution
from dfdc_kit.errors import DataError, DataMissingError, KitError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import plural

LABELS_CSV = "labels.csv"
NO_PART = -1


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The videos that one metadata file names: names (n,) unique, fake (n,), originals (n,) with "" for "not told"."""

    file: Path
    place: str  # the folder's name, for people: "dfdc_train_part_3"
    folder: Path  # where the videos stand, if they are there
    part: int  # number of the part of the full training set, or NO_PART
    names: list[str]
    fake: npt.NDArray[np.bool_]
    originals: list[str]


def read_label_files(paths: Iterable[Path], challenge: Challenge) -> list[LabelFile]:
    """Read all metadata in `paths`: files, or folders that hold some, themselves or one level down.

    A file may be a `metadata.json`, something like `dfdc_train_part_3.metadata.json`, or a CSV with labels, which names
    no originals. Raises DataMissingError if a path holds nothing of the kind, DataError if a file is broken.
    """
    with reading():
        files = {file.resolve(): file for path in paths for file in find_metadata(path, challenge)}
        label_files = [_read(file, challenge) for file in files.values()]
    return sorted(label_files, key=lambda label_file: (label_file.part, label_file.place, str(label_file.file)))


def find_metadata(path: Path, challenge: Challenge) -> list[Path]:
    """The metadata files in `path`. Raises DataMissingError if there are none."""
    expected = f"Expected: a {challenge.data.metadata}, or a folder that holds one, itself or one level down."
    if not path.is_dir():
        if not path.exists():
            raise DataMissingError(f"There is no {path}.", hint=expected)
        if path.suffix.lower() not in (".json", ".csv"):
            raise UsageError(
                f"{path}: seen a {path.suffix or 'file'}, expected metadata: .json or .csv.", hint=expected
            )
        return [path]
    folders = [path, *sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))]
    found = [file for folder in folders for file in _in_folder(folder, challenge)]
    if not found:
        raise DataMissingError(f"{path} holds no metadata.", hint=expected)
    return found


@contextmanager
def reading() -> Iterator[None]:
    """What the machine does not let us read becomes DataMissingError, with the reason."""
    try:
        yield
    except KitError:
        raise
    except OSError as error:
        raise DataMissingError(
            f"Cannot read {error.filename}: {error.strerror}.", hint="See who may read it: ls -ld, on it and above."
        ) from error


def part_of(place: str, challenge: Challenge) -> int:
    """The number in the name of a part's folder, such as 3 in "dfdc_train_part_3"; NO_PART for any other name."""
    before, _, after = challenge.data.train_parts.partition("{}")
    found = re.fullmatch(rf"{re.escape(before)}0*(\d+){re.escape(after)}", place) if before else None
    return int(found[1]) if found else NO_PART


def _in_folder(folder: Path, challenge: Challenge) -> list[Path]:
    metadata = sorted(path for path in folder.glob(f"*{challenge.data.metadata}") if path.is_file())
    labels = folder / LABELS_CSV
    return metadata or ([labels] if labels.is_file() else [])


def _read(file: Path, challenge: Challenge) -> LabelFile:
    place, folder = _place(file.resolve(), challenge)
    part = part_of(place, challenge)
    if file.suffix.lower() != ".json":
        solution = read_solution(file, challenge)
        names = as_text(solution.ids)
        return LabelFile(file, place, folder, part, names, solution.labels == 1, [""] * len(names))
    rows = read_metadata(file, challenge)
    positive = challenge.submission.positive
    return LabelFile(
        file=file,
        place=place,
        folder=folder,
        part=part,
        names=list(rows),
        fake=np.array([entry["label"] == positive for entry in rows.values()], np.bool_),
        originals=[entry.get("original") or "" for entry in rows.values()],
    )


def _place(file: Path, challenge: Challenge) -> tuple[str, Path]:
    """Name and folder of the videos: `x.metadata.json` is about the folder `x` beside it, if there is one."""
    own = file.name.removesuffix(challenge.data.metadata).rstrip(".").removesuffix(".csv")
    if not own or file.name == LABELS_CSV:
        return file.parent.name, file.parent
    beside = file.parent / own
    return own, beside if beside.is_dir() else file.parent


FIRST = 5  # conflicts told


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Labelled videos, each once.

    names (n,) unique; fake (n,); originals (n,), "" where unknown; at (n,): the index in `label_files` of each video's
    file. A video that is both in a part of the full training set and elsewhere belongs to the part.
    """

    label_files: list[LabelFile]
    names: list[str]
    fake: npt.NDArray[np.bool_]
    originals: list[str]
    at: npt.NDArray[np.int64]
    again: dict[str, list[str]]  # the places of each video that stands in more than one

    def __len__(self) -> int:
        return len(self.names)

    def roots(self) -> list[str]:
        """(n,): the original of each video; its own name for a real one, and where none is told."""
        return [original or name for original, name in zip(self.originals, self.names, strict=True)]

    def place(self, i: int) -> str:
        """The name of the folder that video `i` stands in."""
        return self.label_files[int(self.at[i])].place

    def places(self) -> list[str]:
        """(n,): the name of each video's folder."""
        names = [label_file.place for label_file in self.label_files]
        return [names[at] for at in self.at.tolist()]

    def path(self, i: int) -> Path:
        """Where video `i` stands, if it is there."""
        return self.label_files[int(self.at[i])].folder / self.names[i]


def read_catalogue(paths: Iterable[Path], challenge: Challenge) -> Catalogue:
    """Read metadata files and folders into one catalogue.

    Raises DataMissingError if there is none; DataError if a file is broken, or two files contradict each other.
    """
    return join(read_label_files(paths, challenge), challenge)


def join(label_files: list[LabelFile], challenge: Challenge) -> Catalogue:
    """One catalogue from several label_files. Raises DataError, naming both files, where they contradict each other."""
    joining = _Joining(label_files, (challenge.submission.negative, challenge.submission.positive))
    for number in range(len(label_files)):
        joining.add(number)
    if joining.conflicts:
        raise _contradiction(joining.conflicts)
    if not joining.names:
        raise DataMissingError("The metadata names no video.", hint="Expected: at least one entry, name and label.")
    return joining.catalogue()


class _Joining:
    """Listings become one catalogue, one after the other."""

    def __init__(self, label_files: list[LabelFile], labels: tuple[str, str]) -> None:
        self.label_files = label_files
        self.labels = labels
        self.row_of: dict[str, int] = {}
        self.names: list[str] = []
        self.fake: list[bool] = []
        self.originals: list[str] = []
        self.at: list[int] = []
        self.again: dict[str, list[str]] = {}
        self.conflicts: list[str] = []

    def add(self, number: int) -> None:
        label_file = self.label_files[number]
        for name, fake, original in zip(label_file.names, label_file.fake.tolist(), label_file.originals, strict=True):
            row = self.row_of.setdefault(name, len(self.names))
            if row < len(self.names):
                self._meet(row, number, fake, original)
            else:
                self.names.append(name)
                self.fake.append(fake)
                self.originals.append(original)
                self.at.append(number)

    def _meet(self, row: int, number: int, fake: bool, original: str) -> None:
        """The video of `row` stands in one more label_file."""
        name, before, here = self.names[row], self.label_files[self.at[row]], self.label_files[number]
        self.again.setdefault(name, [before.place]).append(here.place)
        if self.fake[row] != fake:
            seen = self.labels[self.fake[row]], self.labels[fake]
            self.conflicts.append(f"{name}: {seen[0]} in {before.file}, {seen[1]} in {here.file}")
        elif original and self.originals[row] and original != self.originals[row]:
            seen = self.originals[row], original
            self.conflicts.append(f"{name}: original {seen[0]} in {before.file}, {seen[1]} in {here.file}")
        self.originals[row] = self.originals[row] or original
        if before.part == NO_PART:
            self.at[row] = number

    def catalogue(self) -> Catalogue:
        fake, at = np.array(self.fake, np.bool_), np.array(self.at, np.int64)
        return Catalogue(self.label_files, self.names, fake, self.originals, at, self.again)


def _contradiction(conflicts: list[str]) -> DataError:
    more = f"\n  ... and {len(conflicts) - FIRST} more" if len(conflicts) > FIRST else ""
    return DataError(
        f"The metadata contradicts itself about {plural(len(conflicts), 'video')}:\n  "
        + "\n  ".join(conflicts[:FIRST])
        + more,
        hint="Leave one of the two files out, or get both again.",
    )


class LabelsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    path: str
    sources: list[str]
    rows: int
    fake: int
    real: int
    stood_twice: int  # videos that more than one file names, with the same label


def write_labels(paths: Iterable[Path], out: Path, challenge: Challenge) -> LabelsReport:
    """Write the solution of all videos in `paths` to `out`, sorted by name, whole or not at all.

    Raises DataMissingError, DataError (a broken file; two files that contradict each other) or OutputError.
    """
    catalogue = read_catalogue(paths, challenge)
    write_bytes(out, solution_csv(catalogue, range(len(catalogue)), challenge))
    fake = int(catalogue.fake.sum())
    return LabelsReport(
        path=str(out),
        sources=[str(label_file.file) for label_file in catalogue.label_files],
        rows=len(catalogue),
        fake=fake,
        real=len(catalogue) - fake,
        stood_twice=len(catalogue.again),
    )


def solution_csv(catalogue: Catalogue, rows: Iterable[int], challenge: Challenge) -> bytes:
    """The truth about some rows of a catalogue as a solution file, sorted by name."""
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
