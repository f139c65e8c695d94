"""Watches a process tree from outside: its memory, its number of processes, and how much it has written."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.sandbox.monitor.gpu import GpuWatch
from dfdc_kit.sandbox.monitor.process_tree import (
    EXACT_PROCESSES,
    Process,
    UnlinkedFiles,
    descendants,
    memory,
    unlinked_files,
)

SAMPLE_S = 0.1  # resident memory, processes, the clock
MOST_SAMPLES = 500  # of memory, kept for the report
SLOW_SAMPLE_S = 1.0  # proportional memory and the folders, which take longer to measure
PAUSE_FACTOR = 5  # a measurement is repeated after this many times its duration, at the earliest
UNREACHABLE_BYTES = 1 << 40  # for what is below a path too long to open: no program needs that


class Watchdog:
    """Samples the process tree below `root()` and reports an exceeded limit. A sampled peak is a lower bound.

    While `root()` is None, only the folders are watched.
    """

    def __init__(
        self,
        root: Callable[[], int | None],
        working: Path,
        temporary: Path,
        limits: Limits,
        gpu: GpuWatch | None = None,
    ) -> None:
        self.peak_memory_bytes = 0
        self.peak_file_mapped_bytes = 0
        self.peak_processes = 0
        self._cpu_s_of: dict[int, float] = {}  # by process
        self.memory_samples: list[tuple[float, int]] = []  # (seconds after the start, bytes)
        self._sample_every_s, self._next_sample = SAMPLE_S, 0.0
        self._measured_pids: set[int] = set()  # at the last exact measurement of memory
        self._shared_bytes = 0  # sum of resident sizes less the exact size, then
        self._root = root
        self._gpu = gpu
        self._working, self._temporary = working, temporary
        self._limits = limits
        self._started = time.monotonic()
        self._next = self._next_slow = self._started
        self._slow_every_s = SAMPLE_S  # grows to SLOW_SAMPLE_S, so that a short run is sampled, too

    def exceeded(self) -> Ending | None:
        """The limit that the tree has exceeded, or None. Cheap to call often: it samples only when it is time to."""
        now = time.monotonic()
        if now < self._next:
            return None
        slow = now >= self._next_slow
        root = self._root()
        tree = [] if root is None else descendants(root)
        for process in tree:
            self._cpu_s_of[process.pid] = max(process.cpu_time_s, self._cpu_s_of.get(process.pid, 0.0))
        unlinked = unlinked_files(tree) if slow else None
        found = self._processes_or_memory(tree, unlinked)
        if unlinked is not None and found is None:
            found = self._folders(unlinked) or self._gpu_memory(tree)
        took = time.monotonic() - now
        self._next = now + max(SAMPLE_S, PAUSE_FACTOR * took)
        if slow:
            self._next_slow = now + max(self._slow_every_s, PAUSE_FACTOR * took)
            self._slow_every_s = min(2 * self._slow_every_s, SLOW_SAMPLE_S)
        return found

    def _processes_or_memory(self, tree: list[Process], unlinked: UnlinkedFiles | None) -> Ending | None:
        """Resident sizes are quick to sum, but count shared pages once per process: the exact size decides."""
        self.peak_processes = max(self.peak_processes, len(tree))
        if self._limits.processes is not None and sum(process.threads for process in tree) > self._limits.processes:
            return Ending.PROCESSES
        if not tree:
            return None
        limit = self._limits.memory_bytes
        resident_bytes = sum(process.resident_bytes for process in tree)
        if unlinked is None and (limit is None or resident_bytes <= limit):
            if {process.pid for process in tree} == self._measured_pids:  # what they share is hardly another amount
                self._keep_sample(max(0, resident_bytes - self._shared_bytes))
            return None
        unlinked = unlinked or unlinked_files(tree)
        found = memory(tree, unlinked)
        if limit is not None and found.used > limit and len(tree) > EXACT_PROCESSES:
            found = memory(tree, unlinked, exact_count=None)
        self.peak_memory_bytes = max(self.peak_memory_bytes, found.used)
        self._measured_pids = {process.pid for process in tree}
        self._shared_bytes = resident_bytes - found.used
        self.peak_file_mapped_bytes = max(self.peak_file_mapped_bytes, found.file_mapped)
        self._keep_sample(found.used)
        return Ending.MEMORY if limit is not None and found.used > limit else None

    def _keep_sample(self, memory_bytes: int) -> None:
        """Keep at most `MOST_SAMPLES`, evenly spaced: of too many, every second one is dropped."""
        at = time.monotonic() - self._started
        if at < self._next_sample:
            return
        self.memory_samples.append((round(at, 3), memory_bytes))
        if len(self.memory_samples) > MOST_SAMPLES:
            del self.memory_samples[1::2]
            self._sample_every_s *= 2
        self._next_sample = at + self._sample_every_s

    @property
    def cpu_time_s(self) -> float:
        """Of every sampled process, as last seen: also of those that no parent waited for."""
        return sum(self._cpu_s_of.values())

    def _folders(self, unlinked: UnlinkedFiles) -> Ending | None:
        """The limit that the working folder or the one for temporary files has exceeded, or None.

        A file without a name is in neither: it counts as temporary where that has a limit, else as output.
        """
        limits, unlinked_bytes = self._limits, unlinked.disk_bytes
        if limits.scratch_bytes is not None:
            if folder_bytes(self._temporary) + unlinked_bytes > limits.scratch_bytes:
                return Ending.SCRATCH
            unlinked_bytes = 0
        if limits.output_bytes is not None and folder_bytes(self._working) + unlinked_bytes > limits.output_bytes:
            return Ending.OUTPUT
        return None

    def _gpu_memory(self, tree: list[Process]) -> Ending | None:
        if self._gpu is None:
            return None
        held = self._gpu.sample({process.pid for process in tree})
        limit = self._limits.gpu_memory_bytes
        return Ending.GPU_MEMORY if limit is not None and held > limit else None


def folder_bytes(folder: Path) -> int:
    """Bytes on disk of the files below `folder`; links are not followed, holes of sparse files do not count.

    Permission that the program has removed from a folder is restored. What is unreachable counts UNREACHABLE_BYTES.
    """
    total, folders, opened = 0, [str(folder)], set()
    while folders:
        path = folders.pop()
        try:
            with os.scandir(path) as entries:
                sizes = [
                    (entry.stat(follow_symlinks=False).st_blocks * 512, entry.is_dir(follow_symlinks=False), entry.path)
                    for entry in entries
                ]
        except OSError as error:  # else the program has removed it
            if error.errno == errno.EACCES and path not in opened and _make_readable(path):
                opened.add(path)
                folders.append(path)
            elif error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return total + UNREACHABLE_BYTES
            continue
        total += sum(size for size, _, _ in sizes)
        folders += [below for _, is_folder, below in sizes if is_folder]
    return total


def _make_readable(path: str) -> bool:
    """Give the owner of a folder, this user, access to it; never through a link that has replaced it."""
    try:
        handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
