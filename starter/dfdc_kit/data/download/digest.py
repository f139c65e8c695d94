"""MD5 beside the transfer: a thread digests the last blocks while the next arrive.

MD5 because it is what the storage publishes for its objects: it guards against damage, not against malice.
"""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

AHEAD = 8  # blocks that may wait to be digested: what the digest costs in memory


def md5() -> "hashlib._Hash":
    """A new MD5 object."""
    return hashlib.md5(usedforsecurity=False)


def file_md5(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, md5).hexdigest()


class Digest:
    """The MD5 of blocks in their order. `close` it, or it keeps a thread."""

    def __init__(self) -> None:
        self.count_bytes = 0
        self._md5 = md5()
        self._waiting: deque[Future[None]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def update(self, block: bytes) -> None:
        """Take in the next block; waits only if the digest has fallen behind."""
        self._thread = self._thread or ThreadPoolExecutor(1, "md5")
        self._waiting.append(self._thread.submit(self._md5.update, block))
        self.count_bytes += len(block)
        if len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def hexdigest(self) -> str:
        """The digest of everything taken in so far, in hexadecimal."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._md5.hexdigest()

    def close(self) -> None:
        """End the thread."""
        if self._thread:
            self._thread.shutdown()
            self._thread = None
