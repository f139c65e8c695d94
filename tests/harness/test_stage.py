"""pip in a run: from files it installs into a place of the run's own, from the index it fails as on Kaggle."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from dfdc_kit.harness.python_start import MISSING_INPUT
from dfdc_kit.harness.stage import make_python
from dfdc_kit.report.verdicts import Verdict

BACKENDS = ["bubblewrap", "process"]
PROGRAM = Path(__file__).parent / "programs" / "installs_packages.py"
GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()


def write_wheel(folder: Path, name: str, source: str) -> None:
    """A wheel with one module, which needs numpy."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: numpy\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


def write_sdist(folder: Path, name: str, source: str) -> None:
    """A source package of 2020: only a setup.py."""
    setup = f"from setuptools import setup\nsetup(name={name!r}, version='1.0', py_modules=[{name!r}])\n"
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for file, text in (("setup.py", setup), (f"{name}.py", source)):
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


@pytest.mark.parametrize("backend", ["bubblewrap", pytest.param("process", marks=pytest.mark.slow)])
def test_pip_installs_wheels_and_sources_offline_and_fails_on_the_index(run, code_submission, backend):
    folder = code_submission(f"{PROGRAM.read_text()}\n{GOOD}\nwrite(tinydet.VALUE)")
    write_wheel(folder / "packages", "tinydet", "VALUE = 0.25\n")
    write_wheel(folder / "packages", "six", "VALUE = 'newer'\n")  # one that is installed here, too
    write_sdist(folder / "packages", "olddet", "VALUE = 0.75\n")
    report = run(folder, backend=backend)
    assert report.judgement.verdict is Verdict.COMPLETE, report.observation.last_output
    log = "\n".join(report.observation.last_output)
    assert "No matching distribution found for facenet-pytorch" in log
    assert "installed: 0.25 newer 0.75" in log


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("entry", ["main.py", "main.ipynb"])
def test_wheels_folder_is_installed_before_the_program_starts(run, notebook, code_submission, backend, entry):
    source = f"import tinydet\n{GOOD}\nwrite(tinydet.VALUE)"
    folder = code_submission(source)
    (folder / "submission.toml").write_text(f'name = "trial"\nentry_point = "{entry}"\n')
    notebook(source, path=folder / "main.ipynb")
    write_wheel(folder / "wheels", "tinydet", "VALUE = 0.25\n")
    report = run(folder, backend=backend)
    assert report.judgement.verdict is Verdict.COMPLETE, report.observation.last_output


LOOKS_FOR_INPUT = """
import glob, io, os, pathlib, pickle, shutil, sys
class Reader:
    read = open  # stays no method
Reader().read(__file__).close()
assert pickle.loads(pickle.dumps(os.stat)) is os.stat and io.open is open and os.stat in os.supports_dir_fd
glob.glob("/kaggle/input/%s/*.pth" % "globbed")
os.path.exists("/kaggle/" + "input/stated")
try:
    (pathlib.Path("..") / "input" / "own" / "x.pth").read_bytes()
except OSError:
    pass
os.path.exists("/kaggle/inputs/other")
open("/kaggle/" + "input/opened/w.pth")
"""


def test_python_of_a_run_notes_missing_input_and_tracebacks_look_as_without_it(tmp_path):
    python = make_python(tmp_path / "home")
    program, working = tmp_path / "main.py", tmp_path / "kaggle" / "working"
    program.write_text(LOOKS_FOR_INPUT)
    working.mkdir(parents=True)
    environment = {"DFDC_INPUT_DIR": str(tmp_path / "kaggle" / "input" / "competition")}
    done = subprocess.run([python, program], cwd=working, env=environment, capture_output=True, text=True, check=False)
    noted = (tmp_path / "home" / MISSING_INPUT).read_text().splitlines()
    assert noted == ["globbed", "stated", "own/x.pth", "opened/w.pth"], done.stderr
    assert done.stderr.count("File ") == 1
    assert done.stderr.splitlines()[-1] == (
        "FileNotFoundError: [Errno 2] No such file or directory: '/kaggle/input/opened/w.pth'"
    )


FAKE_H5PY = """
class File:
    def __init__(self, name, mode="r"):
        raise OSError("unable to open file")
"""
OPENS_OUTSIDE_PYTHON = """
import os
import h5py

class Weights(h5py.File):
    pass

for kind in (h5py.File, Weights):
    try:
        kind(f"/kaggle/input/{kind.__name__}/model.h5")
    except OSError as error:
        print(error)
os.system("cat '/kaggle/input/by-command/a.txt' 2> /dev/null")
print(type(h5py.File).__name__, issubclass(Weights, h5py.File))
"""


def test_python_of_a_run_notes_missing_input_that_a_library_or_command_opens(tmp_path):
    python = make_python(tmp_path / "home")
    (tmp_path / "h5py.py").write_text(FAKE_H5PY)
    (tmp_path / "main.py").write_text(OPENS_OUTSIDE_PYTHON)
    done = subprocess.run([python, tmp_path / "main.py"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["unable to open file", "unable to open file", "type True"]
    noted = (tmp_path / "home" / MISSING_INPUT).read_text().splitlines()
    assert noted == ["File/model.h5", "Weights/model.h5", "by-command/a.txt"]
