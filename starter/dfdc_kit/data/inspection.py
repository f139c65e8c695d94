"""Many files looked at in parallel, and what was seen of each kept, so that the next time only new ones are read."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from dfdc_kit.data.video_header import NO_ACCESS, BadVideoError, Fault, Header, read_header
from dfdc_kit.files import writing_to

STATE = Path(".dfdc") / "inspected.jsonl"  # in the data folder
VERSION = 1
AHEAD = 8  # files a thread that are handed out before they are waited for
FLUSH_S = 1.0

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # files done, files in all


def silent(_done: int, _total: int) -> None:
    """Nobody watches."""


class VideoFile(msgspec.Struct, frozen=True):
    """A file as the file system knows it."""

    path: Path
    size_bytes: int
    mtime_ns: int


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a file of this size and time of change: its header, or what is wrong with it."""

    name: str  # its path, relative to the data folder where it lies in there
    size_bytes: int
    mtime_ns: int
    deep: bool  # whether every frame was decoded
    header: Header | None = None
    fault: Fault | None = None
    sha256: str = ""  # where it was asked for


def list_videos(folder: Path, suffix: str) -> dict[str, VideoFile]:
    """The videos in `folder`, by name; none if there is no such folder."""
    if not folder.is_dir():
        return {}
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix) and entry.is_file():
                state = entry.stat()
                found[entry.name] = VideoFile(Path(entry.path), state.st_size, state.st_mtime_ns)
    return dict(sorted(found.items()))


class Inspector:
    """Looks at files, a thread a core. A file that was seen before and has not changed is not read again.

    The state is a file of lines, one a video, written as they are seen: an interrupted run goes on where it was. Where
    it cannot be written, `kept` turns false and everything else works.
    """

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root.resolve()
        self.state = state or self.root / STATE
        self.kept = True
        self.read = 0  # files that were really read
        self._known = _load(self.state)
        self._lines: list[bytes] = []
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def inspect(
        self,
        files: Iterable[VideoFile],
        *,
        deep: bool = False,
        sha256_of: frozenset[Path] = frozenset(),
        progress: Progress = silent,
    ) -> dict[Path, Inspection]:
        """Look at `files`: headers, with `deep` every frame, and digests of the paths in `sha256_of`."""
        found: dict[Path, Inspection] = {}
        new: list[VideoFile] = []
        for file in files:
            known = self._known.get(self._name(file.path))
            if known and _holds(known, file, deep, file.path in sha256_of):
                found[file.path] = known
            else:
                new.append(file)
        total = len(found) + len(new)
        progress(len(found), total)
        for file, seen in in_parallel(lambda file: self._look(file, deep, file.path in sha256_of), new):
            self.read += 1
            found[file.path] = seen
            self._keep(seen)
            progress(len(found), total)
        return found

    def _look(self, file: VideoFile, deep: bool, digest: bool) -> Inspection:
        header, fault = None, None
        try:
            header = read_header(file.path, deep=deep)
        except BadVideoError as bad:
            fault = bad.fault
        return Inspection(
            name=self._name(file.path),
            size_bytes=file.size_bytes,
            mtime_ns=file.mtime_ns,
            deep=deep,
            header=header,
            fault=fault,
            sha256=sha256_of(file.path) if digest else "",
        )

    def _name(self, path: Path) -> str:
        return relative(path, self.root)

    def _keep(self, seen: Inspection) -> None:
        """Remember, except that this machine did not let us read a file, which says nothing about the file."""
        if seen.fault and seen.fault.code == NO_ACCESS:
            return
        self._known[seen.name] = seen
        self._lines.append(b"\n" + msgspec.json.encode(seen))  # in front: a run that was killed left half a line
        if time.monotonic() - self._written_at > FLUSH_S:
            self._write()

    def _write(self) -> None:
        """Add the new lines; a first line tells the version."""
        if not self._lines:
            return
        try:
            if not self.state.exists():
                with writing_to(self.state) as part:
                    part.write_bytes(b'{"version":%d}' % VERSION)
            with self.state.open("ab") as file:
                file.write(b"".join(self._lines))
        except OSError:
            self.kept = False
        self._lines, self._written_at = [], time.monotonic()


def in_parallel(call: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Each item with what `call` returns for it, as they are done; a thread a core; stops at once when it is left."""
    threads = _cores()
    rest = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: dict[Future[R], T] = {pool.submit(call, item): item for item in islice(rest, threads * AHEAD)}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
            waiting.update((pool.submit(call, item), item) for item in islice(rest, len(done)))
    finally:
        pool.shutdown(cancel_futures=True)


def relative(path: Path, root: Path) -> str:
    """A path as text, from `root` on if it lies in there; bytes that are no UTF-8 become escapes."""
    text = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return text.encode("utf-8", "backslashreplace").decode()


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _holds(known: Inspection, file: VideoFile, deep: bool, digest: bool) -> bool:
    """Whether what is known of a file is about this very file, and enough."""
    same = (known.size_bytes, known.mtime_ns) == (file.size_bytes, file.mtime_ns)
    return same and (known.deep or not deep or known.fault is not None) and (bool(known.sha256) or not digest)


def _load(state: Path) -> dict[str, Inspection]:
    """What earlier runs saw; of a file of another version, or one that is no state at all, nothing."""
    try:
        first, *lines = state.read_bytes().split(b"\n")
    except OSError:
        return {}
    if first != b'{"version":%d}' % VERSION:
        return {}
    known = {}
    decoder = msgspec.json.Decoder(Inspection)
    for line in lines:
        try:
            seen = decoder.decode(line)
        except msgspec.DecodeError:  # half a line
            continue
        known[seen.name] = seen
    return known


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
