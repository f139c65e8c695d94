"""What there is of the challenge's data, at a glance: no video is opened."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.listing import NO_PART, Listing, part_of, read_listings, reading
from dfdc_kit.data.verify.inspection import Progress, list_videos, silent
from dfdc_kit.errors import MissingData


class FolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One folder of videos. What metadata tells is None where there is none."""

    name: str
    part: int | None
    videos: int  # on disk
    bytes: int
    listed: int | None = None  # videos that the metadata names
    missing: int | None = None  # of those, how many are not on disk
    fake: int | None = None
    real: int | None = None
    originals: int | None = None  # different originals
    originals_missing: int | None = None  # originals that the folder's metadata does not name itself


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """All folders, and the parts of the full training set of which no video is there."""

    folder: str
    folders: list[FolderStatus]
    parts_in_all: int
    parts_missing: list[int]
    videos: int
    bytes: int


def status(folder: Path, challenge: Challenge, progress: Progress = silent) -> StatusReport:
    """The state of a data folder; `progress` counts its folders.

    Raises MissingData if there is none, BadData if metadata is broken.
    """
    with reading():
        return _status(folder, challenge, progress)


def _status(folder: Path, challenge: Challenge, progress: Progress) -> StatusReport:
    if not folder.is_dir():
        raise MissingData(f"There is no folder {folder}.", hint="Get the data: dfdc download sample")
    root = folder.resolve()
    try:
        listings = read_listings([root], challenge)
    except MissingData:
        listings = []
    known = Counter(listing.folder for listing in listings)
    others = [path for path in sorted(root.iterdir()) if path.is_dir() and path not in known]
    total = len(listings) + len(others)
    folders = []
    for listing in listings:
        folders.append(_listed(listing, known[listing.folder] > 1, challenge))
        progress(len(folders), total)
    for path in others:
        folders.append(_unlisted(path, challenge))
        progress(len(folders), total)
    folders = [found for found in folders if found.videos or found.listed]
    there = {found.part for found in folders if found.videos}
    return StatusReport(
        folder=str(root),
        folders=folders,
        parts_in_all=challenge.sizes.train_parts,
        parts_missing=[part for part in range(challenge.sizes.train_parts) if part not in there],
        videos=sum(found.videos for found in folders),
        bytes=sum(found.bytes for found in folders),
    )


def ranges(numbers: Iterable[int]) -> str:
    """Sorted numbers as people write them, and as `dfdc download parts` reads them: "0-2,4,6-49"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _listed(listing: Listing, shared: bool, challenge: Challenge) -> FolderStatus:
    """`shared`: another listing is about the same folder, so only what this one names is counted."""
    there = list_videos(listing.folder, challenge.data.video_suffix)
    if shared:
        there = {name: there[name] for name in there.keys() & set(listing.names)}
    originals = {original or name for original, name in zip(listing.originals, listing.names, strict=True)}
    fake = int(listing.fake.sum())
    return FolderStatus(
        name=listing.place,
        part=None if listing.part == NO_PART else listing.part,
        videos=len(there),
        bytes=sum(file.size_bytes for file in there.values()),
        listed=len(listing.names),
        missing=len(set(listing.names) - there.keys()),
        fake=fake,
        real=len(listing.names) - fake,
        originals=len(originals),
        originals_missing=len(originals - set(listing.names)),
    )


def _unlisted(folder: Path, challenge: Challenge) -> FolderStatus:
    """A folder without metadata: the public test, or a part whose metadata is gone."""
    there = list_videos(folder, challenge.data.video_suffix)
    part = part_of(folder.name, challenge)
    return FolderStatus(
        name=folder.name,
        part=None if part == NO_PART else part,
        videos=len(there),
        bytes=sum(file.size_bytes for file in there.values()),
    )
