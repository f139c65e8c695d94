"""Every baseline, and the template of `dfdc new`, as a complete submission: static rules, the sample, hard inputs."""

import ast
import functools
import importlib.util
import json
import math
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pandas as pd
import pytest

from baseline_modules import load
from dfdc_kit.harness import baselines
from dfdc_kit.submission import code

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
BASELINES = sorted(path.parent for path in (ROOT / "baselines").glob("*/submission.toml"))
TEMPLATE = ROOT / "starter/dfdc_kit/templates/submission"
FRAME_STATS = ROOT / "baselines/frame-stats"
FACE_STATS = ROOT / "baselines/face-stats"
FACE_CNN = ROOT / "baselines/face-cnn"
SYNC = ROOT / "baselines/_shared/sync.py"
MAX_FOLDER_BYTES = 3_000_000  # the face mesh alone has 2.4 MB
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}  # import names that differ from the distribution


def each(folders: list[Path], slow: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """A test for each folder; those named in `slow` run their faces through a detector for many seconds."""
    return pytest.mark.parametrize(
        "folder",
        [pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name in slow)) for path in folders],
    )


FACES = ("face-stats", "face-cnn")
each_baseline = each(BASELINES)
each_statistical = each([FRAME_STATS, FACE_STATS])
each_submission = each([*BASELINES, TEMPLATE])


def sources(folder: Path) -> list[Path]:
    """The Python files of a submission."""
    return [path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts]


