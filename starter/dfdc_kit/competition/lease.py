"""Which worker judges which submission: a lease file for each, with a heartbeat, and locked where that is supported.

No clock is read. A holder on the same machine is alive while it holds the lock, which the system releases however the
process ends. A holder elsewhere is alive while its counter moves, observed over the watcher's own monotonic time.
"""

import fcntl
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from dfdc_kit.files import NO_LOCKS

BEAT_S = 5.0
STALE_S = 60.0  # a holder elsewhere whose counter has not moved for so long is dead
SIZE = 512  # bytes of the file, so that one write replaces it


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lease."""

    token: str
    machine: str
    boot: str
    process: int
    beat: int = 0


def boot_id() -> str:
    """Identifies this machine since its last start; containers on one kernel share it, as they share locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return platform.node()


class LeaseWatch:
    """Remembers when each lease was last seen to move."""

    def __init__(self, stale_s: float = STALE_S) -> None:
        self._stale_s = stale_s
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def is_stale(self, path: Path, content: bytes) -> bool:
        """Whether `content` has been the same in every call for `stale_s` seconds of this process's own time."""
        now = time.monotonic()
        before = self._seen.get(path)
        if before is None or before[0] != content:
            self._seen[path] = content, now
            return False
        return now - before[1] >= self._stale_s

    def holder(self, path: Path) -> Holder | None:
        """Who holds the lease at `path`; None if nobody alive does."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            locked = _lock(handle, fcntl.LOCK_SH)
            content = os.pread(handle, SIZE, 0)
            found = _decoded(content)
            if locked is False:
                return found or Holder(token="", machine=platform.node(), boot=boot_id(), process=0)
            return None if self._is_over(path, content, found, locked=locked is True) else found
        finally:
            os.close(handle)

    def _is_over(self, path: Path, content: bytes, holder: Holder | None, *, locked: bool) -> bool:
        """Whether a lease whose lock is free has no living holder."""
        if locked and holder is not None and holder.boot == boot_id():
            return True
        return self.is_stale(path, content)

    def acquire(self, path: Path, *, beat_s: float = BEAT_S) -> "Lease | None":
        """The lease at `path`; None if somebody else holds it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            is_new = True
        except FileExistsError:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:  # released meanwhile
                return None
            is_new = False
        lease = None
        try:
            lease = self._taken(path, handle, is_new=is_new, beat_s=beat_s)
        finally:
            if lease is None:
                os.close(handle)
        return lease

    def _taken(self, path: Path, handle: int, *, is_new: bool, beat_s: float) -> "Lease | None":
        locked = _lock(handle, fcntl.LOCK_EX)
        if locked is False or not _is_same_file(path, handle):
            return None
        content = os.pread(handle, SIZE, 0)
        before = _decoded(content)
        if not is_new and not self._is_over(path, content, before, locked=locked is True):
            return None
        lease = Lease(path, handle, beat_s)
        if before is not None and before.boot != boot_id():  # others may take it over as well, without shared locks
            time.sleep(2 * beat_s)
            if not lease.is_ours():
                lease.stop_beating()
                return None
        return lease


class Lease:
    """A lease that is held, with its heartbeat, until the context ends."""

    def __init__(self, path: Path, handle: int, beat_s: float = BEAT_S) -> None:
        self._path, self._handle, self._beat_s = path, handle, beat_s
        self._holder = Holder(token=secrets.token_hex(8), machine=platform.node(), boot=boot_id(), process=os.getpid())
        self._stop = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_beating()
        with suppress(OSError):
            if self.is_ours():
                self._path.unlink(missing_ok=True)
        os.close(self._handle)

    def is_ours(self) -> bool:
        """Whether nobody has taken it over."""
        found = _decoded(os.pread(self._handle, SIZE, 0))
        return found is not None and found.token == self._holder.token

    def stop_beating(self) -> None:
        """End the heartbeat; the file stays."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_s):
            with suppress(OSError):  # a network file system that is away: the next beat may get through
                if not self.is_ours():
                    return
                self._holder = msgspec.structs.replace(self._holder, beat=self._holder.beat + 1)
                self._write()

    def _write(self) -> None:
        os.pwrite(self._handle, msgspec.json.encode(self._holder).ljust(SIZE), 0)


def _lock(handle: int, kind: int) -> bool | None:
    """Whether the file could be locked; None where the file system has no locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in NO_LOCKS else False
    return True


def _is_same_file(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def _decoded(content: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(content, type=Holder)
    except msgspec.DecodeError:
        return None
