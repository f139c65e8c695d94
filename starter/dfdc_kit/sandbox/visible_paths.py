"""What of this machine a run may see: the system's programs and libraries, and the Python that runs it."""

import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dfdc_kit.files import PACKAGE, ROOT

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
SETTINGS = (  # of /etc: how programs find libraries, fonts and the names of this machine's loopback, users and services
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts", "ssl/openssl.cnf"),
    *("hosts", "host.conf", "nsswitch.conf", "passwd", "group", "protocols", "services"),
)
GRAPHICS = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{i}" for i in range(16)))  # of /dev
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "shm")  # of /dev


def python_prefixes() -> set[Path]:
    """Where the running Python and its packages lie, by each name that they have."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    return prefixes | {prefix.resolve() for prefix in prefixes}


def places() -> list[Path]:
    """All that a run may read of this machine's programs and libraries."""
    system = [folder for folder in map(Path, SYSTEM) if folder.is_dir() and not folder.is_symlink()]
    return [*system, *python_prefixes()]


def view(hidden: Iterable[Path]) -> list[tuple[Path, bool]]:
    """The run's view of this machine, shallow to deep: True shows what is below a path, False hides it, up to the next.

    What lies below `places` is shown, but `hidden` (files and folders), and this kit: it is not part of the hosted
    machine, and holds labels. Python is shown wherever it lies. A place itself is never hidden.
    """
    shown = places()
    marks = dict.fromkeys(shown, True)
    for path in (ROOT, Path(sysconfig.get_path("purelib")) / PACKAGE.name, *hidden):
        real = path.resolve()
        for place in shown:
            base = place.resolve()
            if real.exists() and real.is_relative_to(base):
                marks.setdefault(place / real.relative_to(base), False)
    kept: dict[Path, bool] = {}
    for path, is_shown in sorted(marks.items(), key=lambda mark: len(mark[0].parts)):
        if is_shown != next((kept[folder] for folder in path.parents if folder in kept), False):
            kept[path] = is_shown
    return list(kept.items())


def readable(hidden: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Every place that a run may read, but `hidden` and this kit; and the folders of which it may list the names.

    A rule of Landlock holds for all below, without exceptions: where something is hidden below a place, its neighbours
    are named.
    """
    read, listed = [f"/etc/{name}" for name in SETTINGS], []
    marks = {path.resolve(): shown for path, shown in view(hidden)}
    left = [path for path, shown in marks.items() if shown]
    while left:
        path = left.pop()
        if not any(mark != path and mark.is_relative_to(path) for mark in marks):
            read.append(str(path))
        else:
            listed.append(str(path))
            with suppress(OSError):  # not ours to read
                left += [entry for entry in path.iterdir() if not entry.is_symlink() and marks.get(entry, True)]
    return read, listed
