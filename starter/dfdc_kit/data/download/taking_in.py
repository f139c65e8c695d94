"""Taking in an archive that is here: judged, unpacked, noted, and removed once every file of it is verified."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.download.fetch import Wanted, Watcher, Wire, fetch
from dfdc_kit.data.download.manifest import Entry, Manifest
from dfdc_kit.data.download.unpack import DamagedArchive, members, unpack
from dfdc_kit.errors import BadData, MissingData

FETCHES = 2  # of an archive whose bytes are damaged
Taken = TypeVar("Taken")


class TakenIn(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one archive."""

    archive: Path
    holds: str  # the name that the archive has on Kaggle, whatever it is called here
    files: int
    size_bytes: int  # unpacked
    removed: bool  # the archive itself


def there(archive: Path) -> None:
    """Raises MissingData if there is no such file."""
    if not archive.is_file():
        raise MissingData(f"There is no archive {archive}.", hint="Give the file that the browser has saved.")


def take_in(
    archive: Path,
    folder: Path,
    challenge: Challenge,
    watcher: Watcher,
    *,
    keep_zip: bool,
    holds: str = "",
    digest: str = "",
) -> TakenIn:
    """Unpack `archive` into `folder`, note what was verified, and remove it unless `keep_zip`.

    Raises MissingData; BadData if it is damaged, hostile, or not of this challenge (not `holds`, if that is given).
    The caller holds the folder (`working_in`).
    """
    there(archive)
    found = _what_it_holds(archive, challenge)
    if holds and found != holds:
        raise BadData(f"{archive} holds {found}, not {holds}.", hint=f"rm {archive}   then fetch it again")
    entries = unpack_watched(archive, folder, watcher, found)
    size = archive.stat().st_size
    Manifest(folder).add(*entries, Entry(name=found, size_bytes=size, digest=digest, files=len(entries)))
    if not keep_zip:
        archive.unlink()
    return TakenIn(
        archive=archive,
        holds=found,
        files=len(entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        removed=not keep_zip,
    )


def fetch_and_take(wanted: Wanted, wire: Wire, take: Callable[[str], Taken]) -> tuple[Taken, int]:
    """Fetch an archive and `take` it in, given its digest; the answer, and the bytes transferred.

    An archive that is there already is tried first (the digest is then empty). A damaged one is removed and fetched
    again; a second damaged one is raised as DamagedArchive.
    """
    transferred_bytes, fetches = 0, 0
    while True:
        digest = ""
        if not wanted.path.exists():
            fetched = fetch(wanted, wire)
            transferred_bytes += fetched.transferred_bytes
            fetches, digest = fetches + 1, fetched.digest
        try:
            return take(digest), transferred_bytes
        except DamagedArchive as error:
            wanted.path.unlink()
            if fetches >= FETCHES:
                raise
            wire.watcher.said(f"{error} It is fetched again.")


def unpack_watched(archive: Path, folder: Path, watcher: Watcher, name: str) -> list[Entry]:
    """`unpack`, with the progress shown; the entries say that they came in `name`."""
    label = f"unpacking {name}"
    total_bytes = sum(member.file_size for member in members(archive))
    watcher.started(label, 0, total_bytes)
    try:
        entries = unpack(archive, folder, lambda count_bytes: watcher.advanced(label, count_bytes))
    finally:
        watcher.ended(label)
    return [msgspec.structs.replace(entry, archive=name) for entry in entries]


def _what_it_holds(archive: Path, challenge: Challenge) -> str:
    """The archive's name on Kaggle, by the folder inside: browsers rename files, "(1)" and all."""
    tops = {member.filename.partition("/")[0] for member in members(archive)}
    layout, pattern = challenge.data, challenge.data.train_parts
    if challenge.parts:
        for part in range(challenge.sizes.train_parts):
            if tops == {pattern.format(part)}:
                return challenge.parts.archive.format(part=part)
    if tops and tops <= {layout.test_videos, layout.train_videos, layout.sample_submission}:
        return f"{challenge.slug}.zip"
    seen = ", ".join(sorted(tops)[:3]) or "nothing"
    wanted = " or ".join(filter(None, [layout.test_videos, pattern.format(7)]))
    message = f"{archive} is no archive of this challenge: it holds {seen}, expected a folder such as {wanted}."
    raise BadData(message, hint="See which archives there are: dfdc download parts --help")
