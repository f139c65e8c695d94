"""What a process tree is and holds, read from /proc, also what no process shows: shared memory and removed files."""

import os
import stat
from typing import NamedTuple

LARGEST = 32  # of so many processes the proportional size is read, of the rest the resident size
SHARED_MEMORY = "/dev/shm"  # noqa: S108
IN_MEMORY = ("/memfd:", "/SYSV", "/dev/zero")  # how the kernel names files that lie in memory, not on a disk
TICKS_A_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Seen(NamedTuple):
    """One process of the tree at one moment."""

    pid: int
    threads: int
    resident_bytes: int
    cpu_time_s: float


class Unnamed(NamedTuple):
    """Bytes of files that no folder shows any more, or never did: they end with the last process that has them open."""

    memory_bytes: int  # memfd and the like
    disk_bytes: int


def below(root: int) -> list[Seen]:
    """Every process below `root`, zombies included, by one reading of /proc: 15 microseconds a process."""
    children: dict[int, list[Seen]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # ten times a second: pathlib would double its cost
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                line = file.read()
        except OSError:  # it ended meanwhile
            continue
        fields = line[line.rindex(b")") + 2 :].split(maxsplit=22)  # see proc_pid_stat(5), from the field `state`
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


class Memory(NamedTuple):
    """What a tree takes, in bytes."""

    taken: int  # what the kernel could not have back
    of_files: int  # mapped from files: the kernel takes that back when it needs it


def memory(tree: list[Seen], unnamed: Unnamed, largest: int | None = LARGEST) -> Memory:
    """The tree's memory: proportional sizes, so that a shared page counts once, and shared memory that none has mapped.

    What is not among the `largest` processes (None: all) counts with its resident size.
    """
    ordered = sorted(tree, key=lambda seen: seen.resident_bytes, reverse=True)
    exact = ordered[:largest]
    sizes = [_proportional(seen) for seen in exact]
    taken = sum(size.own + size.shared for size in sizes)
    rest = sum(seen.resident_bytes for seen in ordered[len(exact) :])
    apart = unnamed.memory_bytes + _shared_memory_bytes(tree) - sum(size.shared for size in sizes)
    return Memory(taken + rest + max(0, apart), sum(size.of_files for size in sizes))


def unnamed(tree: list[Seen]) -> Unnamed:
    """What the tree holds in files without a name, each counted once."""
    memory: dict[tuple[int, int], int] = {}
    disk: dict[tuple[int, int], int] = {}
    for seen in tree:
        counted_as_a_whole = _shared_memory_device(seen.pid)
        for path in (*_opened(seen.pid), *_mapped_without_name(seen.pid)):
            try:
                state = os.stat(path)  # noqa: PTH116
                if state.st_nlink or not stat.S_ISREG(state.st_mode):
                    continue
                where = os.readlink(path)  # noqa: PTH115
            except OSError:
                continue
            if state.st_dev != counted_as_a_whole:
                kind = memory if where.startswith(IN_MEMORY) else disk
                kind[state.st_dev, state.st_ino] = state.st_blocks * 512
    return Unnamed(sum(memory.values()), sum(disk.values()))


def _opened(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]  # noqa: PTH208  # as above
    except OSError:  # ended, or not ours to read
        return []


def _mapped_without_name(pid: int) -> list[str]:
    """Mapped files that were removed or never had a name; the kernel shows their sizes to a privileged harness only."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:  # noqa: PTH123
            ranges = [line.split(None, 1)[0].decode() for line in file if line.endswith(b" (deleted)\n")]
    except OSError:
        return []
    return [f"/proc/{pid}/map_files/{place}" for place in ranges]


class _Proportional(NamedTuple):
    """A process's share of what it has mapped, in bytes."""

    own: int  # anonymous, and the tables of its pages
    shared: int  # memory that lies in files of the kernel's, as in /dev/shm
    of_files: int


def _proportional(seen: Seen) -> _Proportional:
    try:
        with open(f"/proc/{seen.pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            sizes = {name: int(kib) * 1024 for name, kib, *_ in map(bytes.split, file) if name.startswith(b"Pss")}
        with open(f"/proc/{seen.pid}/status", "rb") as file:  # noqa: PTH123
            tables = next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmPTE:")), 0)
        shared, of_files = sizes.get(b"Pss_Shmem:", 0), sizes.get(b"Pss_File:", 0)
        return _Proportional(sizes[b"Pss:"] - shared - of_files + tables, shared, of_files)
    except (OSError, KeyError, ValueError):  # ended, not ours to read, or no PSS on this system
        return _Proportional(seen.resident_bytes, 0, 0)


def _shared_memory_device(pid: int) -> int | None:
    """The device of a process's own /dev/shm; None where it has none of its own."""
    try:
        device = os.stat(f"/proc/{pid}/root{SHARED_MEMORY}").st_dev  # noqa: PTH116
        return None if device == os.stat(SHARED_MEMORY).st_dev else device  # noqa: PTH116
    except OSError:
        return None


def _shared_memory_bytes(tree: list[Seen]) -> int:
    """What lies in the tree's own /dev/shm, with a name or without."""
    for seen in reversed(tree):  # the last ones are inside
        if _shared_memory_device(seen.pid) is not None:
            try:
                size = os.statvfs(f"/proc/{seen.pid}/root{SHARED_MEMORY}")
            except OSError:
                continue
            return (size.f_blocks - size.f_bfree) * size.f_frsize
    return 0
