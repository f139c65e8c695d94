"""Taking in an archive that is here: judged, unpacked, noted, and removed once every file of it is verified."""

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, DataMissingError, OutputError
from dfdc_kit.files import check_room, why_unsafe
from dfdc_kit.kaggle.download.fetch import FetchRequest, Watcher, Wire, fetch
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Digest, arriving

FETCHES = 2  # of an archive whose bytes are damaged
Taken = TypeVar("Taken")


class IngestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one archive."""

    archive: Path
    holds: str  # the name that the archive has on Kaggle, whatever it is called here
    files: int
    size_bytes: int  # unpacked
    removed: bool  # the archive itself


def there(archive: Path) -> None:
    """Raises DataMissingError if there is no such file."""
    if not archive.is_file():
        raise DataMissingError(f"There is no archive {archive}.", hint="Give the file that the browser has saved.")


def ingest_archive(
    archive: Path,
    folder: Path,
    challenge: Challenge,
    watcher: Watcher,
    *,
    keep_zip: bool,
    holds: str = "",
    digest: str = "",
) -> IngestResult:
    """Unpack `archive` into `folder`, note what was verified, and remove it unless `keep_zip`.

    Raises DataMissingError; DataError if it is damaged, hostile, or not of this challenge (not `holds`, if
    that is given).
    The caller holds the folder (`lock_folder`).
    """
    there(archive)
    found = _what_it_holds(archive, challenge)
    if holds and found != holds:
        raise DataError(f"{archive} holds {found}, not {holds}.", hint=f"rm {archive}   then fetch it again")
    entries = unpack_watched(archive, folder, watcher, found)
    size = archive.stat().st_size
    Manifest(folder).add(*entries, Entry(name=found, size_bytes=size, digest=digest, files=len(entries)))
    if not keep_zip:
        archive.unlink()
    return IngestResult(
        archive=archive,
        holds=found,
        files=len(entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        removed=not keep_zip,
    )


def fetch_and_ingest(wanted: FetchRequest, wire: Wire, take: Callable[[str], Taken]) -> tuple[Taken, int]:
    """Fetch an archive and `take` it in, given its digest; the answer, and the bytes transferred.

    An archive that is there already is tried first (the digest is then empty). A damaged one is removed and fetched
    again; a second damaged one is raised as DamagedArchiveError.
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
        except DamagedArchiveError as error:
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
    raise DataError(message, hint="See which archives there are: dfdc download parts --help")


BLOCK_BYTES = 1 << 20
MOST_GROWTH = 50  # times its own size that an archive may unpack to; videos do not shrink, JSON does by 10
GROWTH_FREE_BYTES = 16 << 20  # small archives may grow more
AGAIN = "Fetch it again; it may be cut off or damaged"


class DamagedArchiveError(DataError):
    """An archive that is cut off, or whose bytes are not those that were packed: fetched again, it may be whole."""


def members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in `archive`, in its order. Raises DataError, naming the first fault, if any of them is unsafe."""
    with opened(archive) as file:
        return _judged(archive, file)


def opened(archive: Path) -> zipfile.ZipFile:
    """`archive`, open for reading. Raises DataError if it is not a whole zip archive."""
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DamagedArchiveError(f"{archive} is not a whole zip archive: {error}.", hint=AGAIN) from error
    except OSError as error:
        raise DataError(f"Cannot read {archive}: {error.strerror}.") from error


def unpack(archive: Path, folder: Path, advanced: Callable[[int], None] = lambda _: None) -> list[Entry]:
    """Unpack `archive` into `folder`, keeping its folders; the verified files, with their digests.

    A file that is there already, with the right size and CRC, is kept: a second call goes on where the first was
    interrupted. `advanced` is told the bytes of each file. Raises DataError for a hostile or damaged archive (what was
    unpacked before stays), OutputError for a full disk.
    """
    with opened(archive) as file:
        files = _judged(archive, file)
        missing = [member for member in files if not _same_size(folder / member.filename, member)]
        check_room(folder, sum(member.file_size for member in missing))
        entries = []
        for member in files:
            path = folder / member.filename
            digest = _digest_if_same(path, member) or _write(archive, file, member, path)
            entries.append(
                Entry(name=member.filename, size_bytes=member.file_size, digest=digest, archive=archive.name)
            )
            advanced(member.file_size)
        return entries


def _write(archive: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    """Unpack one file; its digest. The archive's CRC is checked by `zipfile` as the last byte is read."""
    digest = Digest()
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the archive has a file of that name.", hint=f"Move it away: {path}")
    with arriving(path) as part, part.open("wb") as out:
        for block in _blocks(archive, file, member):
            digest.update(block)
            out.write(block)
    return digest.text()


def _blocks(archive: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    count_bytes = 0
    try:
        with file.open(member) as source:
            while block := source.read(BLOCK_BYTES):
                count_bytes += len(block)
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedArchiveError(f"{archive}: {member.filename} is damaged: {error}.", hint=AGAIN) from error
    if count_bytes != member.file_size:
        seen = f"{count_bytes:,} bytes, {member.file_size:,} listed"
        raise DamagedArchiveError(f"{archive}: {member.filename} is damaged: {seen}.", hint=AGAIN)


def _judged(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    for member in file.infolist():
        if fault := _fault(member):
            message = f"{archive} is refused, nothing was unpacked: it holds {member.filename!r}, {fault}."
            raise DataError(message, hint="Fetch the archive from its own page; do not trust this one")
    files = [member for member in file.infolist() if not member.is_dir()]
    _check_names(archive, files)
    total, packed = sum(member.file_size for member in files), archive.stat().st_size
    if total > MOST_GROWTH * packed + GROWTH_FREE_BYTES:
        message = f"{archive} is refused, nothing was unpacked: {packed:,} bytes would become {total:,}."
        raise DataError(message, hint="That is no archive of videos; fetch it from its own page")
    return files


def _fault(member: zipfile.ZipInfo) -> str:
    """What makes this member dangerous; empty if nothing does."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR, stat.S_IFREG):
        return "a link or a device"
    if member.flag_bits & 0x1:
        return "an encrypted file"
    return why_unsafe(member.orig_filename)  # as it stands in the archive; `filename` is mended already


def _check_names(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    """Two files of one name, or a file where another needs a folder, would overwrite each other."""
    names: set[str] = set()
    for member in files:
        if member.filename in names:
            raise DataError(f"{archive} is refused: it holds {member.filename!r} twice.", hint=AGAIN)
        names.add(member.filename)
    for name in names:
        for above in PurePosixPath(name).parents:
            if str(above) in names:
                raise DataError(f"{archive} is refused: {str(above)!r} is both a file and a folder.", hint=AGAIN)


def _same_size(path: Path, member: zipfile.ZipInfo) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == member.file_size


def _digest_if_same(path: Path, member: zipfile.ZipInfo) -> str:
    """The digest of the file at `path` if it has the size and CRC of `member`; else empty."""
    if not _same_size(path, member):
        return ""
    digest, crc = Digest(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            crc = zlib.crc32(block, crc)
    return digest.text() if crc == member.CRC else ""
