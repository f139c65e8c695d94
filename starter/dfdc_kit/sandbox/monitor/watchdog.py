"""Watches a process tree from outside: how much memory it takes, how many processes, how much it has written."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.sandbox.monitor.gpu import GpuWatch
from dfdc_kit.sandbox.monitor.process_tree import LARGEST, Seen, Unnamed, below, memory, unnamed

SAMPLE_S = 0.1  # resident memory, processes, the clock
MOST_SAMPLES = 500  # of memory, kept for the report
SLOW_SAMPLE_S = 1.0  # proportional memory and the folders: dearer to measure
SHARE = 5  # a measurement that takes long is repeated after SHARE times as long, at the earliest
OUT_OF_REACH_BYTES = 1 << 40  # what lies below a path too long to be opened counts as this much: nobody needs that


class Watchdog:
    """Samples the tree below the process `root()` and says when a limit is passed. What it sees is a lower bound of the
    peak. While `root()` is None, only the folders are watched.
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
        self.peak_of_files_bytes = self._of_files_bytes = 0
        self.peak_processes = 0
        self._cpu_s_of: dict[int, float] = {}  # by process
        self.memory_samples: list[tuple[float, int]] = []  # (seconds after the start, bytes)
        self._sample_every_s, self._next_sample = SAMPLE_S, 0.0
        self._root = root
        self._gpu = gpu
        self._working, self._temporary = working, temporary
        self._limits = limits
        self._started = time.monotonic()
        self._next = self._next_slow = self._started
        self._slow_every_s = SAMPLE_S  # grows to SLOW_SAMPLE_S: a short run is sampled, too

    def over(self) -> Ending | None:
        """The limit that the tree has passed, or None. Cheap to call often: it samples only when it is time to."""
        now = time.monotonic()
        if now < self._next:
            return None
        slow = now >= self._next_slow
        root = self._root()
        tree = [] if root is None else below(root)
        for seen in tree:
            self._cpu_s_of[seen.pid] = max(seen.cpu_time_s, self._cpu_s_of.get(seen.pid, 0.0))
        nameless = unnamed(tree) if slow else None
        found = self._processes_or_memory(tree, nameless)
        if nameless is not None and found is None:
            found = self._folders_over(nameless) or self._graphics(tree)
        took = time.monotonic() - now
        self._next = now + max(SAMPLE_S, SHARE * took)
        if slow:
            self._next_slow = now + max(self._slow_every_s, SHARE * took)
            self._slow_every_s = min(2 * self._slow_every_s, SLOW_SAMPLE_S)
        return found

    def _processes_or_memory(self, tree: list[Seen], nameless: Unnamed | None) -> Ending | None:
        """Resident sizes are quick to add up, but count shared pages once a process: judged is by the exact size."""
        self.peak_processes = max(self.peak_processes, len(tree))
        if self._limits.processes is not None and sum(seen.threads for seen in tree) > self._limits.processes:
            return Ending.PROCESSES
        if not tree:
            return None
        limit = self._limits.memory_bytes
        most = sum(seen.resident_bytes for seen in tree)
        if nameless is None and (limit is None or most <= limit):
            if len(tree) == 1:  # nothing is shared: left out is what it had mapped from files at the last look
                self._keep_sample(max(0, most - self._of_files_bytes))
            return None
        nameless = nameless or unnamed(tree)
        found = memory(tree, nameless)
        if limit is not None and found.taken > limit and len(tree) > LARGEST:
            found = memory(tree, nameless, largest=None)
        self.peak_memory_bytes = max(self.peak_memory_bytes, found.taken)
        self._of_files_bytes = found.of_files
        self.peak_of_files_bytes = max(self.peak_of_files_bytes, found.of_files)
        self._keep_sample(found.taken)
        return Ending.MEMORY if limit is not None and found.taken > limit else None

    def _keep_sample(self, memory_bytes: int) -> None:
        """Keep at most `MOST_SAMPLES`, evenly spaced: when there are too many, every second one goes."""
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
        """Of every process that was seen, as it was seen last: also of those that nobody waited for."""
        return sum(self._cpu_s_of.values())

    def _folders_over(self, nameless: Unnamed) -> Ending | None:
        """The limit that the working folder or that for temporary files has passed, or None.

        A file without a name lies in no folder: it counts as a temporary one, where they have a limit.
        """
        limits, hidden = self._limits, nameless.disk_bytes
        if limits.scratch_bytes is not None:
            if folder_bytes(self._temporary) + hidden > limits.scratch_bytes:
                return Ending.SCRATCH
            hidden = 0
        if limits.output_bytes is not None and folder_bytes(self._working) + hidden > limits.output_bytes:
            return Ending.OUTPUT
        return None

    def _graphics(self, tree: list[Seen]) -> Ending | None:
        if self._gpu is None:
            return None
        held = self._gpu.sample({seen.pid for seen in tree})
        limit = self._limits.gpu_memory_bytes
        return Ending.GPU_MEMORY if limit is not None and held > limit else None


def folder_bytes(folder: Path) -> int:
    """Bytes that the files below `folder` take on disk; links are not followed, holes of sparse files do not count.

    A folder that the program has closed is opened again. What cannot be reached counts as OUT_OF_REACH_BYTES.
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
        except OSError as error:  # else the program removed it meanwhile
            if error.errno == errno.EACCES and path not in opened and _open(path):
                opened.add(path)
                folders.append(path)
            elif error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return total + OUT_OF_REACH_BYTES
            continue
        total += sum(size for size, _, _ in sizes)
        folders += [below for _, is_folder, below in sizes if is_folder]
    return total


def _open(path: str) -> bool:
    """Let the owner of a folder, who is this user, look into it; never through a link that has taken its place."""
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
