"""Unpacks archives into a data folder: checked for unsafe names, verified, recorded, then removed."""

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.integrity import missing_videos
from dfdc_kit.errors import DataError, DataMissingError, OutputError
from dfdc_kit.files import check_free_space, why_unsafe
from dfdc_kit.formatting import join_names, plural
from dfdc_kit.kaggle.download.fetch import FetchRequest, TransferProgress, Transport, fetch
from dfdc_kit.kaggle.download.manifest import Entry, Manifest
from dfdc_kit.kaggle.download.partial import Digest, part_file

MOST_FETCHES = 2  # of an archive that arrives damaged
BLOCK_BYTES = 1 << 20
MOST_GROWTH = 50  # times its own size that an archive may unpack to; videos do not shrink, JSON does by 10
GROWTH_FREE_BYTES = 16 << 20  # small archives may grow more
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ"}
JUNK = {"__MACOSX", ".DS_Store"}  # what macOS adds
OTHER_KINDS = {  # first bytes -> what it is instead of a zip archive
    b"<": "it is an HTML page, perhaps of a sign-in",
    b"Rar!": "it is a RAR archive",
    b"7z\xbc\xaf": "it is a 7z archive",
    b"\x1f\x8b": "it is a gzip file, perhaps .tar.gz",
    b"\xfd7zXZ": "it is an XZ file, perhaps .tar.xz",
}
REPACK = "It is not damaged: unpack it with 7-Zip or unzip, and zip it again."
ZIP_IT = "Unpack it, and zip its folder."
AGAIN = "Download it again; it may be cut off or damaged."
Result = TypeVar("Result")


class IngestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one archive."""

    archive: Path
    name: str  # the archive's name on Kaggle, whatever it is called here
    files: int
    size_bytes: int  # unpacked
    removed: bool  # the archive itself
    problem: str = ""  # what is missing in it: it is kept, and not recorded as good


class DamagedArchiveError(DataError):
    """An archive that is cut off, or whose bytes are damaged: another download may be good."""


def check_exists(archive: Path) -> None:
    """Raise DataMissingError if there is no such file."""
    if not archive.is_file():
        raise DataMissingError(f"Archive not found: {archive}", hint="Pass the file that the browser has saved.")


def ingest_archive(
    archive: Path,
    folder: Path,
    challenge: Challenge,
    progress: TransferProgress,
    *,
    keep_zip: bool,
    expected: str = "",
    digest: str = "",
) -> IngestResult:
    """Unpack `archive` into `folder`, record the verified files, and remove the archive unless `keep_zip`.

    An archive that lacks videos that its own metadata lists is kept, and not recorded as good: see the result's
    `problem`. Raises DataMissingError; DataError if the archive is damaged, unsafe, or not of this challenge (or not
    `expected`, if that is given). The caller holds the folder's lock (`lock_folder`).
    """
    check_exists(archive)
    name = _kaggle_name(archive, challenge)
    if expected and name != expected:
        raise DataError(f"{archive} contains {name}, expected {expected}.", command=f"rm {archive}")
    entries = unpack_with_progress(archive, folder, progress, name, undouble=True)
    problem = next(filter(None, (incomplete(folder / top, challenge) for top in _tops(entries))), "")
    size = archive.stat().st_size
    complete = [] if problem else [Entry(name=name, size_bytes=size, digest=digest, files=len(entries))]
    Manifest(folder).add(*entries, *complete)
    return IngestResult(
        archive=archive,
        name=name,
        files=len(entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        removed=not keep_zip and not problem and _remove(archive),
        problem=problem,
    )


def incomplete(folder: Path, challenge: Challenge) -> str:
    """What a folder of labelled videos lacks, by its metadata, in words; empty if it is complete or has no labels."""
    if not folder.is_dir() or folder.name == challenge.data.test_videos:
        return ""
    metadata = challenge.data.metadata
    if not (folder / metadata).is_file():
        return f"{folder.name} has no {metadata}"
    missing = missing_videos(folder, challenge)
    if missing == [folder.resolve()]:
        return f"{folder.name} has none of the videos listed in its {metadata}"
    if missing:
        names = join_names((path.name for path in missing), 3)
        return f"{folder.name} lacks {plural(len(missing), 'video')} listed in its {metadata}: {names}"
    return ""


def _tops(entries: list[Entry]) -> list[str]:
    return sorted({entry.name.partition("/")[0] for entry in entries})


def _remove(archive: Path) -> bool:
    """Remove the archive; False if it must not be, as in a folder that is read-only."""
    try:
        archive.unlink()
    except OSError:
        return False
    return True


def fetch_and_ingest(
    request: FetchRequest, transport: Transport, ingest: Callable[[str], Result]
) -> tuple[Result, int]:
    """Fetch an archive and `ingest` it, given its digest; the result, and the bytes transferred.

    An archive that is already here is tried first (the digest is then empty). A damaged one is removed and fetched
    again; a second damaged one raises DamagedArchiveError.
    """
    transferred_bytes, fetches = 0, 0
    while True:
        digest = ""
        if not request.path.exists():
            fetched = fetch(request, transport)
            transferred_bytes += fetched.transferred_bytes
            fetches, digest = fetches + 1, fetched.digest
        try:
            return ingest(digest), transferred_bytes
        except DamagedArchiveError as error:
            request.path.unlink()
            if fetches >= MOST_FETCHES:
                raise
            transport.progress.info(f"{error} Fetching it again.")


def unpack_with_progress(
    archive: Path, folder: Path, progress: TransferProgress, name: str, *, undouble: bool = False
) -> list[Entry]:
    """`unpack`, with its progress shown; the entries record that they came in `name`."""
    label = f"unpacking {name}"
    progress.started(label, 0, sum(member.file_size for member in members(archive)))
    try:
        entries = unpack(archive, folder, lambda count_bytes: progress.advanced(label, count_bytes), undouble=undouble)
    finally:
        progress.ended(label)
    return [msgspec.structs.replace(entry, archive=name) for entry in entries]


def _kaggle_name(archive: Path, challenge: Challenge) -> str:
    """The archive's name on Kaggle, by the folders inside: browsers rename files, "(1)" and all."""
    tops = {member.filename.partition("/")[0] for member in members(archive, undouble=True)}
    layout, pattern = challenge.data, challenge.data.train_parts
    if challenge.parts:
        for part in range(challenge.sizes.train_parts):
            if tops == {pattern.format(part)}:
                return challenge.parts.archive.format(part=part)
    if tops and tops <= {layout.test_videos, layout.train_videos, layout.sample_submission}:
        return f"{challenge.slug}.zip"
    seen = ", ".join(sorted(tops)[:3]) or "nothing"
    known = " or ".join(filter(None, [layout.test_videos, pattern.format(7)]))
    message = f"{archive} is not an archive of this challenge: it contains {seen}, expected a folder such as {known}."
    if any(top.endswith(".zip") for top in tops):
        raise DataError(message, hint="Unpack it, and add the archive that is in it.")
    raise DataError(message, hint="For the list of archives, see the parts:", command="dfdc download parts --help")


def members(archive: Path, *, undouble: bool = False) -> list[zipfile.ZipInfo]:
    """The files in `archive`, in its order. Raises DataError, naming the first problem, if any of them is unsafe."""
    with opened(archive) as file:
        return _checked(archive, file, undouble)


def opened(archive: Path) -> zipfile.ZipFile:
    """`archive`, open for reading. Raises DataError if it is not a complete zip archive."""
    try:
        return zipfile.ZipFile(archive)
    except NotImplementedError as error:
        raise DataError(f"{archive} cannot be unpacked by Python: {error}.", hint=REPACK) from error
    except (zipfile.BadZipFile, ValueError) as error:
        seen = _other_kind(archive)
        hint = ZIP_IT if "archive" in seen or "file" in seen else AGAIN
        raise DamagedArchiveError(f"{archive} is not a complete zip archive: {seen or error}.", hint=hint) from error
    except OSError as error:
        raise DataError(f"Cannot read {archive}: {error.strerror}.") from error


def _other_kind(archive: Path) -> str:
    with archive.open("rb") as file:
        start = file.read(512).lstrip()
    if start[257:262] == b"ustar":
        return "it is a tar archive"
    return next((kind for sign, kind in OTHER_KINDS.items() if start.startswith(sign)), "")


