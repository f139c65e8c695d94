"""What the tests of the baselines share: their modules, the sample as input, programs to run, extracted faces."""

import csv
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import threadpoolctl

from baseline_modules import importable

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
TRAIN = SAMPLE / "train_sample_videos"
CNN = ROOT / "baselines/face-cnn"
CNN_PATHS = (CNN / "training", CNN / "model")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread in this process: tests run in parallel."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def cnn() -> Iterator[SimpleNamespace]:
    """The modules of face-cnn by name; importable by the worker processes that a test starts."""
    pytest.importorskip("pyarrow.parquet", reason="training of face-cnn needs pyarrow")
    pytest.importorskip("cv2", reason="face-cnn needs opencv-python-headless")
    loky = pytest.importorskip("joblib.externals.loky", reason="training of face-cnn needs joblib")
    left_out = {"make_blocks"} if importlib.util.find_spec("torch") else {"make_blocks", "gpu"}
    names = {path.stem for folder in CNN_PATHS for path in folder.glob("*.py")} - left_out
    with importable(*CNN_PATHS):
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    loky.get_reusable_executor(max_workers=1).shutdown(wait=True)  # else its workers live on for minutes


@pytest.fixture(scope="session")
def originals() -> list[str]:
    """Four REAL videos of the training sample."""
    return sorted(name for name, entry in metadata().items() if entry["label"] == "REAL")[:4]


@pytest.fixture(scope="session")
def clips(originals: list[str]) -> list[Path]:
    """Eight videos: four originals and their fakes."""
    return sorted(TRAIN / name for name, entry in metadata().items() if (entry["original"] or name) in originals)


def metadata() -> dict[str, dict]:
    return json.loads((TRAIN / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def faces(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faces of the eight clips, extracted once."""
    pytest.importorskip("pyarrow.parquet", reason="training of face-cnn needs pyarrow")
    folder = tmp_path_factory.mktemp("faces") / "FACES"
    command = [sys.executable, "-B", CNN / "training/extract.py", *clips, "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def few_faces(cnn, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same videos with two crops each: the network is slow on CPU."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("few") / "FACES"
    cnn.shards.prepare(folder)
    shutil.copy(faces / "settings.json", folder)
    for entry in cnn.shards.read_index(faces):
        rows = pq.ParquetFile(entry.path).read_row_group(entry.row_group)
        cnn.shards.write_table(cnn.shards.video_file(folder, entry.video), rows.slice(0, 2))
    cnn.shards.write_shards(folder, at_least=1)
    return folder


@pytest.fixture
def start_script(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a training script of face-cnn in a process group of its own, as a terminal does."""

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-B", CNN / "training" / script, *map(str, arguments)], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=child_environment(),
        )  # fmt: skip

    return start


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def call_main(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a `main(argv)` in this process; returns what it printed, and checks its exit code."""

    def call(main: Callable[[list[str]], int | None], *arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        try:
            returned = main([str(argument) for argument in arguments]) or 0
        except SystemExit as ended:
            returned = ended.code if isinstance(ended.code, int) else 1
            print(ended.code if isinstance(ended.code, str) else "")
        printed = "".join(capsys.readouterr())
        assert returned == code, printed
        return printed

    return call


def stage(data: Path, names: Iterable[str]) -> Path:
    """An input folder with rows for `names`; labels are the integer 0, as in the challenge's own file."""
    (data / "test_videos").mkdir(parents=True, exist_ok=True)
    (data / "sample_submission.csv").write_text("filename,label\n" + "".join(f"{name},0\n" for name in names))
    return data


@pytest.fixture(scope="session")
def stage_input() -> Callable[[Path, Iterable[str]], Path]:
    """Make an input folder: `stage_input(folder, names)`."""
    return stage


@pytest.fixture(scope="session")
def stage_sample() -> Callable[..., Path]:
    """Make an input folder with test videos of the sample, all or the first few: no labels, nothing else."""

    def make(data: Path, count: int | None = None) -> Path:
        names = sorted(path.name for path in (SAMPLE / "test_videos").glob("*.mp4"))[:count]
        stage(data, names)
        for name in names:
            (data / "test_videos" / name).symlink_to(SAMPLE / "test_videos" / name)
        return data

    return make


@pytest.fixture(scope="session")
def run_main() -> Callable[[Path, Path, Path], tuple[dict[str, float], dict[str, str]]]:
    """Run a submission's main.py: `run_main(folder, data, work)` -> predictions, and reasons of fallbacks."""

    def run(folder: Path, data: Path, work: Path) -> tuple[dict[str, float], dict[str, str]]:
        work.mkdir()
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, folder / "main.py"], cwd=work, env={**environment, "DFDC_INPUT_DIR": str(data)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return outputs(work)

    return run


def outputs(work: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Predictions and fallbacks that a submission wrote into `work`."""
    assert not list(work.glob("*.part"))
    header, *rows = table(work / "submission.csv")
    assert header == ["filename", "label"]
    assert len({name for name, _ in rows}) == len(rows)
    fallbacks = table(work / "fallbacks.csv")[1:] if (work / "fallbacks.csv").exists() else []
    return {name: float(label) for name, label in rows}, dict(fallbacks)


@pytest.fixture(scope="session")
def read_outputs() -> Callable[[Path], tuple[dict[str, float], dict[str, str]]]:
    """Read the predictions and fallbacks in a working folder."""
    return outputs


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))
