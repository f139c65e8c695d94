"""The processes and memory of a process tree, read from /proc, with shared memory and deleted files."""

import os
import stat
from typing import NamedTuple

EXACT_PROCESSES = 32  # the largest: their proportional size (PSS) is read, of the rest the resident size (RSS)
SHARED_MEMORY = "/dev/shm"  # noqa: S108
IN_MEMORY = ("/memfd:", "/SYSV", "/dev/zero")  # how the kernel names files in memory
TICKS_A_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Process(NamedTuple):
    """One process of the tree at one moment."""

    pid: int
    threads: int
    resident_bytes: int
    cpu_time_s: float


class UnlinkedFiles(NamedTuple):
    """Bytes of files without a name (deleted, or memfd): they exist as long as a process has them open."""

    memory_bytes: int  # memfd and the like
    disk_bytes: int


def descendants(root: int) -> list[Process]:
    """Every process below `root`, with zombies, by one scan of /proc: 15 microseconds per process."""
    children: dict[int, list[Process]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # ten times a second, and pathlib doubles its cost
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                line = file.read()
        except OSError:  # it has ended
            continue
        fields = line[line.rindex(b")") + 2 :].split(maxsplit=22)  # see proc_pid_stat(5), from the field `state`
        cpu_time_s = (int(fields[11]) + int(fields[12])) / TICKS_A_S
        process = Process(int(name), int(fields[17]), int(fields[21]) * PAGE_BYTES, cpu_time_s)
        children.setdefault(int(fields[1]), []).append(process)
    found: list[Process] = []
    level = [root]
    while level:
        next_level = [child for pid in level for child in children.pop(pid, ())]
        found += next_level
        level = [child.pid for child in next_level]
    return found


class Memory(NamedTuple):
    """What a process tree uses, in bytes."""

    used: int  # what the kernel cannot reclaim
    file_mapped: int  # mapped from files: the kernel reclaims it when it needs memory


def memory(tree: list[Process], unlinked: UnlinkedFiles, exact_count: int | None = EXACT_PROCESSES) -> Memory:
    """The tree's memory: proportional sizes, so that a shared page counts once, and shared memory that no one mapped.

    All but the `exact_count` largest processes (None: no exception) count with their resident size.
    """
    ordered = sorted(tree, key=lambda process: process.resident_bytes, reverse=True)
    exact = ordered[:exact_count]
    sizes = [_proportional(process) for process in exact]
    used = sum(size.own + size.shared for size in sizes)
    rest = sum(process.resident_bytes for process in ordered[len(exact) :])
    unmapped = unlinked.memory_bytes + _shared_memory_bytes(tree) - sum(size.shared for size in sizes)
    return Memory(used + rest + max(0, unmapped), sum(size.file_mapped for size in sizes))


def unlinked_files(tree: list[Process]) -> UnlinkedFiles:
    """What the tree holds in files without a name, each counted once."""
    memory: dict[tuple[int, int], int] = {}
    disk: dict[tuple[int, int], int] = {}
    for process in tree:
        shared_memory = _shared_memory_device(process.pid)  # counted as a whole
        for path in (*_open_files(process.pid), *_mapped_unlinked(process.pid)):
            try:
                state = os.stat(path)  # noqa: PTH116
                if state.st_nlink or not stat.S_ISREG(state.st_mode):
                    continue
                where = os.readlink(path)  # noqa: PTH115
            except OSError:
                continue
            if state.st_dev != shared_memory:
                kind = memory if where.startswith(IN_MEMORY) else disk
                kind[state.st_dev, state.st_ino] = state.st_blocks * 512
    return UnlinkedFiles(sum(memory.values()), sum(disk.values()))


def _open_files(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]  # noqa: PTH208  # as above
    except OSError:  # ended, or no permission
        return []


def _mapped_unlinked(pid: int) -> list[str]:
    """Mapped files without a name; the kernel shows their sizes to a privileged harness only."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:  # noqa: PTH123
            ranges = [line.split(None, 1)[0].decode() for line in file if line.endswith(b" (deleted)\n")]
    except OSError:
        return []
    return [f"/proc/{pid}/map_files/{place}" for place in ranges]


class _Proportional(NamedTuple):
    """A process's proportional share of its mappings, in bytes."""

    own: int  # anonymous memory and page tables
    shared: int  # shared memory, as in /dev/shm
    file_mapped: int


def _proportional(process: Process) -> _Proportional:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            sizes = {name: int(kib) * 1024 for name, kib, *_ in map(bytes.split, file) if name.startswith(b"Pss")}
        with open(f"/proc/{process.pid}/status", "rb") as file:  # noqa: PTH123
            tables = next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmPTE:")), 0)
        shared, file_mapped = sizes.get(b"Pss_Shmem:", 0), sizes.get(b"Pss_File:", 0)
        return _Proportional(sizes[b"Pss:"] - shared - file_mapped + tables, shared, file_mapped)
    except (OSError, KeyError, ValueError):  # ended, no permission, or no PSS on this system
        return _Proportional(process.resident_bytes, 0, 0)


def _shared_memory_device(pid: int) -> int | None:
    """The device number of a process's own /dev/shm; None where it shares ours."""
    try:
        device = os.stat(f"/proc/{pid}/root{SHARED_MEMORY}").st_dev  # noqa: PTH116
        return None if device == os.stat(SHARED_MEMORY).st_dev else device  # noqa: PTH116
    except OSError:
        return None


def _shared_memory_bytes(tree: list[Process]) -> int:
    """Bytes in the tree's own /dev/shm, of files with or without a name."""
    for process in reversed(tree):  # the last ones are inside the sandbox
        if _shared_memory_device(process.pid) is not None:
            try:
                size = os.statvfs(f"/proc/{process.pid}/root{SHARED_MEMORY}")
            except OSError:
                continue
            return (size.f_blocks - size.f_bfree) * size.f_frsize
    return 0
