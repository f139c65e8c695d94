"""Runs a code submission at Kaggle as `dfdc run` does here: its files beside each other, the input named to it.

`dfdc submit` pushes a copy of this file with one line that calls it. It imports nothing of the kit.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

INPUT = Path("/kaggle/input")
WHEELS = "wheels"  # folder of packages that Kaggle's image lacks: there is no internet to install them from


def mounted(*places: str) -> Path:
    """The first of these places that is there: Kaggle mounts attached data elsewhere than in 2020."""
    found = [INPUT / place for place in places if (INPUT / place).is_dir()]
    if not found:
        raise FileNotFoundError(f"none of {', '.join(places)} is in {INPUT}: is it attached to this notebook?")
    return found[0]


def prepare(competition: str, data_set: str) -> Path:
    """Name the input to the program as the harness does; the folder of its own files (`data_set` is owner/slug)."""
    os.environ["DFDC_INPUT_DIR"] = str(mounted(f"competitions/{competition}", competition))
    if not data_set:
        return Path.cwd()
    own = mounted(f"datasets/{data_set}", data_set.split("/")[1])
    installed = install(own / WHEELS)
    sys.path[:0] = [str(own), *installed]
    os.environ["PYTHONPATH"] = os.pathsep.join([*installed, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return own


def install(wheels: Path) -> list[str]:
    """Install the wheels of a folder into a temporary one, and nothing else; where they are, if there are any."""
    found = sorted(str(path) for path in wheels.glob("*.whl"))
    if not found:
        return []
    folder = tempfile.mkdtemp(prefix="wheels-")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--target", folder, *found], check=True)
    return [folder]


def main(competition: str, data_set: str, program: str) -> None:
    """Run the program in the current folder, /kaggle/working; an exit code that is not 0 ends this one, too."""
    command = [sys.executable, "-u", str(prepare(competition, data_set) / program)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:  # passed on by us: not every way to run a script shows what its children print
            print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(f"{program} ended with exit code {process.returncode}")
