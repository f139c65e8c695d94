"""Every baseline, and the template of `dfdc new`, as complete submissions: static rules, sample, hard inputs."""

import ast
import csv
import functools
import importlib.util
import json
import math
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pandas as pd
import pytest

from dfdc_kit.harness import baseline_check
from dfdc_kit.submission import code

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
BASELINES = sorted(path.parent for path in (ROOT / "baselines").glob("*/submission.toml"))
TEMPLATE = ROOT / "starter/dfdc_kit/templates/submission"
FRAME_STATS = ROOT / "baselines/frame-stats"
FACE_STATS = ROOT / "baselines/face-stats"
MAX_FOLDER_BYTES = 3_000_000  # the face mesh alone has 2.4 MB
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}  # that are not named as what they are imported by
SHARED = (
    "calibrate.py",
    "combine.py",
    "faces.py",
    "frames.py",
    "training.py",
)  # copies, for no baseline imports another

each_baseline = pytest.mark.parametrize("folder", BASELINES, ids=lambda path: path.name)
each_learner = pytest.mark.parametrize("folder", [FRAME_STATS, FACE_STATS], ids=lambda path: path.name)
each_trainer = pytest.mark.parametrize(
    "folder",
    [path for path in BASELINES if (path / "train.py").exists() and path.name != "face-cnn"],
    ids=lambda p: p.name,
)  # face-cnn has tests of its own
each_submission = pytest.mark.parametrize("folder", [*BASELINES, TEMPLATE], ids=lambda path: path.name)


