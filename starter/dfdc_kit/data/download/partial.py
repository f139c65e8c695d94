"""A file that is still arriving: its bytes so far, and what the whole will be. Both survive any interruption.

`NAME` arrives as `.NAME.part`; `.NAME.part.json` says of which object of the server those bytes are the head. Bytes are
only ever appended, so that the length of the part says how much is there, whenever the process was ended.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from dfdc_kit.data.download.digest import Digest, published
from dfdc_kit.errors import OutputFault

BLOCK_BYTES = 1 << 20
RESERVED_BYTES = 64 << 20  # asked of the disk in one go; block by block, as it is written, costs more
KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h: a file's length goes on telling how much of it has arrived


@contextmanager
def arriving(path: Path) -> Iterator[Path]:
    """The name under which `path` is written until the block ends well. Raises OutputFault.

    Always the same name: what a killed process leaves is overwritten by the next, and no half file stays for ever.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        yield part
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, OutputFault):
            hint = "Free some space or choose another folder, then run the same command again"
            raise OutputFault(f"Cannot write {path}: {error.strerror}.", hint=hint) from error
        raise


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which object the server is sending, as its headers say."""

    size_bytes: int | None  # None: not said
    validator: str  # for If-Range: a strong ETag, else Last-Modified, else empty
    digest: str  # as `digest.published` gives it; empty: not said

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Identity":
        """The object of a whole answer (status 200)."""
        length, tag = headers.get("Content-Length", ""), headers.get("ETag", "")
        # what is stored packed is unpacked on its way to us: its digest is that of other bytes
        packed = headers.get("X-Goog-Stored-Content-Encoding", "identity") != "identity"
        return cls(
            size_bytes=int(length) if length.isdigit() else None,
            validator=headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag,
            digest="" if packed else published(headers.get("X-Goog-Hash", "")),
        )


class Partial:
    """The arriving file beside `path`. One process at a time works on it; the folder's lock sees to that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.note = path.with_name(f".{path.name}.part.json")
        self.identity = self._noted()
        self._digest = self._new_digest()

    @property
    def have_bytes(self) -> int:
        """How many bytes can be built upon; 0 where it is not known whose they are."""
        if self.identity is None or not self.identity.validator or not self.part.exists():
            return 0
        return self.part.stat().st_size

    @property
    def whole(self) -> bool:
        """Whether every byte is there."""
        return self.identity is not None and 0 < self.have_bytes == self.identity.size_bytes

    def begin(self, identity: Identity) -> None:
        """Start from nothing with the object `identity`. In this order: never old bytes under a new note."""
        self.part.unlink(missing_ok=True)
        with arriving(self.note) as note:
            note.write_bytes(msgspec.json.encode(identity))
        self.identity = identity
        self._forget()

    @contextmanager
    def appending(self) -> Iterator[Callable[[bytes], None]]:
        """A function that adds the next bytes; they are on their way to the disk when it returns."""
        self._catch_up()
        whole = self.identity.size_bytes if self.identity and self.identity.size_bytes else 0
        with self.part.open("ab", buffering=0) as file:
            at = reserved = self._digest.count_bytes

            def append(block: bytes) -> None:
                nonlocal at, reserved
                if reserved - at < len(block) and reserved < whole:
                    reserved += _reserve(file.fileno(), reserved, min(RESERVED_BYTES, whole - reserved))
                self._digest.update(block)
                left = memoryview(block)
                while left:
                    left = left[file.write(left) :]
                at += len(block)

            try:
                yield append
            finally:
                if reserved > at:  # what was reserved and not used is given back; the length stays
                    os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size)

    def digest(self) -> str:
        """The digest of all bytes so far; those of an earlier process are read once."""
        self._catch_up()
        return self._digest.text()

    def finish(self) -> None:
        """Give the file its final name."""
        self.part.replace(self.path)
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget everything that has arrived."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.identity = None
        self._forget()

    def _catch_up(self) -> None:
        """Digest what lies on disk and was not digested in this process."""
        size = self.part.stat().st_size if self.part.exists() else 0
        if self._digest.count_bytes == size:
            return
        self._forget()
        with self.part.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                self._digest.update(block)

    def _new_digest(self) -> Digest:
        """Of the kind that the server publishes, so that they can be compared."""
        return Digest(self.identity.digest.partition(":")[0] if self.identity else "")

    def _forget(self) -> None:
        self._digest = self._new_digest()

    def _noted(self) -> Identity | None:
        try:
            return msgspec.json.decode(self.note.read_bytes(), type=Identity)
        except (OSError, msgspec.DecodeError):  # none, or not ours: then the part's bytes are nobody's
            return None


def _reserve(handle: int, at: int, count_bytes: int) -> int:
    """Reserve disk space behind a file's end, its length unchanged; `count_bytes`, whether or not it could be done.

    What cannot be reserved (another system, a file system without the call, a full disk) is seen when it is written.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).fallocate(handle, KEEP_SIZE, ctypes.c_int64(at), ctypes.c_int64(count_bytes))
    return count_bytes
