"""Inspect many video files in parallel; results are cached, so only new and changed files are read the next time."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from dfdc_kit.data.video_header import NO_ACCESS, BadVideoError, FileFault, Header, read_header
from dfdc_kit.files import cache_folder, writing_to

VERSION = 2
QUEUED_PER_THREAD = 8
FLUSH_S = 1.0

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # files done, files in all
HeaderReader = Callable[..., Header]  # as `read_header`


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


class VideoFile(msgspec.Struct, frozen=True):
    """A file as the file system knows it."""

    path: Path
    size_bytes: int
    mtime_ns: int


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a file of this size and modification time, or why it cannot be used."""

    name: str  # its path, relative to the data folder if it is in there
    size_bytes: int
    mtime_ns: int
    deep: bool  # whether every frame was decoded
    header: Header | None = None
    fault: FileFault | None = None
    sha256: str = ""  # where it was asked for


def list_videos(folder: Path, suffix: str) -> dict[str, VideoFile]:
    """The videos in `folder`, by name, sorted; none if there is no such folder."""
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
    """Reads headers with one thread for each core. A file that was read before and has not changed is not read again.

    The cache is a file of lines, one for each video, written as they are read, so an interrupted run continues where it
    stopped. It is in `cache`, by default the user's cache folder: the data folder is not written to. Where it cannot be
    written, `cached` turns false and everything else works.
    """

    def __init__(self, root: Path, cache: Path | None = None, read: HeaderReader = read_header) -> None:
        self.root = root.resolve()
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        self.cache_file = (cache or cache_folder() / "inspected") / f"{name}.jsonl"
        self.cached = True
        self.files_read = 0
        self._read_header = read
        self._known = _load(self.cache_file)
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
        progress: Progress = no_progress,
    ) -> dict[Path, Inspection]:
        """Inspect `files`: headers, with `deep` every frame, and digests of the paths in `sha256_of`."""
        found: dict[Path, Inspection] = {}
        new: list[VideoFile] = []
        for file in files:
            known = self._known.get(self._name(file.path))
            if known and _is_current(known, file, deep, file.path in sha256_of):
                found[file.path] = known
            else:
                new.append(file)
        total = len(found) + len(new)
        progress(len(found), total)
        for file, seen in in_parallel(lambda file: self._inspect(file, deep, file.path in sha256_of), new):
            self.files_read += 1
            found[file.path] = seen
            self._remember(seen)
            progress(len(found), total)
        return found

    def _inspect(self, file: VideoFile, deep: bool, digest: bool) -> Inspection:
        header, fault = None, None
        try:
            header = self._read_header(file.path, deep=deep)
        except BadVideoError as bad:
            fault = bad.fault
        return Inspection(
            name=self._name(file.path),
            size_bytes=file.size_bytes,
            mtime_ns=file.mtime_ns,
            deep=deep,
            header=header,
            fault=fault,
            sha256=sha256_or_empty(file.path) if digest else "",
        )

    def _name(self, path: Path) -> str:
        return relative_name(path, self.root)

    def _remember(self, seen: Inspection) -> None:
        """Cache it, unless this machine did not let us read the file, which says nothing about the file."""
        if seen.fault and seen.fault.code == NO_ACCESS:
            return
        self._known[seen.name] = seen
        self._lines.append(b"\n" + msgspec.json.encode(seen))  # line end first: a killed run left half a line
        if time.monotonic() - self._written_at > FLUSH_S:
            self._write()

    def _write(self) -> None:
        """Append the new lines; the first line of the file is its version."""
        if not self._lines:
            return
        try:
            if not self.cache_file.exists():
                with writing_to(self.cache_file) as part:
                    part.write_bytes(_VERSION_LINE)
            with self.cache_file.open("ab") as file:
                file.write(b"".join(self._lines))
        except OSError:
            self.cached = False
        self._lines, self._written_at = [], time.monotonic()


def in_parallel(call: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[tuple[T, R]]:
    """Each item with the result of `call`, as they finish; one thread for each core unless `threads` says otherwise.

    At most QUEUED_PER_THREAD items for each thread are taken ahead; leaving the loop cancels what has not started.
    """
    threads = threads or cores()
    rest = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: dict[Future[R], T] = {
            pool.submit(call, item): item for item in islice(rest, threads * QUEUED_PER_THREAD)
        }
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
            waiting.update((pool.submit(call, item), item) for item in islice(rest, len(done)))
    finally:
        pool.shutdown(cancel_futures=True)


def same_size(files: Iterable[VideoFile]) -> frozenset[Path]:
    """The files that could have the same content as another one: computing a digest means reading the whole file."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        by_size[file.size_bytes].append(file.path)
    return frozenset(path for size, paths in by_size.items() if size and len(paths) > 1 for path in paths)


def group_by_content(sha256_of: Mapping[Path, str]) -> list[list[Path]]:
    """Groups of files with the same digest; two names of one file on disk (links) are no copies."""
    by_content: dict[str, dict[Path, Path]] = defaultdict(dict)
    for path, sha256 in sha256_of.items():
        if sha256:
            by_content[sha256].setdefault(path.resolve(), path)
    return [sorted(paths.values()) for paths in by_content.values() if len(paths) > 1]


def find_copies(files: Iterable[VideoFile]) -> list[list[Path]]:
    """Groups of files with the same bytes; only files of equal size are read."""
    return group_by_content(dict(in_parallel(sha256_or_empty, sorted(same_size(list(files))))))


def relative_name(path: Path, root: Path) -> str:
    """A path as text, relative to `root` if it is in there; bytes that are not UTF-8 become escapes."""
    text = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return text.encode("utf-8", "backslashreplace").decode()


def sha256_or_empty(path: Path) -> str:
    """The digest of a file's bytes; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _is_current(known: Inspection, file: VideoFile, deep: bool, digest: bool) -> bool:
    """Whether a cached inspection is of this very file, and as thorough as asked for."""
    same = (known.size_bytes, known.mtime_ns) == (file.size_bytes, file.mtime_ns)
    return same and (known.deep or not deep or known.fault is not None) and (bool(known.sha256) or not digest)


_VERSION_LINE = b'{"version":%d}' % VERSION


def _load(cache_file: Path) -> dict[str, Inspection]:
    """The inspections of earlier runs; none from a file of another version, or that is not a cache at all."""
    try:
        first, *lines = cache_file.read_bytes().split(b"\n")
    except OSError:
        return {}
    if first != _VERSION_LINE:
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


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
