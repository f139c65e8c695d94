"""Unpacking an archive that need not be friendly: its list is judged before a byte is written; files appear whole."""

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from dfdc_kit.data.download.digest import Digest
from dfdc_kit.data.download.foreign_names import danger
from dfdc_kit.data.download.manifest import Entry
from dfdc_kit.data.download.partial import arriving
from dfdc_kit.data.download.workplace import check_room
from dfdc_kit.errors import BadData, OutputFault

BLOCK_BYTES = 1 << 20
MOST_GROWTH = 50  # times its own size that an archive may unpack to; videos do not shrink, JSON does by 10
GROWTH_FREE_BYTES = 16 << 20  # small archives may grow more
AGAIN = "Fetch it again; it may be cut off or damaged"


class DamagedArchive(BadData):
    """An archive that is cut off, or whose bytes are not those that were packed: fetched again, it may be whole."""


def members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in `archive`, in its order. Raises BadData, naming the first fault, if any of them is not harmless."""
    with opened(archive) as file:
        return _judged(archive, file)


def opened(archive: Path) -> zipfile.ZipFile:
    """`archive`, open for reading. Raises BadData if it is not a whole zip archive."""
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DamagedArchive(f"{archive} is not a whole zip archive: {error}.", hint=AGAIN) from error
    except OSError as error:
        raise BadData(f"Cannot read {archive}: {error.strerror}.") from error


def unpack(archive: Path, folder: Path, advanced: Callable[[int], None] = lambda _: None) -> list[Entry]:
    """Unpack `archive` into `folder`, keeping its folders; the verified files, with their digests.

    A file that is there already, with the right size and CRC, is kept: a second call goes on where the first was
    interrupted. `advanced` is told the bytes of each file. Raises BadData for a hostile or damaged archive (what was
    unpacked before stays), OutputFault for a full disk.
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
        raise OutputFault(f"{path} is a folder; the archive has a file of that name.", hint=f"Move it away: {path}")
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
        raise DamagedArchive(f"{archive}: {member.filename} is damaged: {error}.", hint=AGAIN) from error
    if count_bytes != member.file_size:
        seen = f"{count_bytes:,} bytes, {member.file_size:,} listed"
        raise DamagedArchive(f"{archive}: {member.filename} is damaged: {seen}.", hint=AGAIN)


def _judged(archive: Path, file: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    for member in file.infolist():
        if fault := _fault(member):
            message = f"{archive} is refused, nothing was unpacked: it holds {member.filename!r}, {fault}."
            raise BadData(message, hint="Fetch the archive from its own page; do not trust this one")
    files = [member for member in file.infolist() if not member.is_dir()]
    _check_names(archive, files)
    total, packed = sum(member.file_size for member in files), archive.stat().st_size
    if total > MOST_GROWTH * packed + GROWTH_FREE_BYTES:
        message = f"{archive} is refused, nothing was unpacked: {packed:,} bytes would become {total:,}."
        raise BadData(message, hint="That is no archive of videos; fetch it from its own page")
    return files


def _fault(member: zipfile.ZipInfo) -> str:
    """What makes this member dangerous; empty if nothing does."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR, stat.S_IFREG):
        return "a link or a device"
    if member.flag_bits & 0x1:
        return "an encrypted file"
    return danger(member.orig_filename)  # as it stands in the archive; `filename` is mended already


def _check_names(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    """Two files of one name, or a file where another needs a folder, would overwrite each other."""
    names: set[str] = set()
    for member in files:
        if member.filename in names:
            raise BadData(f"{archive} is refused: it holds {member.filename!r} twice.", hint=AGAIN)
        names.add(member.filename)
    for name in names:
        for above in PurePosixPath(name).parents:
            if str(above) in names:
                raise BadData(f"{archive} is refused: {str(above)!r} is both a file and a folder.", hint=AGAIN)


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
