"""A file that is still arriving: its bytes so far, and which object of the server they belong to.

`NAME` arrives as `.NAME.part`; `.NAME.part.json` identifies the object. Bytes are only ever appended, so that the
length of the part says how much has arrived, however the process ended.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import KaggleError, OutputError
from dfdc_kit.kaggle.client import INSTALL

BLOCK_BYTES = 1 << 20
BUFFER_BYTES = 1 << 16  # at most this much of a slow download is lost to a kill


class Digest:
    """The digest of blocks in order. `algorithm` is "crc32c" or "md5"; by default the best that is installed."""

    def __init__(self, algorithm: str = "") -> None:
        self.algorithm = algorithm or ("crc32c" if _crc32c() else "md5")
        self.count_bytes = 0
        self._state = self._new()

    def update(self, block: bytes) -> None:
        """Add the next block."""
        self._state.update(block)
        self.count_bytes += len(block)

    def text(self) -> str:
        """The digest so far, as "algorithm:hexadecimal"."""
        return f"{self.algorithm}:{self._state.digest().hex()}"

    def _new(self) -> Any:
        if self.algorithm == "md5":
            return hashlib.md5(usedforsecurity=False)
        if module := _crc32c():
            return module.Checksum()
        message = "The package google-crc32c is missing; it is needed to compare digests."
        raise KaggleError(message, hint="Install the extra.", command=INSTALL, reason="package")


def file_digest(path: Path, algorithm: str = "") -> str:
    """The digest of a file's bytes. Raises OSError."""
    digest = Digest(algorithm)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.text()


def is_digest_of(text: str, path: Path) -> bool:
    """Whether the file at `path` has the digest `text`. Raises OSError."""
    return file_digest(path, text.partition(":")[0]) == text


def published_digest(header: str) -> str:
    """The fastest digest in an `X-Goog-Hash: crc32c=yZRlqg==,md5=...` that can be compared; empty if there is none."""
    found = dict(re.findall(r"\b(crc32c|md5)=([A-Za-z0-9+/=]+)", header))
    for algorithm in ("crc32c", "md5") if _crc32c() else ("md5",):
        if algorithm in found:
            return f"{algorithm}:{base64.b64decode(found[algorithm]).hex()}"
    return ""


@cache
def _crc32c() -> Any:
    """The package google_crc32c, if it is installed with its compiled part: without it, MD5 is faster."""
    try:
        import google_crc32c
    except (ImportError, RuntimeWarning):
        return None
    return google_crc32c if google_crc32c.implementation == "c" else None


@contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """The name under which `path` is written until the block succeeds. Raises OutputError.

    Always the same name: the next process overwrites what a killed one leaves.
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
            hint = "Free some space, or choose another folder; then run the same command again."
            raise OutputError(f"Cannot write {path}: {error.strerror}.", hint=hint) from error
        raise


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which object the server sends, by its response headers."""

    size_bytes: int | None  # None: not given
    validator: str  # for If-Range: a strong ETag, else Last-Modified, else empty
    digest: str  # as `published_digest` returns it; empty: not given

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Identity":
        """The object of a complete response (status 200)."""
        length, tag = headers.get("Content-Length", ""), headers.get("ETag", "")
        # an object that is stored compressed is decompressed on its way here: its digest is that of other bytes
        packed = headers.get("X-Goog-Stored-Content-Encoding", "identity") != "identity"
        return cls(
            size_bytes=int(length) if length.isdigit() else None,
            validator=headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag,
            digest="" if packed else published_digest(headers.get("X-Goog-Hash", "")),
        )


class Partial:
    """The arriving file beside `path`. One process at a time writes it; the folder's lock ensures that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.note = path.with_name(f".{path.name}.part.json")
        self.identity = self._read_identity()
        self._digest = self._new_digest()

    @property
    def have_bytes(self) -> int:
        """How many bytes can be kept; 0 if it is not known which object they belong to."""
        if self.identity is None or not self.identity.validator or not self.part.exists():
            return 0
        return self.part.stat().st_size

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self.identity is not None and 0 < self.have_bytes == self.identity.size_bytes

    def begin(self, identity: Identity) -> None:
        """Start from nothing with the object `identity`. In this order: never old bytes under a new identity."""
        self.part.unlink(missing_ok=True)
        with part_file(self.note) as note:
            note.write_bytes(msgspec.json.encode(identity))
        self.identity = identity
        self._digest = self._new_digest()

    @contextmanager
    def appending(self) -> Iterator[Callable[[bytes], None]]:
        """A function that appends the next bytes; when the block ends, however it does, all of them are written."""
        self._digest_existing()
        with self.part.open("ab", buffering=BUFFER_BYTES) as file:

            def append(block: bytes) -> None:
                self._digest.update(block)
                file.write(block)

            yield append

    def digest(self) -> str:
        """The digest of all bytes so far; those of an earlier process are read once."""
        self._digest_existing()
        return self._digest.text()

    def finish(self) -> None:
        """Give the file its final name."""
        self.part.replace(self.path)
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything that has arrived."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.identity = None
        self._digest = self._new_digest()

    def _digest_existing(self) -> None:
        """Digest the bytes on disk that were not digested in this process."""
        size = self.part.stat().st_size if self.part.exists() else 0
        if self._digest.count_bytes == size:
            return
        self._digest = self._new_digest()
        with self.part.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                self._digest.update(block)

    def _new_digest(self) -> Digest:
        """With the server's algorithm, so that the digests can be compared."""
        return Digest(self.identity.digest.partition(":")[0] if self.identity else "")

    def _read_identity(self) -> Identity | None:
        try:
            return msgspec.json.decode(self.note.read_bytes(), type=Identity)
        except (OSError, msgspec.DecodeError):  # missing, or not ours: the part's bytes cannot be kept
            return None
