"""Which test video is being read, observed from outside by inotify: an unmodified submission gets a progress bar."""

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from dfdc_kit.report.run_report import VideoRead

IN_OPEN, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_Q_OVERFLOW = 0x20, 0x8, 0x10, 0x4000
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
ROUND_S = 0.2


class VideoWatch:
    """Notes when each file of a folder is opened and closed, while the context is open.

    `on_open(name)` is called in the watching thread when a video is opened for the first time.
    """

    def __init__(self, folder: Path, on_open: Callable[[str], None]) -> None:
        self.unavailable = ""  # why nothing can be watched here, if so
        self._on_open = on_open
        self._folder = folder
        self._started, self._started_unix_s = time.monotonic(), time.time()
        self._opened: dict[str, float] = {}  # name -> first opened, seconds after the start
        self._closed: dict[str, float] = {}  # name -> last closed
        self._open_now: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="video-watch", daemon=True)

    def __enter__(self) -> Self:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._inotify = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            mask = IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE
            if self._inotify < 0 or libc.inotify_add_watch(self._inotify, os.fsencode(self._folder), mask) < 0:
                self.unavailable = f"inotify: {os.strerror(ctypes.get_errno())}"
        except (OSError, AttributeError):
            self._inotify = -1
            self.unavailable = "this system has no inotify"
        self._started, self._started_unix_s = time.monotonic(), time.time()
        if not self.unavailable:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._inotify >= 0:
            os.close(self._inotify)

    def reads(self, stopped_unix_s: float | None = None) -> list[VideoRead]:
        """Every video that was opened, in the order of opening.

        One still open at the end, or when the order to stop was given, has no `closed_s`: it was never finished.
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
            last_round = self._stop.is_set()  # events that came before the stop are still in the queue
            if select.select([self._inotify], [], [], 0 if last_round else ROUND_S)[0]:
                self._note(os.read(self._inotify, 1 << 16), time.monotonic() - self._started)
                last_round = False

    def _note(self, events: bytes, at: float) -> None:
        place = 0
        while place < len(events):
            _, mask, _, length = EVENT.unpack_from(events, place)
            place += EVENT.size + length
            if mask & IN_Q_OVERFLOW:
                self.unavailable = "inotify lost events: too many at once"
            name = os.fsdecode(events[place - length : place].rstrip(b"\0"))
            if not name:  # the folder itself
                continue
            if mask & IN_OPEN:
                self._open_now[name] = self._open_now.get(name, 0) + 1
                if name not in self._opened:
                    self._opened[name] = at
                    self._on_open(name)
            else:
                self._open_now[name] = max(0, self._open_now.get(name, 0) - 1)
                self._closed[name] = at
