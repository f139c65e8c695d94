"""Runs a code submission at Kaggle as `dfdc run` does: its files beside each other, the input in DFDC_INPUT_DIR.

`dfdc submit` pushes a copy of this file with one line that calls it. It imports nothing of the kit.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

INPUT = Path("/kaggle/input")
ARCHIVE, INSIDE = "submission-files.bin", "submission"  # the submission's files, and the folder in that archive
WHEELS = "wheels"  # folder of packages that Kaggle's image lacks: there is no internet to install them from


def mounted(*places: str) -> Path:
    """The first of these places that exists: Kaggle has moved its mounts since 2020."""
    found = [INPUT / place for place in places if (INPUT / place).is_dir()]
    if not found:
        raise FileNotFoundError(f"none of {', '.join(places)} is in {INPUT}: is it attached to this notebook?")
    return found[0]


def prepare(competition: str, dataset: str, digests: "dict[str, str]") -> Path:
    """Set DFDC_INPUT_DIR and `sys.path`; the folder of the submission's files (`dataset` is owner/slug)."""
    os.environ["DFDC_INPUT_DIR"] = str(mounted(f"competitions/{competition}", competition))
    if not dataset:
        return Path.cwd()
    own = unpacked(mounted(f"datasets/{dataset}", dataset.split("/")[1]))
    compare(own, digests)
    installed = install(own / WHEELS)
    sys.path[:0] = [str(own), *installed]
    scripts = [folder for folder in sys.path if folder.startswith("/kaggle/usr/lib/")]  # attached utility scripts
    added = [*installed, *scripts, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(added).rstrip(os.pathsep)
    return own


def unpacked(dataset: Path) -> Path:
    """The folder with the submission's files; the archive is unpacked into a temporary one."""
    if (dataset / INSIDE).is_dir():  # Kaggle has unpacked it
        return dataset / INSIDE
    folder = tempfile.mkdtemp(prefix="submission-")
    with tarfile.open(dataset / ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)  # noqa: S202  # made by `dfdc submit`
    return Path(folder, INSIDE)


def compare(own: Path, digests: "dict[str, str]") -> None:
    """Every file is the one that was submitted, by name and SHA-256; else a RuntimeError names those that are not."""
    differing = []
    for name, digest in digests.items():
        path = own / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            differing.append(name)
    if differing:
        raise RuntimeError(f"missing or changed on the way to Kaggle: {', '.join(differing[:10])}")


def install(wheels: Path) -> "list[str]":
    """Install the wheels of a folder into a temporary one, without an index; that folder, if there are any."""
    found = sorted(str(path) for path in wheels.glob("*.whl"))
    if not found:
        return []
    folder = tempfile.mkdtemp(prefix="wheels-")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--target", folder, *found], check=True)
    return [folder]


def main(competition: str, dataset: str, digests: "dict[str, str]", program: "list[str]", runner: str = "") -> None:
    """Run the program, given with its arguments, in /kaggle/working; a failing exit code fails this one, too.

    `runner` is the file that runs it, if Python cannot: it is a script with notebook syntax.
    """
    own = prepare(competition, dataset, digests)
    command = [sys.executable, "-u", *(["-P", str(own / runner)] if runner else [])]
    command += [str(own / program[0]), *program[1:]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:  # passed on by us: not every way to run a script shows what its children print
            print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(f"{program[0]} exited with code {process.returncode}")
