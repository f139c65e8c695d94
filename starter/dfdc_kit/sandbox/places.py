"""What of this machine a run may see: the system's programs and libraries, and the Python that runs it."""

import sys
import sysconfig
from pathlib import Path

from dfdc_kit.resources import PACKAGE

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "fonts", "ssl/openssl.cnf")
GRAPHICS = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{i}" for i in range(16)))  # of /dev
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "shm")  # of /dev


def python_prefixes() -> list[Path]:
    """Where the running Python and its packages lie, as far as the system's folders do not hold them already."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    prefixes |= {Path(prefix).resolve() for prefix in list(prefixes)}
    outside = {prefix for prefix in prefixes if not any(prefix.is_relative_to(folder) for folder in SYSTEM)}
    return sorted(prefix for prefix in outside if not any(prefix.is_relative_to(o) for o in outside - {prefix}))


def places() -> list[Path]:
    """All that a run may read of this machine's programs and libraries."""
    return [*map(Path, SYSTEM), *python_prefixes()]


def ours() -> list[Path]:
    """Folders of this kit inside what a run may see: not part of the hosted machine, and they hold labels."""
    kit = {PACKAGE, Path(sysconfig.get_path("purelib")) / PACKAGE.name}
    return sorted(
        folder for folder in kit if folder.is_dir() and any(folder.is_relative_to(place) for place in places())
    )


def shown_in(path: Path) -> Path | None:
    """The place below which `path` lies that a run may read, but in a container; None if it is hidden from it."""
    resolved = path.resolve()
    if any(resolved.is_relative_to(folder.resolve()) for folder in ours()):
        return None
    return next((place for place in places() if resolved.is_relative_to(place.resolve())), None)


def readable() -> tuple[list[str], list[str]]:
    """Every place that a run may read, without ours; and the folders of which it may list the names.

    A rule of Landlock holds for all below, without exceptions: where ours lies below a place, its neighbours are named.
    """
    read, listed = [f"/etc/{name}" for name in SETTINGS], []
    hidden = [folder.resolve() for folder in ours()]
    left = places()
    while left:
        place = left.pop()
        resolved = place.resolve()
        inside = [folder for folder in hidden if folder.is_relative_to(resolved)]
        if not inside:
            read.append(str(place))
        elif resolved not in inside:
            listed.append(str(place))
            left += resolved.iterdir()
    return read, listed