def expected_predictions(folder: Path) -> tuple[dict[str, float], float]:
    """What expected.json says, and its tolerance."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return expected["predictions"], expected["tolerance"]


@pytest.fixture(scope="session")
def sample_input(stage_sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a submission sees it: test videos and rows, no labels, nothing else."""
    return stage_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def two_videos(stage_sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two videos of the sample."""
    return stage_sample(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="session")
def metric() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dfdc_metric_of_baselines", ROOT / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -------------------------------------------------------------------------------------------------------- static rules


def test_baselines_are_found_and_the_shared_files_are_not_one():
    names = {folder.name for folder in BASELINES}
    assert {"constant", "class-prior", "frame-stats", "face-stats", "face-cnn"} <= names
    assert "_shared" not in names
    assert set(code.baselines()) == names


@each_submission
def test_submission_toml_has_the_required_fields(folder: Path):
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    assert set(described) - {"external_data"} == {"name", "description", "entry_point", "packages", "gpu"}
    assert folder == TEMPLATE or described["name"] == folder.name
    assert "\n" not in described["description"]
    assert described["entry_point"] == "main.py"
    assert described["gpu"] is False
    for external in described.get("external_data", []):
        assert set(external) == {"name", "size_bytes", "licence", "url"}


def imports(source: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    modules = plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {module.split(".")[0] for module in modules}


OPTIONAL = {"torch"}  # face-cnn uses it for a GPU, if it is installed


def needed_distributions(source: Path) -> set[str]:
    """Distributions that a program imports, itself or through files next to it or in model/."""
    found: set[str] = set()
    for name in imports(source) - set(sys.stdlib_module_names):
        own = [source.with_name(f"{name}.py"), source.parent / "model" / f"{name}.py"]
        local = next((path for path in own if path.is_file()), None)
        found |= needed_distributions(local) if local else {DISTRIBUTIONS.get(name, name)}
    return found


@each_submission
def test_imports_are_declared_and_none_is_of_the_kit(folder: Path):
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    assert needed_distributions(folder / "main.py") - OPTIONAL == set(described["packages"])
    forbidden = {"dfdc_kit", "evaluate", "pickle", "dill", "cloudpickle", "shelve", "marshal"}
    for source in sources(folder):
        assert not imports(source) & forbidden
        assert not re.search(r"joblib\S* import .*\b(load|dump)\b|joblib\.(load|dump)", source.read_text("utf-8"))


@each_submission
def test_no_except_clause_catches_everything(folder: Path):
    for source in sources(folder):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                names = (
                    {leaf.id for leaf in ast.walk(node.type) if isinstance(leaf, ast.Name)} if node.type else {"all"}
                )
                assert not names & {"all", "Exception", "BaseException"}, f"{source}:{node.lineno}"


@each_submission
def test_folder_is_small_and_has_plain_file_types_only(folder: Path):
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < MAX_FOLDER_BYTES
    assert {path.suffix for path in files} <= {".py", ".toml", ".json", ".md", ".npz", ".onnx", ".tflite"}


@each_submission
def test_external_files_are_listed_with_their_size(folder: Path):
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    listed = {external["name"]: external["size_bytes"] for external in described.get("external_data", [])}
    external = [path for kind in ("*.onnx", "*.tflite") for path in folder.rglob(kind)]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in external}
    assert sizes.items() <= listed.items()


@each_baseline
def test_baseline_has_a_readme_that_says_what_it_is(folder: Path):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {folder.name}\n")
    assert len(text) > 300


def test_copies_of_the_shared_files_are_in_step():
    done = subprocess.run([sys.executable, "-B", SYNC, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run `make baselines-sync`:\n{done.stdout}"


def test_sync_rewrites_a_changed_copy_and_check_only_names_it(tmp_path: Path, capsys):
    (sync,) = load(SYNC.parent, "sync")
    for folders in sync.COPIES.values():
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    assert sync.main([], tmp_path) == 0
    assert sync.main(["--check"], tmp_path) == 0
    copy = tmp_path / "face-stats/frames.py"
    copy.write_text("changed")
    capsys.readouterr()
    assert sync.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "face-stats/frames.py differs from baselines/_shared/frames.py\n"
    assert copy.read_text() == "changed"
    assert sync.main([], tmp_path) == 0
    assert copy.read_bytes() == (SYNC.parent / "frames.py").read_bytes()


def test_both_copies_of_the_face_detector_are_the_same():
    copies = {path.read_bytes() for path in (ROOT / "baselines").rglob("face_detection_yunet_2023mar.onnx")}
    assert len(copies) == 1


# ---------------------------------------------------------------------------------------------------------- the sample


@pytest.mark.runs_submission
@each(BASELINES, slow=FACES)  # of these, the layout tests check two videos
def test_predictions_on_the_sample_are_the_expected_ones(folder: Path, sample_input: Path, run_main, tmp_path: Path):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    assert expected["sample_sha256"] == sample_sha256(), "the sample has changed: make expected.json again"
    predictions, fallbacks = run_main(folder, sample_input, tmp_path / "work")
    assert list(predictions) == sorted(path.name for path in (SAMPLE / "test_videos").glob("*.mp4"))
    assert predictions == pytest.approx(expected["predictions"], abs=expected["tolerance"]), expected["made_with"]
    assert not fallbacks


def sample_sha256() -> str:
    digest = sha256()
    for path in sorted((SAMPLE / "test_videos").glob("*.mp4")):
        digest.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).hexdigest().encode() + b"\n")
    return digest.hexdigest()


@each_statistical
def test_predictions_differ_from_video_to_video(folder: Path):
    """A model that shrank to 0.5 would not show a library update that shifts predictions."""
    predictions, _ = expected_predictions(folder)
    assert len(set(predictions.values())) == len(predictions)


@pytest.mark.parametrize(("name", "displayed"), [("constant", "0.69314"), ("class-prior", "0.93073")])
def test_score_on_a_balanced_test_is_the_known_one(name, displayed, metric, stage_input, run_main, tmp_path: Path):
    run_main(ROOT / "baselines" / name, stage_input(tmp_path / "data", ["a.mp4", "b.mp4"]), tmp_path / "work")
    solution = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "label": [1, 0]})
    score = metric.score(solution, pd.read_csv(tmp_path / "work/submission.csv"), "filename")
    assert f"{math.floor(score * 1e5) / 1e5:.5f}" == displayed  # the leaderboard truncates


# --------------------------------------------------------------------------------------------------------- hard inputs


def write_video(path: Path, frames: int, width: int = 192, height: int = 160, *, faststart: bool = False) -> bytes:
    """A moving gradient with noise; `faststart` puts the index first, so that a truncated file still opens."""
    rng = np.random.default_rng(7)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "20", "threads": "1", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        ramp = np.add.outer(np.arange(height), np.arange(width))[..., None]
        for index in range(frames):
            picture = ((ramp + 3 * index) % 200 + rng.integers(0, 30, (height, width, 3))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def write_audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def rotated_by_flag(video: bytes) -> bytes:
    """The same file with a display matrix that says: rotate by 90 degrees."""
    at = video.index(b"tkhd") + 44  # type, version, times, ids, layer and volume come before the matrix
    return video[:at] + struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30) + video[at + 36 :]


REASONS = {  # of frame-stats; all other hard inputs get a prediction
    "audio-only.mp4": "no-video-stream",
    "cut-index-lost.mp4": "unreadable",
    "folder.mp4": "unreadable",
    "garbage.mp4": "unreadable",
    "missing.mp4": "missing",
    "one-frame.mp4": "too-short",
    "stamp-sized.mp4": "too-small",
    "zero-byte.mp4": "unreadable",
}


@pytest.fixture(scope="session")
def hard_input(stage_input, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Broken and unusual videos, as a hidden test set may have them, and one intact sample video."""
    data = stage_input(tmp_path_factory.mktemp("hard"), [])
    videos = data / "test_videos"
    intact = write_video(videos / "plain.mp4", 24, faststart=True)
    for percent in (30, 60, 95):
        (videos / f"cut-at-{percent}.mp4").write_bytes(intact[: len(intact) * percent // 100])
    (videos / "cut-at-byte-40.mp4").write_bytes(intact[:40])
    (videos / "cut-index-lost.mp4").write_bytes(write_video(videos / "index-last.mp4", 24)[:-2000])
    damaged = bytearray(intact)
    damaged[len(intact) // 2 : len(intact) // 2 + 3000] = np.random.default_rng(3).bytes(3000)
    (videos / "damaged-middle.mp4").write_bytes(damaged)
    (videos / "portrait-by-flag.mp4").write_bytes(rotated_by_flag(intact))
    (videos / "garbage.mp4").write_bytes(np.random.default_rng(5).bytes(50_000))
    (videos / "zero-byte.mp4").write_bytes(b"")
    (videos / "folder.mp4").mkdir()
    write_video(videos / "portrait.mp4", 16, 160, 284)
    write_video(videos / "one-frame.mp4", 1)
    write_video(videos / "nine-frames.mp4", 9)
    write_video(videos / "ten-times-as-long.mp4", 1000, 64, 64)
    write_video(videos / "stamp-sized.mp4", 10, 32, 32)
    write_audio_only(videos / "audio-only.mp4")
    known = min((SAMPLE / "test_videos").glob("*.mp4"))
    (videos / "renamed.mp4").write_bytes(known.read_bytes())
    names = sorted(path.name for path in videos.iterdir())
    return stage_input(data, [*names, "missing.mp4"])


@pytest.fixture(scope="session")
def on_hard_input(hard_input: Path, run_main, tmp_path_factory: pytest.TempPathFactory):
    """Predictions and fallbacks of a submission on the hard inputs; each is run once."""
    return functools.cache(lambda folder: run_main(folder, hard_input, tmp_path_factory.mktemp(folder.name) / "work"))


@pytest.fixture
def few_hard_inputs(hard_input: Path, stage_input, tmp_path: Path) -> Path:
    """Each kind of fallback once, and the sample video."""
    names = ("garbage.mp4", "missing.mp4", "one-frame.mp4", "renamed.mp4", "stamp-sized.mp4", "zero-byte.mp4")
    data = stage_input(tmp_path / "few", names)
    (data / "test_videos").rmdir()
    (data / "test_videos").symlink_to(hard_input / "test_videos")
    return data


@pytest.mark.runs_submission
@each([*BASELINES, TEMPLATE], slow=FACES)
def test_hard_inputs_cost_a_row_each_and_never_the_run(folder: Path, hard_input: Path, on_hard_input):
    predictions, fallbacks = on_hard_input(folder)
    rows = (hard_input / "sample_submission.csv").read_text().splitlines()[1:]
    assert list(predictions) == [row.split(",")[0] for row in rows]
    assert all(0 <= label <= 1 for label in predictions.values())
    if "av" in needed_distributions(folder / "main.py"):
        assert set(fallbacks) <= set(predictions)
        assert {"audio-only.mp4", "garbage.mp4", "missing.mp4", "zero-byte.mp4"} <= set(fallbacks)


def test_frame_stats_gives_reasons_and_predicts_the_other_hard_inputs(on_hard_input):
    predictions, fallbacks = on_hard_input(FRAME_STATS)
    assert {name: reason for name, reason in fallbacks.items() if "-at-" not in name} == REASONS
    assert {predictions[name] for name in fallbacks} == {0.5}
    assert predictions["portrait-by-flag.mp4"] == predictions["plain.mp4"] != 0.5
    assert predictions["cut-at-95.mp4"] != 0.5
    expected, tolerance = expected_predictions(FRAME_STATS)
    assert predictions["renamed.mp4"] == pytest.approx(expected[min(expected)], abs=tolerance)


@pytest.mark.runs_submission
@pytest.mark.parametrize("folder", [FACE_STATS], ids=lambda path: path.name)
def test_face_stats_gives_reasons_and_predicts_the_video_with_a_face(
    folder: Path, few_hard_inputs: Path, run_main, tmp_path: Path
):
    """All but one of these videos show no person."""
    predictions, fallbacks = run_main(folder, few_hard_inputs, tmp_path / "work")
    assert fallbacks.keys() == predictions.keys() - {"renamed.mp4"}
    faceless = fallbacks.pop("one-frame.mp4")
    assert re.fullmatch(r"no-face \(best score 0\.\d\d below 0\.70\)", faceless)
    assert fallbacks.items() <= REASONS.items()
    assert {predictions[name] for name in predictions.keys() - {"renamed.mp4"}} == {0.5}
    expected, tolerance = expected_predictions(folder)
    assert predictions["renamed.mp4"] == pytest.approx(expected[min(expected)], abs=tolerance)


@pytest.mark.runs_submission
@each([FACE_STATS, FACE_CNN], slow=("face-cnn",))
def test_model_of_the_fast_mode_reads_test_videos_in_the_fast_mode(folder: Path, two_videos: Path, run_main, tmp_path):
    """Only the sampled frames differ; so, by a little, do the predictions."""
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, ignore=shutil.ignore_patterns("__pycache__"))
    path = next(changed.rglob("model.json"))
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"fast": True}), encoding="utf-8")
    exact, _ = expected_predictions(folder)
    fast, fallbacks = run_main(changed, two_videos, tmp_path / "fast")
    assert not fallbacks
    assert len(fast) == 2
    assert any(abs(fast[video] - exact[video]) > 1e-6 for video in fast)
    assert all(abs(fast[video] - exact[video]) < 0.25 for video in fast)


