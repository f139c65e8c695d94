"""What metadata says about the videos of one folder, and where a data folder keeps its metadata."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csvtext import as_text
from dfdc_kit.data.metadata import read_metadata
from dfdc_kit.data.solution import read_solution
from dfdc_kit.errors import KitError, MissingData, UsageFault

LABELS_CSV = "labels.csv"
NO_PART = -1


@dataclass(frozen=True, slots=True)
class Listing:
    """The videos that one metadata file names: names (n,) unique, fake (n,), originals (n,) with "" for "not told"."""

    file: Path
    place: str  # the folder's name, for people: "dfdc_train_part_3"
    folder: Path  # where the videos stand, if they are there
    part: int  # number of the part of the full training set, or NO_PART
    names: list[str]
    fake: npt.NDArray[np.bool_]
    originals: list[str]


def read_listings(paths: Iterable[Path], challenge: Challenge) -> list[Listing]:
    """Read all metadata in `paths`: files, or folders that hold some, themselves or one level down.

    A file may be a `metadata.json`, something like `dfdc_train_part_3.metadata.json`, or a CSV with labels, which names
    no originals. Raises MissingData if a path holds nothing of the kind, BadData if a file is broken.
    """
    with reading():
        files = {file.resolve(): file for path in paths for file in find_metadata(path, challenge)}
        listings = [_read(file, challenge) for file in files.values()]
    return sorted(listings, key=lambda listing: (listing.part, listing.place, str(listing.file)))


def find_metadata(path: Path, challenge: Challenge) -> list[Path]:
    """The metadata files in `path`. Raises MissingData if there are none."""
    expected = f"Expected: a {challenge.data.metadata}, or a folder that holds one, itself or one level down."
    if not path.is_dir():
        if not path.exists():
            raise MissingData(f"There is no {path}.", hint=expected)
        if path.suffix.lower() not in (".json", ".csv"):
            raise UsageFault(
                f"{path}: seen a {path.suffix or 'file'}, expected metadata: .json or .csv.", hint=expected
            )
        return [path]
    folders = [path, *sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))]
    found = [file for folder in folders for file in _in_folder(folder, challenge)]
    if not found:
        raise MissingData(f"{path} holds no metadata.", hint=expected)
    return found


@contextmanager
def reading() -> Iterator[None]:
    """What the machine does not let us read becomes MissingData, with the reason."""
    try:
        yield
    except KitError:
        raise
    except OSError as error:
        raise MissingData(
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


def _read(file: Path, challenge: Challenge) -> Listing:
    place, folder = _place(file.resolve(), challenge)
    part = part_of(place, challenge)
    if file.suffix.lower() != ".json":
        solution = read_solution(file, challenge)
        names = as_text(solution.ids)
        return Listing(file, place, folder, part, names, solution.truth == 1, [""] * len(names))
    rows = read_metadata(file, challenge)
    positive = challenge.submission.positive
    return Listing(
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
