"""Digests that find damage (not malice): those that the storage publishes for its objects.

CRC32C goes first: Google's storage gives it for every object, and processors compute it at more than 10 GB/s; MD5 costs
as much as the transfer itself on a fast line. Both find every flipped bit. A digest is written as "crc32c:e3069283".
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from dfdc_kit.errors import KaggleFault

BLOCK_BYTES = 1 << 20


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
        raise KaggleFault("The package google-crc32c is missing; a digest needs it.", hint=hint, reason="package")


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