def python(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a Python run in a nearly empty environment."""
    minimal = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=minimal, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(folder: Path, data: Path, work: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Predictions and fallbacks that the submission leaves in `work`."""
    work.mkdir()
    python(folder / "main.py", cwd=work, DFDC_INPUT_DIR=str(data))
    return left_behind(work)


def left_behind(work: Path) -> tuple[dict[str, float], dict[str, str]]:
    assert not list(work.glob("*.part"))
    header, *rows = table(work / "submission.csv")
    assert header == ["filename", "label"]
    assert len({name for name, _ in rows}) == len(rows)
    fallbacks = table(work / "fallbacks.csv")[1:] if (work / "fallbacks.csv").exists() else []
    return {name: float(label) for name, label in rows}, dict(fallbacks)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def stage(data: Path, names: Iterable[str]) -> Path:
    """An input folder whose rows are `names`; labels are the integer 0, as in the challenge's own file."""
    (data / "test_videos").mkdir(parents=True, exist_ok=True)
    (data / "sample_submission.csv").write_text("filename,label\n" + "".join(f"{name},0\n" for name in names))
    return data


@pytest.fixture(scope="session")
def sample_input(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a submission sees it: test videos and rows, no labels, nothing else."""
    names = sorted(path.name for path in (SAMPLE / "test_videos").glob("*.mp4"))
    data = stage(tmp_path_factory.mktemp("sample"), names)
    for name in names:
        (data / "test_videos" / name).symlink_to(SAMPLE / "test_videos" / name)
    return data


@pytest.fixture(scope="session")
def metric() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dfdc_metric_of_baselines", ROOT / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -------------------------------------------------------------------------------------------------------- static rules


def test_the_baselines_are_found():
    assert {"constant", "class-prior", "frame-stats", "face-stats", "face-cnn"} <= {folder.name for folder in BASELINES}


@each_submission
def test_submission_toml(folder: Path):
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


def needs(source: Path) -> set[str]:
    """Distributions that a program imports, itself or through files beside it."""
    found: set[str] = set()
    for name in imports(source) - set(sys.stdlib_module_names):
        beside = source.with_name(f"{name}.py")
        found |= needs(beside) if beside.is_file() else {DISTRIBUTIONS.get(name, name)}
    return found


@each_submission
def test_imports_what_it_declares_and_nothing_of_ours(folder: Path):
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    assert needs(folder / "main.py") == set(described["packages"])
    for source in folder.glob("*.py"):
        assert not imports(source) & {
            "dfdc_kit",
            "evaluate",
            "pickle",
            "dill",
            "cloudpickle",
            "shelve",
            "marshal",
        }
        assert not re.search(r"joblib\S* import .*\b(load|dump)\b|joblib\.(load|dump)", source.read_text("utf-8"))


@each_submission
def test_no_blanket_except(folder: Path):
    for source in folder.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = (
                    {leaf.id for leaf in ast.walk(node.type) if isinstance(leaf, ast.Name)} if node.type else {"all"}
                )
                assert not caught & {"all", "Exception", "BaseException"}, f"{source}:{node.lineno}"


@each_submission
def test_folder_is_small_and_plain(folder: Path):
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < MAX_FOLDER_BYTES
    assert {path.suffix for path in files} <= {".py", ".toml", ".json", ".md", ".npz", ".onnx", ".tflite"}


@each_submission
def test_what_comes_from_others_is_listed_with_its_size(folder: Path):
    described = tomllib.loads((folder / "submission.toml").read_text(encoding="utf-8"))
    listed = {external["name"]: external["size_bytes"] for external in described.get("external_data", [])}
    brought = [path for kind in ("*.onnx", "*.tflite", "start.npz") for path in folder.glob(kind)]
    assert {path.name: path.stat().st_size for path in brought}.items() <= listed.items()


@pytest.mark.parametrize("name", SHARED)
def test_copies_of_a_shared_file_are_identical(name: str):
    copies = {path.read_bytes() for path in (ROOT / "baselines").glob(f"*/{name}")}
    assert len(copies) == 1


# ---------------------------------------------------------------------------------------------------------- the sample


@pytest.mark.runs_submission
@each_baseline
def test_predicts_what_it_is_expected_to(folder: Path, sample_input: Path, tmp_path: Path):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    assert expected["sample_sha256"] == sample_sha256(), "the sample is another one: make expected.json again"
    predictions, fallbacks = run(folder, sample_input, tmp_path / "work")
    assert list(predictions) == [name for name, _ in table(sample_input / "sample_submission.csv")[1:]]
    assert predictions == pytest.approx(expected["predictions"], abs=expected["tolerance"]), expected["made_with"]
    assert not fallbacks


def sample_sha256() -> str:
    digest = sha256()
    for path in sorted((SAMPLE / "test_videos").glob("*.mp4")):
        digest.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).hexdigest().encode() + b"\n")
    return digest.hexdigest()


@each_learner
def test_answers_each_video_for_itself(folder: Path):
    predictions = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["predictions"]
    assert len(set(predictions.values())) == len(
        predictions
    )  # a model that shrank to 0.5 would not show a shifted library


@pytest.mark.parametrize(("name", "displayed"), [("constant", "0.69314"), ("class-prior", "0.93073")])
def test_known_scores_on_a_balanced_test(name: str, displayed: str, metric: ModuleType, tmp_path: Path):
    data = stage(tmp_path / "data", ["a.mp4", "b.mp4"])
    run(ROOT / "baselines" / name, data, tmp_path / "work")
    truth = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "label": [1, 0]})
    score = metric.score(truth, pd.read_csv(tmp_path / "work/submission.csv"), "filename")
    assert f"{math.floor(score * 1e5) / 1e5:.5f}" == displayed  # the leaderboard truncates


# --------------------------------------------------------------------------------------------------------- hard inputs


def write_video(path: Path, frames: int, width: int = 192, height: int = 160, *, faststart: bool = False) -> bytes:
    """A moving gradient with noise; `faststart` puts the index first, so that a cut file still opens."""
    rng = np.random.default_rng(7)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "20", "threads": "1"})
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


def turned(video: bytes) -> bytes:
    """The same file with a display matrix that says: turn by 90 degrees."""
    at = video.index(b"tkhd") + 44  # type, version, times, ids, layer and volume come before the matrix
    return video[:at] + struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30) + video[at + 36 :]


REASONS = {  # of frame-stats; what is not named here gets a prediction
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
def hard_input(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos as broken or odd as those of a hidden test, one whole sample video among them."""
    data = stage(tmp_path_factory.mktemp("hard"), [])
    videos = data / "test_videos"
    whole = write_video(videos / "plain.mp4", 60, faststart=True)
    for percent in (30, 60, 95):
        (videos / f"cut-at-{percent}.mp4").write_bytes(whole[: len(whole) * percent // 100])
    (videos / "cut-at-byte-40.mp4").write_bytes(whole[:40])
    (videos / "cut-index-lost.mp4").write_bytes(write_video(videos / "index-last.mp4", 60)[:-2000])
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 3000] = np.random.default_rng(3).bytes(3000)
    (videos / "damaged-middle.mp4").write_bytes(damaged)
    (videos / "portrait-by-flag.mp4").write_bytes(turned(whole))
    (videos / "garbage.mp4").write_bytes(np.random.default_rng(5).bytes(50_000))
    (videos / "zero-byte.mp4").write_bytes(b"")
    (videos / "folder.mp4").mkdir()
    write_video(videos / "portrait.mp4", 60, 160, 284)
    write_video(videos / "one-frame.mp4", 1)
    write_video(videos / "nine-frames.mp4", 9)
    write_video(videos / "ten-times-as-long.mp4", 1000, 64, 64)
    write_video(videos / "stamp-sized.mp4", 30, 32, 32)
    write_audio_only(videos / "audio-only.mp4")
    known = min((SAMPLE / "test_videos").glob("*.mp4"))
    (videos / "renamed.mp4").write_bytes(known.read_bytes())
    names = sorted(path.name for path in videos.iterdir())
    return stage(data, [*names, "missing.mp4"])


@pytest.fixture(scope="session")
def on_hard_input(hard_input: Path, tmp_path_factory: pytest.TempPathFactory):
    """Predictions and fallbacks of a submission on the hard inputs; each is run once."""
    return functools.cache(lambda folder: run(folder, hard_input, tmp_path_factory.mktemp(folder.name) / "work"))


@pytest.mark.runs_submission
@each_submission
def test_hard_inputs_cost_a_row_each_never_the_run(folder: Path, hard_input: Path, on_hard_input):
    predictions, fallbacks = on_hard_input(folder)
    assert list(predictions) == [name for name, _ in table(hard_input / "sample_submission.csv")[1:]]
    assert all(0 <= label <= 1 for label in predictions.values())
    if "av" in needs(folder / "main.py"):
        assert set(fallbacks) <= set(predictions)
        assert {"audio-only.mp4", "garbage.mp4", "missing.mp4", "zero-byte.mp4"} <= set(fallbacks)


def test_frame_stats_names_the_reason_and_predicts_the_rest(on_hard_input):
    predictions, fallbacks = on_hard_input(FRAME_STATS)
    assert {name: reason for name, reason in fallbacks.items() if "-at-" not in name} == REASONS
    assert {predictions[name] for name in fallbacks} == {0.5}
    assert predictions["portrait-by-flag.mp4"] == predictions["plain.mp4"] != 0.5
    assert predictions["cut-at-95.mp4"] != 0.5
    known = min((SAMPLE / "test_videos").glob("*.mp4")).name
    expected = json.loads((FRAME_STATS / "expected.json").read_text(encoding="utf-8"))
    assert predictions["renamed.mp4"] == pytest.approx(expected["predictions"][known], abs=expected["tolerance"])


def test_face_stats_names_the_reason_and_predicts_where_a_face_is(on_hard_input):
    """All but one of these videos show a gradient and nobody."""
    predictions, fallbacks = on_hard_input(FACE_STATS)
    broken = {name: reason for name, reason in REASONS.items() if reason != "too-short"}
    assert broken.items() <= fallbacks.items()
    assert {fallbacks[name] for name in ("plain.mp4", "one-frame.mp4", "portrait-by-flag.mp4")} == {"no-face"}
    assert {predictions[name] for name in fallbacks} == {0.5}
    known = min((SAMPLE / "test_videos").glob("*.mp4")).name
    expected = json.loads((FACE_STATS / "expected.json").read_text(encoding="utf-8"))
    assert predictions["renamed.mp4"] == pytest.approx(expected["predictions"][known], abs=expected["tolerance"])


@pytest.mark.runs_submission
@pytest.mark.parametrize("folder", [FACE_STATS, ROOT / "baselines/face-cnn"], ids=lambda path: path.name)
def test_a_model_of_the_fast_mode_is_asked_about_the_same_frames(folder: Path, sample_input: Path, tmp_path: Path):
    """Only how videos are read differs; so, by a little, do the answers."""
    data = stage(tmp_path / "data", few := sorted(path.name for path in (sample_input / "test_videos").iterdir())[:2])
    for video in few:
        (data / "test_videos" / video).symlink_to(SAMPLE / "test_videos" / video)
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, ignore=shutil.ignore_patterns("__pycache__"))
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (changed / "model.json").write_text(json.dumps(model | {"fast": True}), encoding="utf-8")
    plain, _ = run(folder, data, tmp_path / "plain")
    fast, fallbacks = run(changed, data, tmp_path / "fast")
    assert not fallbacks
    assert fast.keys() == plain.keys() == set(few)
    assert fast != plain  # some are clipped either way
    assert all(abs(fast[video] - plain[video]) < 0.01 for video in few)


@each_learner
def test_refuses_a_model_made_for_other_features(folder: Path, tmp_path: Path):
    folder = shutil.copytree(folder, tmp_path / "copy")
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(model | {"features": model["features"][1:]}))
    done = subprocess.run(
        [sys.executable, "-B", folder / "main.py"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "DFDC_INPUT_DIR": str(SAMPLE)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "run train.py again" in done.stderr
    assert not (tmp_path / "submission.csv").exists()


# ------------------------------------------------------------------------------------------------------------ training


@each_learner
def test_training_makes_the_model_that_ships(folder: Path, tmp_path: Path):
    said = python(folder / "train.py", SAMPLE / "train_sample_videos", "--out", tmp_path / "made.json", cwd=tmp_path)
    assert "held-out log loss" in said
    assert "the constant 0.5: 0.6931" in said
    assert [path.name for path in tmp_path.iterdir()] == ["made.json"]
    made = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    ships = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert made["made_with"]["data"] == ships["made_with"]["data"], "the sample is another one: train again"
    for key in ("mean", "scale", "coefficients"):
        assert made[key] == pytest.approx(ships[key], rel=1e-3, abs=1e-4)


def test_training_repeats_itself(tmp_path: Path):
    for name in ("once.json", "again.json"):
        python(FRAME_STATS / "train.py", SAMPLE / "train_sample_videos", "--out", tmp_path / name, cwd=tmp_path)
    assert (tmp_path / "once.json").read_bytes() == (tmp_path / "again.json").read_bytes()


@each_trainer
@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "No such file"),
        ("{", "not of the challenge's form"),
        ("[1]", "not of the challenge's form"),
        ('{"a.mp4": {"label": "fake"}}', "KeyError('fake')"),
        ('{"a.mp4": {"label": "FAKE"}}', "FAKE and REAL"),
        ("{}", "FAKE and REAL"),
    ],
    ids=["missing", "no-json", "no-object", "other-label", "no-video", "empty"],
)
def test_training_on_a_faulty_folder_ends_with_a_sentence(
    folder: Path, metadata: str | None, said: str, tmp_path: Path
):
    if metadata is not None:
        (tmp_path / "metadata.json").write_text(metadata)
    command = [sys.executable, "-B", folder / "train.py", tmp_path, "--out", tmp_path / "model.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model.json").exists()