def unpack(
    archive: Path, folder: Path, advanced: Callable[[int], None] = lambda _: None, *, undouble: bool = False
) -> list[Entry]:
    """Unpack `archive` into `folder`, keeping its folders; the verified files, with their digests.

    A file that exists with the right size and CRC is kept: a second call continues where the first was interrupted.
    `advanced` receives the bytes of each file; `undouble` is as in `_checked`. Raises DataError for an unsafe or
    damaged archive (what was unpacked before stays), OutputError for a full disk.
    """
    with opened(archive) as file:
        files = _checked(archive, file, undouble)
        missing = [member for member in files if not _has_size(folder / member.filename, member)]
        check_free_space(folder, sum(member.file_size for member in missing))
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
    """Unpack one file; its digest. `zipfile` checks the archive's CRC as it reads the last byte."""
    digest = Digest()
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the archive has a file of that name.", hint=f"Move it away: {path}")
    with part_file(path) as part, part.open("wb") as out:
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


def _checked(archive: Path, file: zipfile.ZipFile, undouble: bool) -> list[zipfile.ZipInfo]:
    """The files to unpack, each with the `filename` that it gets; without what macOS adds. Raises DataError.

    With `undouble`, a top folder in a folder of the same name is unpacked as one folder.
    """
    listed = [member for member in file.infolist() if JUNK.isdisjoint(_with_slashes(member.orig_filename).split("/"))]
    for member in listed:
        member.filename = _with_slashes(member.filename)
        if problem := _problem(member):
            message = f"{archive} is refused, nothing was unpacked: it contains {member.filename!r}, {problem}."
            raise DataError(message, hint="Download the archive from its own page; do not trust this one.")
    files = [member for member in listed if not member.is_dir()]
    for member in files:
        if member.header_offset < 0:
            message = f"The beginning of {archive} is missing: it may be the last part of a split archive."
            raise DamagedArchiveError(message, hint="Join its parts (7-Zip), or download it in one piece.")
        if member.compress_type not in METHODS:
            method = METHOD_NAMES.get(member.compress_type, f"method {member.compress_type}")
            raise DataError(f"{archive} is compressed with {method}, which Python cannot unpack.", hint=REPACK)
    top = files[0].filename.partition("/")[0] if files else ""
    if (
        undouble and files and all(member.filename.startswith(f"{top}/{top}/") for member in files)
    ):  # zipped with its own folder
        for member in files:
            member.filename = member.filename.removeprefix(f"{top}/")
    _check_names(archive, files)
    total, packed = sum(member.file_size for member in files), archive.stat().st_size
    if total > MOST_GROWTH * packed + GROWTH_FREE_BYTES:
        message = f"{archive} is refused, nothing was unpacked: {packed:,} bytes would become {total:,}."
        raise DataError(message, hint="An archive of videos does not grow like this; download it from its own page.")
    return files


def _problem(member: zipfile.ZipInfo) -> str:
    """What makes this member unsafe; empty if nothing does."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR, stat.S_IFREG):
        return "a link or a device"
    if member.flag_bits & 0x1:
        return "an encrypted file"
    return why_unsafe(_with_slashes(member.orig_filename))  # as it is in the archive; zipfile cuts `filename`


def _with_slashes(name: str) -> str:
    """A member's name as some programs on Windows write it, with backslashes between folders."""
    return name.replace("\\", "/")


def _check_names(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    """Two files of one name, or a file where another needs a folder, would overwrite each other."""
    names: set[str] = set()
    for member in files:
        if member.filename in names:
            raise DataError(f"{archive} is refused: it contains {member.filename!r} twice.", hint=AGAIN)
        names.add(member.filename)
    for name in names:
        for above in PurePosixPath(name).parents:
            if str(above) in names:
                raise DataError(f"{archive} is refused: {str(above)!r} is both a file and a folder.", hint=AGAIN)


def _has_size(path: Path, member: zipfile.ZipInfo) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == member.file_size


def _digest_if_same(path: Path, member: zipfile.ZipInfo) -> str:
    """The digest of the file at `path` if it has the size and CRC of `member`; else empty."""
    if not _has_size(path, member):
        return ""
    digest, crc = Digest(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                crc = zlib.crc32(block, crc)
    except OSError:  # not readable: replaced
        return ""
    return digest.text() if crc == member.CRC else ""
