"""Watches from outside which test video is being read, so that an unmodified submission has a progress bar.

Uses inotify, which reports every open; without it, the open files of all processes are listed a few times a second.
"""

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil

from dfdc_kit.report.run_report import VideoRead

IN_OPEN, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_Q_OVERFLOW = 0x20, 0x8, 0x10, 0x4000
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
POLL_S = 0.2


class VideoWatch:
    """Records when each file of a folder is opened and closed, while the context is open.

    Called in the watching thread: `on_open(name)` when a video is opened for the first time, and
    `on_close(name, at_s)` when no process has it open any more, `at_s` seconds after the start.
    `open_inotify(folder)` returns an inotify file descriptor, or raises OSError.
    """

    def __init__(
        self,
        folder: Path,
        on_open: Callable[[str], None],
        on_close: Callable[[str, float], None] | None = None,
        open_inotify: Callable[[Path], int] | None = None,
    ) -> None:
        self.caveat = ""  # why reads may be missing, if they may
        self._on_open, self._on_close = on_open, on_close
        self._folder, self._open_inotify = folder, open_inotify or _open_inotify
        self._started, self._started_unix_s = time.monotonic(), time.time()
        self._opened: dict[str, float] = {}  # name -> first opened, seconds after the start
        self._closed: dict[str, float] = {}  # name -> last closed
        self._open_now: dict[str, int] = {}
        self._stop = threading.Event()
        self._wake: tuple[int, int] = (-1, -1)  # a pipe: ends the wait of the watching thread

    def __enter__(self) -> Self:
        try:
            self._inotify = self._open_inotify(self._folder)
        except (OSError, AttributeError) as error:  # no such call on this system, or no watch left
            self._inotify = -1
            self.caveat = f"open files are polled every {POLL_S:g} s, so short reads are missed (no inotify: {error})"
        target = self._poll if self._inotify < 0 else self._follow
        self._wake = os.pipe()
        self._thread = threading.Thread(target=target, name="video-watch", daemon=True)
        self._started, self._started_unix_s = time.monotonic(), time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        os.close(self._wake[1])
        self._thread.join()
        os.close(self._wake[0])
        if self._inotify >= 0:
            os.close(self._inotify)

    def reads(self, stopped_unix_s: float | None = None) -> list[VideoRead]:
        """Every video that was opened, in order.

        One that was still open at the end, or when the run was stopped, was not finished: its `closed_s` is None.
        """
        end = float("inf") if stopped_unix_s is None else stopped_unix_s - self._started_unix_s
        found = []
        for name, at in self._opened.items():
            closed = self._closed.get(name)
            unfinished = closed is None or self._open_now.get(name) or closed >= end
            found.append(VideoRead(name=name, opened_s=at, closed_s=None if unfinished else closed))
        return found

    def _follow(self) -> None:
        last_round = False
        while not last_round:
            last_round = self._stop.is_set()  # the queue still has events from before the stop
            wait = [self._inotify] if last_round else [self._inotify, self._wake[0]]
            if self._inotify in select.select(wait, [], [], 0 if last_round else None)[0]:
                self._note(os.read(self._inotify, 1 << 16), time.monotonic() - self._started)
                last_round = False

    def _note(self, events: bytes, at: float) -> None:
        place = 0
        while place < len(events):
            _, mask, _, length = EVENT.unpack_from(events, place)
            place += EVENT.size + length
            if mask & IN_Q_OVERFLOW:
                self.caveat = "inotify lost events: too many at once"
            name = os.fsdecode(events[place - length : place].rstrip(b"\0"))
            if not name:  # the folder itself
                continue
            if mask & IN_OPEN:
                self._opening(name, at)
            else:
                self._closing(name, at)

    def _poll(self) -> None:
        """Without inotify: compare the open files of all descendant processes, by device and inode."""
        videos = {_identity(path.stat()): path.name for path in self._folder.iterdir()}
        before: set[str] = set()
        while not self._stop.wait(POLL_S):
            now = {videos[file] for file in _open_files() if file in videos}
            at = time.monotonic() - self._started
            for name in sorted(now - before):
                self._opening(name, at)
            for name in before - now:
                self._closing(name, at)
            before = now

    def _opening(self, name: str, at: float) -> None:
        self._open_now[name] = self._open_now.get(name, 0) + 1
        if name not in self._opened:
            self._opened[name] = at
            self._on_open(name)

    def _closing(self, name: str, at: float) -> None:
        self._open_now[name] = max(0, self._open_now.get(name, 0) - 1)
        self._closed[name] = at
        if self._on_close is not None and not self._open_now[name]:
            self._on_close(name, at)


def _open_inotify(folder: Path) -> int:
    """An inotify file descriptor that reports opens and closes in `folder`. Raises OSError or AttributeError."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    mask = IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), mask) < 0:
        error = ctypes.get_errno()
        if watch >= 0:
            os.close(watch)
        raise OSError(error, os.strerror(error))
    return watch


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _open_files() -> Iterator[tuple[int, int]]:
    """Device and inode of every file that a descendant process has open."""
    for process in psutil.Process().children(recursive=True):
        handles = Path(f"/proc/{process.pid}/fd")
        try:
            for handle in handles.iterdir():
                yield _identity(handle.stat())
        except OSError:  # it has ended or closed the file meanwhile
            continue
