"""A file that is still arriving: its bytes so far, and what the whole will be. Both survive any interruption.

`NAME` arrives as `.NAME.part`; `.NAME.part.json` says of which object of the server those bytes are the head. Bytes are
only ever appended, so that the length of the part says how much is there, whenever the process was ended.
"""

import base64
import ctypes
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import KaggleError, OutputError

DIGEST_BLOCK_BYTES = 1 << 20


class Digest:
    """The digest of blocks in their order. `algorithm` is "crc32c" or "md5"; else the best that is installed."""

    def __init__(self, algorithm: str = "") -> None:
        self.algorithm = algorithm or ("crc32c" if _crc32c() else "md5")
        self.count_bytes = 0
        self._state = self._new()

    def update(self, block: bytes) -> None:
        """Take in the next block."""
        self._state.update(block)
        self.count_bytes += len(block)

    def text(self) -> str:
        """The digest of everything taken in so far, with its algorithm in front."""
        return f"{self.algorithm}:{self._state.digest().hex()}"

    def _new(self) -> Any:
        if self.algorithm == "md5":
            return hashlib.md5(usedforsecurity=False)
        if module := _crc32c():
            return module.Checksum()
        hint = 'pip install "dfdc-starter-kit[kaggle]"'
        raise KaggleError("The package google-crc32c is missing; a digest needs it.", hint=hint, reason="package")


def file_digest(path: Path, algorithm: str = "") -> str:
    """The digest of a file's bytes. Raises OSError."""
    digest = Digest(algorithm)
    with path.open("rb") as file:
        while block := file.read(DIGEST_BLOCK_BYTES):
            digest.update(block)
    return digest.text()


def is_digest_of(text: str, path: Path) -> bool:
    """Whether the file at `path` has the digest `text`. Raises OSError."""
    return file_digest(path, text.partition(":")[0]) == text


def published(header: str) -> str:
    """The quickest digest that can be checked in an `X-Goog-Hash: crc32c=yZRlqg==,md5=...`; empty if there is none."""
    found = dict(re.findall(r"\b(crc32c|md5)=([A-Za-z0-9+/=]+)", header))
    for algorithm in ("crc32c", "md5") if _crc32c() else ("md5",):
        if algorithm in found:
            return f"{algorithm}:{base64.b64decode(found[algorithm]).hex()}"
    return ""


@cache
def _crc32c() -> Any:
    """The package google_crc32c, if it is installed with its compiled part: without it, MD5 is quicker."""
    try:
        import google_crc32c
    except (ImportError, RuntimeWarning):
        return None
    return google_crc32c if google_crc32c.implementation == "c" else None


BLOCK_BYTES = 1 << 20
PIECE_BYTES = 1 << 20
MOST_WAITING = 512  # blocks; a system takes 1024 in one write
LONGEST_WAIT_S = 0.05
RESERVED_BYTES = 64 << 20  # asked of the disk in one go; block by block, as it is written, costs more
KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h: a file's length goes on telling how much of it has arrived


@contextmanager
def arriving(path: Path) -> Iterator[Path]:
    """The name under which `path` is written until the block ends well. Raises OutputError.

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
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            hint = "Free some space or choose another folder, then run the same command again"
            raise OutputError(f"Cannot write {path}: {error.strerror}.", hint=hint) from error
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
        """A function that adds the next bytes; when the block ends, however it does, all of them are written."""
        self._catch_up()
        whole_bytes = self.identity.size_bytes if self.identity and self.identity.size_bytes else 0
        with self.part.open("ab", buffering=0) as file:
            pieces = _Pieces(file.fileno(), self._digest.count_bytes, whole_bytes)

            def append(block: bytes) -> None:
                self._digest.update(block)
                pieces.add(block)

            try:
                yield append
            finally:
                pieces.end()

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


class _Pieces:
    """Appends what arrives in pieces of PIECE_BYTES that end on multiples of it, and reserves space ahead of them.

    A slow line's bytes wait for LONGEST_WAIT_S at most: that much a kill costs.
    """

    def __init__(self, handle: int, at_bytes: int, whole_bytes: int) -> None:
        self._handle, self._whole_bytes = handle, whole_bytes
        self._at = self._reserved = at_bytes
        self._waiting: list[memoryview] = []
        self._waiting_bytes = 0
        self._written_s = time.monotonic()

    def add(self, block: bytes) -> None:
        """Take in the next bytes, at most PIECE_BYTES, and write what makes a piece or has waited long."""
        self._waiting.append(memoryview(block))
        self._waiting_bytes += len(block)
        beyond = (self._at + self._waiting_bytes) % PIECE_BYTES  # bytes behind the last end of a piece
        if beyond < self._waiting_bytes:
            self._write(beyond)
        elif len(self._waiting) >= MOST_WAITING or time.monotonic() - self._written_s > LONGEST_WAIT_S:
            self._write(0)

    def end(self) -> None:
        """Write the rest, give back what was reserved and not used; the length stays."""
        try:
            if self._waiting:
                self._write(0)
        finally:
            if self._reserved > self._at:
                os.ftruncate(self._handle, self._at)

    def _write(self, but_bytes: int) -> None:
        """Write all that waits but the last `but_bytes`, which are a part of the last block."""
        self._written_s = time.monotonic()
        end = self._at + self._waiting_bytes - but_bytes
        if self._reserved < min(end, self._whole_bytes):
            count_bytes = min(RESERVED_BYTES, self._whole_bytes - self._reserved)
            _reserve(self._handle, self._reserved, count_bytes)
            self._reserved += count_bytes
        last = self._waiting.pop()
        self._waiting += [last[: len(last) - but_bytes], last[len(last) - but_bytes :]]
        while self._at < end:
            count = os.writev(self._handle, self._waiting[:-1])
            self._at += count
            self._waiting_bytes -= count
            while count:  # what was written waits no more, even if the next write fails
                first = self._waiting[0]
                self._waiting[:1] = [first[count:]] if count < len(first) else []
                count -= min(count, len(first))
        if not but_bytes:
            self._waiting.pop()


def _reserve(handle: int, at: int, count_bytes: int) -> None:
    """Reserve disk space behind a file's end, its length unchanged.

    What cannot be reserved (another system, a file system without the call, a full disk) is seen when it is written.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).fallocate(handle, KEEP_SIZE, ctypes.c_int64(at), ctypes.c_int64(count_bytes))