@each_trainer
def test_a_model_that_cannot_be_written_is_said_and_leaves_nothing(folder: Path, tmp_path: Path):
    (tmp_path / "there").mkdir()
    command = [sys.executable, "-B", folder / "train.py", SAMPLE / "train_sample_videos", "--out", tmp_path / "there"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'there'}: Is a directory. Choose a folder that can be written: --out FILE\n"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@each_learner
def test_a_seed_below_zero_is_wrong_usage(folder: Path, tmp_path: Path):
    command = [sys.executable, "-B", folder / "train.py", tmp_path, "--seed", "-1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "argument --seed: expected a whole number from 0, got '-1'" in done.stderr


def test_class_prior_is_counted_from_metadata(tmp_path: Path):
    metadata = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    python(ROOT / "baselines/class-prior/train.py", tmp_path, "--out", tmp_path / "prior.json", cwd=tmp_path)
    prior = json.loads((tmp_path / "prior.json").read_text(encoding="utf-8"))
    assert (prior["fake"], prior["real"]) == (1, 1)


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


def in_kaggles_folders(
    tmp_path: Path, data: Path, folder: Path, command: str, mounts: tuple[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `command` in /kaggle/working of a private root that has Kaggle's layout; no variable is set but PATH."""
    (tmp_path / "root").mkdir(exist_ok=True)
    (tmp_path / "working").mkdir(exist_ok=True)
    inside = f'chroot "$1" /usr/bin/env -i PATH="$PATH" sh -c {shlex.quote("cd /kaggle/working && " + command)}'
    places = [str(path) for path in (tmp_path / "root", data, folder, tmp_path / "working", *mounts)]
    namespace = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        ROOT_WITH_KAGGLE + inside,
        "sh",
        *places,
    ]
    return subprocess.run(namespace, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare command: mount namespaces cannot be tried")
@pytest.mark.parametrize("year", MOUNTS)
@pytest.mark.runs_submission
@each_submission
def test_the_same_file_runs_on_kaggles_own_paths(folder: Path, sample_input: Path, tmp_path: Path, year: str):
    mounts = MOUNTS[year]
    probe = in_kaggles_folders(tmp_path, sample_input, folder, "true", mounts)
    if probe.returncode != 0:
        pytest.skip(f"mount namespaces do not work here: {probe.stderr.strip()}")
    script = tmp_path / "working" / "script.py"
    shutil.copy(folder / "main.py", script)  # as a notebook's own script: its files are in the attached data set
    done = in_kaggles_folders(tmp_path, sample_input, folder, f"{shlex.quote(sys.executable)} -B script.py", mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    predictions, fallbacks = left_behind(tmp_path / "working")
    expected = folder / "expected.json"
    if expected.exists():
        known = json.loads(expected.read_text(encoding="utf-8"))
        assert predictions == pytest.approx(known["predictions"], abs=known["tolerance"])
    assert len(predictions) == len(table(sample_input / "sample_submission.csv")) - 1
    assert not fallbacks


# ----------------------------------------------------------------------------------------------------------- the check


def test_check_reports_not_checked_when_a_package_of_the_baseline_is_missing():
    def version(package: str) -> str:
        return baseline_check.NOT_INSTALLED if package == "torch" else baseline_check.installed_version(package)

    submissions = {name: code.baselines()[name] for name in ("constant", "face-cnn")}
    found = {one.name: one for one in baseline_check.check_baselines(submissions, version)}
    assert (found["constant"].checked, found["constant"].as_expected) == (True, True)
    assert (found["face-cnn"].checked, found["face-cnn"].as_expected) == (False, False)
    assert found["face-cnn"].why == "not checked: torch not installed"
