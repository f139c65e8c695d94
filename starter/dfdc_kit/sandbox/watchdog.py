"""Watches a process tree from outside: how much memory it takes, how many processes, how much it has written."""

import os
import time
from pathlib import Path

import psutil

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending

SAMPLE_S = 0.1  # resident memory, processes, the clock
SLOW_SAMPLE_S = 1.0  # proportional memory and the working folder: dearer to measure


class Watchdog:
    """Samples the tree below `pid` and says when a limit is passed. What it sees is a lower bound of the peak."""

    def __init__(self, pid: int, working: Path, limits: Limits) -> None:
        self.peak_memory_bytes = 0
        self.peak_processes = 0
        self._root = psutil.Process(pid)
        self._working = working
        self._limits = limits
        self._started = time.monotonic()
        self._next = self._next_slow = self._started

    def over(self) -> Ending | None:
        """The limit that the tree has passed, or None. Cheap to call often: it samples only when it is time to."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + SAMPLE_S
        slow = now >= self._next_slow
        if slow:
            self._next_slow = now + SLOW_SAMPLE_S
        if self._limits.wall_time_s is not None and now - self._started > self._limits.wall_time_s:
            return Ending.WALL_TIME
        if self._memory_is_over(slow):
            return Ending.MEMORY
        if slow and self._limits.output_bytes is not None and folder_bytes(self._working) > self._limits.output_bytes:
            return Ending.OUTPUT
        return None

    def _memory_is_over(self, slow: bool) -> bool:
        """Resident size counts shared pages once a process, so a tree is judged by its proportional size (PSS)."""
        tree = _tree(self._root)
        self.peak_processes = max(self.peak_processes, len(tree))
        limit = self._limits.memory_bytes
        resident = sum(_resident_bytes(process) for process in tree)
        over = limit is not None and resident > limit
        if len(tree) > 1 and (slow or over):
            resident = sum(_proportional_bytes(process) for process in tree)
            over = limit is not None and resident > limit
        elif len(tree) > 1:
            return False
        self.peak_memory_bytes = max(self.peak_memory_bytes, resident)
        return over


def folder_bytes(folder: Path) -> int:
    """Bytes that the files below `folder` take on disk; links are not followed, holes of sparse files do not count."""
    total, folders = 0, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:  # the program removed it, or forbade it to itself, meanwhile
            continue
    return total


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return list(root.children(recursive=True))
    except psutil.Error:  # it has ended
        return []


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):  # ended, not ours to read, or no PSS on this system
        return _resident_bytes(process)