# --------------------------------------------------------------------------------------------------- Kaggle's own paths

ROOT_WITH_KAGGLE = """
set -e
mount -t tmpfs none "$1"
for entry in /*; do
  target="$1/${entry#/}"
  if [ -L "$entry" ]; then cp -P "$entry" "$target"
  elif [ "$entry" = /kaggle ]; then :
  elif [ -d "$entry" ]; then mkdir "$target" && mount --rbind "$entry" "$target"
  else touch "$target" && mount --bind "$entry" "$target"
  fi
done
mkdir -p "$1/kaggle/input/$5" "$1/kaggle/input/$6" "$1/kaggle/working"
mount --rbind "$2" "$1/kaggle/input/$5"
mount --rbind "$3" "$1/kaggle/input/$6"
mount --rbind "$4" "$1/kaggle/working"
"""


MOUNTS = {  # of the competition and of a data set, below /kaggle/input
    "2020": ("deepfake-detection-challenge", "my-detector"),
    "today": ("competitions/deepfake-detection-challenge", "datasets/ada/my-detector"),
}


def run_in_kaggle_layout(
    tmp_path: Path, data: Path, folder: Path, command: str, mounts: tuple[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `command` in /kaggle/working of a private root with Kaggle's layout; only PATH is set."""
    (tmp_path / "root").mkdir(exist_ok=True)
    (tmp_path / "working").mkdir(exist_ok=True)
    limits = "OMP_NUM_THREADS=1"
    inside = (
        f'chroot "$1" /usr/bin/env -i PATH="$PATH" {limits} sh -c {shlex.quote("cd /kaggle/working && " + command)}'
    )
    places = [str(path) for path in (tmp_path / "root", data, folder, tmp_path / "working", *mounts)]
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ROOT_WITH_KAGGLE + inside, "sh"]
    return subprocess.run([*namespace, *places], capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare command for mount namespaces")
@pytest.mark.parametrize(
    ("folder", "year"),
    [
        pytest.param(folder, year, id=f"{folder.name}-{year}", marks=[pytest.mark.slow] * slow)
        for year in MOUNTS
        for folder in (*BASELINES, TEMPLATE)
        for slow in [folder.name not in ("frame-stats", "submission") and year == "2020"]
    ],
)
@pytest.mark.runs_submission
def test_script_finds_its_files_and_data_in_kaggle_layout(
    folder: Path, two_videos: Path, read_outputs, tmp_path: Path, year: str
):
    mounts = MOUNTS[year]
    probe = run_in_kaggle_layout(tmp_path, two_videos, folder, "true", mounts)
    if probe.returncode != 0:
        pytest.skip(f"mount namespaces do not work here: {probe.stderr.strip()}")
    script = tmp_path / "working" / "script.py"
    shutil.copy(folder / "main.py", script)  # as a notebook's own script: its files are in the attached data set
    done = run_in_kaggle_layout(tmp_path, two_videos, folder, f"{shlex.quote(sys.executable)} -B script.py", mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    predictions, fallbacks = read_outputs(tmp_path / "working")
    assert len(predictions) == 2
    assert not fallbacks
    if folder != TEMPLATE:
        expected, tolerance = expected_predictions(folder)
        assert predictions == pytest.approx({name: expected[name] for name in predictions}, abs=tolerance)


# ---------------------------------------------------------------------------------------------- dfdc baselines --check


def test_check_reports_not_checked_when_a_package_of_the_baseline_is_missing():
    def version(package: str) -> str:
        return baselines.NOT_INSTALLED if package == "opencv-python-headless" else baselines.installed_version(package)

    submissions = {name: code.baselines()[name] for name in ("constant", "face-cnn")}
    found = {one.name: one for one in baselines.check_baselines(submissions, version)}
    assert (found["constant"].checked, found["constant"].as_expected) == (True, True)
    assert (found["face-cnn"].checked, found["face-cnn"].as_expected) == (False, False)
    assert found["face-cnn"].why == "not checked: opencv-python-headless not installed"
