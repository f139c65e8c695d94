"""A Python environment of the run's own: `pip install` can write to it, and what it installs comes first."""

import site
import sys
from pathlib import Path

from dfdc_kit.sandbox import visible_paths

OWN_PYTHON = ".python"  # in the run's home folder
PIP = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n'  # finds its Python wherever a sandbox mounts the folder
START = "_dfdc_start"  # a module that Python runs as it starts
START_SOURCE = """
import os, site, sys

os.environ["PATH"] = sys.prefix + "/bin:" + os.environ.get("PATH", os.defpath)
for folder in {folders!r}:
    site.addsitedir(folder)
for folder in sys.path[:]:
    try:
        if os.path.isdir(folder):
            os.listdir(folder)
    except PermissionError:  # hidden by the sandbox: pip would fail on it
        sys.path.remove(folder)
"""


def make_python(folder: Path) -> Path:
    """Make `folder` a virtual environment on top of the running Python; returns its interpreter. Raises OSError.

    The packages of the running Python stay visible, and pip counts them as installed in another environment: it
    neither looks for them in the index nor tries to remove them.
    """
    base = Path(getattr(sys, "_base_executable", "") or sys.executable)
    minor = f"python3.{sys.version_info.minor}"
    programs, packages = folder / "bin", folder / "lib" / minor / "site-packages"
    for made in (programs, packages):
        made.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    (programs / "python").symlink_to(base)
    for name in ("python3", minor):
        (programs / name).symlink_to("python")
    for name in ("pip", "pip3"):
        (programs / name).write_text(PIP)
        (programs / name).chmod(0o755)
    (packages / f"{START}.py").write_text(START_SOURCE.format(folders=package_folders()))
    (packages / f"{START}.pth").write_text(f"import {START}\n")
    return programs / "python"


def package_folders() -> list[str]:
    """The folders of packages on the path of this Python that a sandbox shows, without the standard library."""
    shown = {*site.getsitepackages(), *map(str, visible_paths.package_folders())}
    return [str(Path(name).absolute()) for name in dict.fromkeys(sys.path) if str(Path(name).absolute()) in shown]
