"""Watches a process tree from outside: how much memory it takes, how many processes, how much it has written."""

import errno
import os
import time
from pathlib import Path
from typing import NamedTuple

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.sandbox.gpu import GpuWatch

START_S = 0.1  # not the job's time: it starts a few hundredths of a second after this clock
SAMPLE_S = 0.1  # resident memory, processes, the clock
MOST_SAMPLES = 500  # of memory, kept for the report
SLOW_SAMPLE_S = 1.0  # proportional memory and the folders: dearer to measure
LARGEST = 32  # of so many processes the proportional size is read, of the rest the resident size
SHARE = 5  # a measurement that takes long is repeated after SHARE times as long, at the earliest
OUT_OF_REACH_BYTES = 1 << 40  # what lies below a path too long to be opened counts as this much: nobody needs that
TICKS_A_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Seen(NamedTuple):
    """One process of the tree at one moment."""

    pid: int
    threads: int
    resident_bytes: int
    cpu_time_s: float


class Watchdog:
    """Samples the tree below `pid` and says when a limit is passed. What it sees is a lower bound of the peak."""

    def __init__(self, pid: int, working: Path, temporary: Path, limits: Limits, gpu: GpuWatch | None = None) -> None:
        self.peak_memory_bytes = 0
        self.peak_processes = 0
        self._cpu_s_of: dict[int, float] = {}  # by process
        self.memory_samples: list[tuple[float, int]] = []  # (seconds after the start, bytes)
        self._sample_every_s, self._next_sample = SAMPLE_S, 0.0
        self._root = pid
        self._gpu = gpu
        self._working, self._temporary = working, temporary
        self._limits = limits
        self._started = time.monotonic()
        self._next = self._next_slow = self._started
        self._slow_every_s = SAMPLE_S  # grows to SLOW_SAMPLE_S: a short run is sampled, too

    def over(self) -> Ending | None:
        """The limit that the tree has passed, or None. Cheap to call often: it samples only when it is time to."""
        now = time.monotonic()
        limits = self._limits
        if limits.wall_time_s is not None and now - self._started > limits.wall_time_s + START_S:
            return Ending.WALL_TIME
        if now < self._next:
            return None
        slow = now >= self._next_slow
        tree = below(self._root)
        for seen in tree:
            self._cpu_s_of[seen.pid] = max(seen.cpu_time_s, self._cpu_s_of.get(seen.pid, 0.0))
        found = self._processes_or_memory(tree, slow) or (self.folders_over() or self._graphics(tree) if slow else None)
        took = time.monotonic() - now
        self._next = now + max(SAMPLE_S, SHARE * took)
        if slow:
            self._next_slow = now + max(self._slow_every_s, SHARE * took)
            self._slow_every_s = min(2 * self._slow_every_s, SLOW_SAMPLE_S)
        return found

    def _processes_or_memory(self, tree: list[Seen], slow: bool) -> Ending | None:
        """Resident size counts shared pages once a process, so a tree is judged by its proportional size (PSS)."""
        self.peak_processes = max(self.peak_processes, len(tree))
        if self._limits.processes is not None and sum(seen.threads for seen in tree) > self._limits.processes:
            return Ending.PROCESSES
        limit = self._limits.memory_bytes
        memory = sum(seen.resident_bytes for seen in tree)
        over = limit is not None and memory > limit
        if len(tree) > 1:
            if not (slow or over):
                return None
            memory = _proportional_bytes(tree)
            over = limit is not None and memory > limit
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        self._keep_sample(memory)
        return Ending.MEMORY if over else None

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

    def folders_over(self) -> Ending | None:
        """The limit that the working folder or that for temporary files has passed, or None."""
        limits = self._limits
        if limits.output_bytes is not None and folder_bytes(self._working) > limits.output_bytes:
            return Ending.OUTPUT
        if limits.scratch_bytes is not None and folder_bytes(self._temporary) > limits.scratch_bytes:
            return Ending.SCRATCH
        return None

    def _graphics(self, tree: list[Seen]) -> Ending | None:
        if self._gpu is None:
            return None
        held = self._gpu.sample({seen.pid for seen in tree})
        limit = self._limits.gpu_memory_bytes
        return Ending.GPU_MEMORY if limit is not None and held > limit else None


def below(root: int) -> list[Seen]:
    """Every process below `root`, zombies included, by one reading of /proc: 15 microseconds a process."""
    children: dict[int, list[Seen]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # ten times a second: pathlib would double its cost
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:  # it ended meanwhile
            continue
        fields = stat[stat.rindex(b")") + 2 :].split(maxsplit=22)  # see proc_pid_stat(5), from the field `state`
        cpu_time_s = (int(fields[11]) + int(fields[12])) / TICKS_A_S
        seen = Seen(int(name), int(fields[17]), int(fields[21]) * PAGE_BYTES, cpu_time_s)
        children.setdefault(int(fields[1]), []).append(seen)
    found: list[Seen] = []
    level = [root]
    while level:
        grown = [child for pid in level for child in children.pop(pid, ())]
        found += grown
        level = [child.pid for child in grown]
    return found


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
        except OSError as error:  # the program removed it, or forbade it to itself, meanwhile
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):  # who hides what it wrote has written too much
                return total + OUT_OF_REACH_BYTES
    return total


def _proportional_bytes(tree: list[Seen]) -> int:
    """The tree's memory, a shared page counted once; what is not among the largest counts in full."""
    largest = sorted(tree, key=lambda seen: seen.resident_bytes, reverse=True)
    return sum(map(_pss_bytes, largest[:LARGEST])) + sum(seen.resident_bytes for seen in largest[LARGEST:])


def _pss_bytes(seen: Seen) -> int:
    try:
        with open(f"/proc/{seen.pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration):  # ended, not ours to read, or no PSS on this system
        return seen.resident_bytes
