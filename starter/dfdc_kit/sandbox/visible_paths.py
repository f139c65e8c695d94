"""What of this machine a job may read: system programs and libraries, and the Python that runs it."""

import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dfdc_kit.files import PACKAGE, ROOT

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
ETC_FILES = (  # in /etc: how programs find libraries, fonts, loopback, users and services, and the system's name
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts", "ssl/openssl.cnf"),
    *("hosts", "host.conf", "nsswitch.conf", "passwd", "group", "protocols", "services"),
    *("os-release", "debian_version", "lsb-release", "mime.types"),
)
GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{i}" for i in range(16)))  # in /dev
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "shm")  # in /dev


def python_prefixes() -> set[Path]:
    """Where the running Python and its packages are installed, by every path that leads there."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    return prefixes | {prefix.resolve() for prefix in prefixes}


def program_roots() -> list[Path]:
    """The folders of programs and libraries that a job may read."""
    system = [folder for folder in map(Path, SYSTEM) if folder.is_dir() and not folder.is_symlink()]
    return [*system, *python_prefixes()]


def mount_plan(hidden: Iterable[Path]) -> list[tuple[Path, bool]]:
    """Which paths to show (True) and to cover (False), parents first; each holds for all below it, up to the next.

    Shown are the `program_roots`, without `hidden` (files and folders) and without this kit: the hosted machine does
    not have it, and it holds labels. A root itself is never covered.
    """
    roots = program_roots()
    marks = dict.fromkeys(roots, True)
    for path in (ROOT, Path(sysconfig.get_path("purelib")) / PACKAGE.name, *hidden):
        real = path.resolve()
        for root in roots:
            base = root.resolve()
            if real.exists() and real.is_relative_to(base):
                marks.setdefault(root / real.relative_to(base), False)
    plan: dict[Path, bool] = {}
    for path, is_shown in sorted(marks.items(), key=lambda mark: len(mark[0].parts)):
        if is_shown != next((plan[folder] for folder in path.parents if folder in plan), False):
            plan[path] = is_shown
    return list(plan.items())


def readable_paths(hidden: Iterable[Path]) -> tuple[list[str], list[str]]:
    """The paths below which a job may read, and the folders of which it may only list the names.

    A Landlock rule holds for everything below a path, without exceptions: where something below a root is hidden, its
    siblings are named one by one.
    """
    read, list_only = [f"/etc/{name}" for name in ETC_FILES], []
    marks = {path.resolve(): is_shown for path, is_shown in mount_plan(hidden)}
    waiting = [path for path, is_shown in marks.items() if is_shown]
    while waiting:
        path = waiting.pop()
        if not any(mark != path and mark.is_relative_to(path) for mark in marks):
            read.append(str(path))
        else:
            list_only.append(str(path))
            with suppress(OSError):  # no permission
                waiting += [entry for entry in path.iterdir() if not entry.is_symlink() and marks.get(entry, True)]
    return read, list_only
