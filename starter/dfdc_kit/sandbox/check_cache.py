"""Remembers what trials of this kernel and sandbox found, until the machine is started again or anything else changes.

The trials take more than a CPU second. Their results are kept in the cache folder under a key of everything that they
depend on: the boot, kernel settings, the user's privileges, this Python, this kit and the sandbox program. A file that
is missing, broken or not the user's own is ignored. `dfdc doctor` clears it, so that it tries everything anew.
"""

import hashlib
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit import __version__
from dfdc_kit.errors import OutputError
from dfdc_kit.files import cache_folder, write_bytes

FILE = "sandbox-checks.json"
MOST_KEYS = 16  # environments kept in the file, the newest: a machine has few
SYSTEM_FILES = (  # the boot, and what an administrator can change without a restart
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/self/attr/current",
)
PRIVILEGES = ("Uid:", "Gid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:")  # of /proc/self/status


def why_failing(name: str, try_it: Callable[[], str], version: str = "") -> str:
    """Empty if the trial `name` succeeded before, else what `try_it()` returns: the reason of a failure, or empty.

    Only success is remembered: what made a trial fail can be fixed at any time. `version` identifies the program tried.
    """
    if recall(name, version) == "":
        return ""
    reason = try_it()
    if not reason:
        store(name, "", version)
    return reason


def recall(name: str, version: str = "") -> Any | None:
    """The remembered result `name`; None where there is none."""
    return _read().get(_key(version), {}).get(name)


def store(name: str, value: object, version: str = "") -> None:
    """Remember `value` as the result `name`; does nothing where the cache folder cannot be written."""
    known, key = _read(), _key(version)
    mine = {**known.pop(key, {}), name: value}
    with suppress(OutputError, RuntimeError):
        write_bytes(_file(), msgspec.json.encode(dict([*known.items(), (key, mine)][-MOST_KEYS:])))


def clear() -> None:
    """Forget everything."""
    with suppress(OSError, RuntimeError):
        _file().unlink()


def _file() -> Path:
    """Raises RuntimeError where no home folder is known."""
    return cache_folder() / FILE


def _read() -> dict[str, dict[str, Any]]:
    try:
        with _file().open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return {}
            return msgspec.json.decode(file.read(), type=dict[str, dict[str, Any]])
    except (OSError, RuntimeError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _key(version: str) -> str:
    return hashlib.sha256(f"{_environment()}\n{version}".encode()).hexdigest()[:32]


@cache
def _environment() -> str:
    """Everything but the sandbox program that a result depends on."""
    privileges = [line for line in _text("/proc/self/status").splitlines() if line.startswith(PRIVILEGES)]
    namespaces = [_target(f"/proc/self/ns/{kind}") for kind in ("user", "mnt", "net", "pid")]
    ours = [(path.name, path.stat().st_mtime_ns) for path in sorted(Path(__file__).parent.rglob("*.py"))]
    this = (platform.release(), sys.executable, sys.version, tempfile.gettempdir(), __version__)
    return repr((this, [_text(name) for name in SYSTEM_FILES], privileges, namespaces, ours))


def _text(name: str) -> str:
    try:
        return Path(name).read_text(errors="replace")
    except OSError:
        return ""


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:
        return ""
