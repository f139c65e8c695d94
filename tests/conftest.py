"""Fixtures that several tests share."""

import fcntl
import gc
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from dfdc_kit.cli import main
from fake_kaggle import FakeKaggle

# A shell that starts the tests in the background has Ctrl-C ignored, by their children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The commands that tests start, about a thousand, find their modules compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# More workers than cores: threads of numpy and PyTorch that wait for each other cost more than they gain.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

gc.disable()  # while a hundred modules are imported, a third of the time; see pytest_collection_finish

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"COLUMNS": "80", "NO_COLOR": "1"}  # of a command


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: tests wait for the processes that they start for a third of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Collect garbage again, but skip the million objects that exist by now: they stay to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()


def ignores_permissions() -> bool:
    """Whether this process may open what file permissions close: root, unless it gave up CAP_DAC_OVERRIDE (bit 1)."""
    if os.geteuid():
        return False
    status = Path("/proc/self/status")
    effective = re.search(r"^CapEff:\s*(\w+)", status.read_text() if status.exists() else "", re.MULTILINE)
    return effective is None or bool(int(effective[1], 16) & 1 << 1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `permissions` as root, and one marked `runs_submission` where a package is missing."""
    if item.get_closest_marker("permissions") and ignores_permissions():
        pytest.skip("root ignores permissions: make test-as-user")
    if item.get_closest_marker("runs_submission") is None:
        return
    folder = item.callspec.params["folder"]
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    if missing := [package for package in described.get("packages", []) if not installed(package)]:
        pytest.skip(f"{folder.name} needs {', '.join(missing)}")


def installed(distribution: str) -> bool:
    """Whether a distribution is installed; the kit itself needs neither torch nor OpenCV."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """A cache folder of the tests' own, for them and for the commands they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sample() -> Path:
    return ROOT / "sample_data"


@pytest.fixture
def dfdc(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in an empty folder: `dfdc("score", "a.csv")` -> CompletedProcess with text."""

    def call(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["dfdc", *map(str, arguments)])
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**ENVIRONMENT, **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ending:
                main()
        return subprocess.CompletedProcess(arguments, int(ending.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def terminal(tmp_path):
    """Lines that a command prints on a terminal of 80 columns, without escape codes."""

    def call(*arguments: object) -> list[str]:
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        command = [sys.executable, "-m", "dfdc_kit", *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=tmp_path, stdin=side, stdout=side, stderr=side, env={**environment, "TERM": "xterm-256color"}
        ):
            os.close(side)
            output = b""
            while True:
                try:
                    output += os.read(main, 1 << 16)
                except OSError:  # the other side is closed
                    break
        os.close(main)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).splitlines()

    return call


@pytest.fixture
def dfdc_process(tmp_path):
    """As `dfdc`, in a process of its own, which takes half a second more: where the process is what is tested."""

    def call(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dfdc_kit", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **ENVIRONMENT, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of these code cells, as Jupyter does; its path."""

    def write(*cells: str, path: Path = tmp_path / "mine.ipynb") -> Path:
        code = [
            {"cell_type": "code", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}
            for cell in cells
        ]
        path.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        return path

    return write


@pytest.fixture
def code_submission(tmp_path):
    """Write a code submission whose main.py is the given source; its folder."""

    def write(source: str, name: str = "trial") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "submission.toml").write_text(f'name = "{name}"\n')
        (folder / "main.py").write_text(source)
        return folder

    return write


@pytest.fixture
def kaggle_server(tmp_path, monkeypatch):
    """A fake Kaggle, to which the official client is sent: in this process, and in the commands that a test runs."""
    home = tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    with FakeKaggle() as server:
        for name, value in server.environment(home).items():
            monkeypatch.setenv(name, value)
        yield server
