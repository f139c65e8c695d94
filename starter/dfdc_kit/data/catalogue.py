"""All labelled videos of a data folder, each once, with the original that it was made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_kit.amounts import counted
from dfdc_kit.challenge import Challenge
from dfdc_kit.data.listing import NO_PART, Listing, read_listings
from dfdc_kit.errors import BadData, MissingData

FIRST = 5  # conflicts told


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Labelled videos, each once.

    names (n,) unique; fake (n,); originals (n,), "" where none is told; at (n,): which of `listings` the video stands
    in. A video that stands in a part of the full training set and elsewhere belongs to the part.
    """

    listings: list[Listing]
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
        return self.listings[int(self.at[i])].place

    def places(self) -> list[str]:
        """(n,): the name of each video's folder."""
        names = [listing.place for listing in self.listings]
        return [names[at] for at in self.at.tolist()]

    def path(self, i: int) -> Path:
        """Where video `i` stands, if it is there."""
        return self.listings[int(self.at[i])].folder / self.names[i]


def read_catalogue(paths: Iterable[Path], challenge: Challenge) -> Catalogue:
    """Read metadata files and folders into one catalogue.

    Raises MissingData if there is none; BadData if a file is broken, or two files contradict each other.
    """
    return join(read_listings(paths, challenge), challenge)


def join(listings: list[Listing], challenge: Challenge) -> Catalogue:
    """One catalogue from several listings. Raises BadData, naming both files, where they contradict each other."""
    joining = _Joining(listings, (challenge.submission.negative, challenge.submission.positive))
    for number in range(len(listings)):
        joining.add(number)
    if joining.conflicts:
        raise _contradiction(joining.conflicts)
    if not joining.names:
        raise MissingData("The metadata names no video.", hint="Expected: at least one entry, name and label.")
    return joining.catalogue()


class _Joining:
    """Listings become one catalogue, one after the other."""

    def __init__(self, listings: list[Listing], labels: tuple[str, str]) -> None:
        self.listings = listings
        self.labels = labels
        self.row_of: dict[str, int] = {}
        self.names: list[str] = []
        self.fake: list[bool] = []
        self.originals: list[str] = []
        self.at: list[int] = []
        self.again: dict[str, list[str]] = {}
        self.conflicts: list[str] = []

    def add(self, number: int) -> None:
        listing = self.listings[number]
        for name, fake, original in zip(listing.names, listing.fake.tolist(), listing.originals, strict=True):
            row = self.row_of.setdefault(name, len(self.names))
            if row < len(self.names):
                self._meet(row, number, fake, original)
            else:
                self.names.append(name)
                self.fake.append(fake)
                self.originals.append(original)
                self.at.append(number)

    def _meet(self, row: int, number: int, fake: bool, original: str) -> None:
        """The video of `row` stands in one more listing."""
        name, before, here = self.names[row], self.listings[self.at[row]], self.listings[number]
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
        return Catalogue(self.listings, self.names, fake, self.originals, at, self.again)


def _contradiction(conflicts: list[str]) -> BadData:
    more = f"\n  ... and {len(conflicts) - FIRST} more" if len(conflicts) > FIRST else ""
    return BadData(
        f"The metadata contradicts itself about {counted(len(conflicts), 'video')}:\n  "
        + "\n  ".join(conflicts[:FIRST])
        + more,
        hint="Leave one of the two files out, or get both again.",
    )
