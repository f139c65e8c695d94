"""train.py of the statistical baselines: the bundled models can be made again; faults end with a message."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from baseline_modules import importable, load

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "sample_data/train_sample_videos"
FRAME_STATS = ROOT / "baselines/frame-stats"
FACE_STATS = ROOT / "baselines/face-stats"
CLASS_PRIOR = ROOT / "baselines/class-prior"
TRAINERS = [CLASS_PRIOR, ROOT / "baselines/container-metadata", FRAME_STATS, FACE_STATS]  # face-cnn: its own tests

each_statistical = pytest.mark.parametrize("folder", [FRAME_STATS, FACE_STATS], ids=lambda path: path.name)
each_trainer = pytest.mark.parametrize("folder", TRAINERS, ids=lambda path: path.name)


@pytest.fixture
def train(folder: Path) -> Iterator[ModuleType]:
    """train.py of the baseline in the parameter `folder`."""
    if folder == FACE_STATS:
        pytest.importorskip("cv2", reason="face-stats needs opencv-python-headless")
    with importable(folder):
        yield load(folder, "train")[0]


@each_statistical
def test_training_on_few_clips_stays_safe_and_says_where_more_come_from(folder: Path, train, call_main, tmp_path: Path):
    printed = call_main(train.main, TRAIN, "--out", tmp_path / "made.json")
    assert "held-out log loss" in printed
    assert "constant 0.5: 0.6931" in printed
    few = "Held out: 8 originals with a FAKE and 8 with a REAL video; 10 of each are needed."
    assert f"{few} Predictions stay between 0.496 and 0.504." in printed
    assert "dfdc data make --out made --train 600 --test 200" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["made.json"]
    made = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    bundled = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert made.keys() == bundled.keys()
    assert made["made_with"]["data"]["videos"] == 16


@each_statistical
def test_bundled_model_was_trained_on_made_clips_and_beats_the_constant_on_held_out_ones(folder: Path):
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert model["made_with"]["data"]["videos"] >= 300
    assert "dfdc data make" in model["made_with"]["data"]["made_by"]
    assert model["held_out"]["interval_95"][1] < model["held_out"]["constant"]


@pytest.mark.parametrize("folder", [FRAME_STATS], ids=lambda path: path.name)
def test_calibrate_chooses_strength_and_shrinkage_on_other_videos(folder: Path, train: ModuleType):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(y[:, None], 1.0, (60, len(train.FEATURES)))
    originals = np.array([f"{row // 2}.mp4" for row in range(60)])
    same = train.tune_on(x, y, x, y, originals)
    noise = train.tune_on(x, y, rng.permutation(x), y, originals)
    assert same.clip < train.SAFE_CLIP
    assert noise.clip == train.SAFE_CLIP


@pytest.mark.parametrize("folder", [FACE_STATS], ids=lambda path: path.name)
def test_trees_in_the_model_file_predict_like_those_of_scikit_learn(folder: Path, train: ModuleType):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = [row[None] for row in rng.normal(y[:, None], 2.0, (60, len(train.FEATURES)))]
    fitted = train.fit(x, y)
    model = train.boosting().fit(np.concatenate(x), y, sample_weight=train.weights(y) * len(y))
    regression = 2 * train.logits(x, fitted | {"trees": []})  # the prediction is the mean of both
    trees = 2 * train.logits(x, fitted) - regression
    assert trees == pytest.approx(model.decision_function(np.concatenate(x)), abs=1e-4)
    assert np.ptp(trees) > 0.1


@pytest.mark.parametrize("folder", [FACE_STATS], ids=lambda path: path.name)
def test_second_model_beside_the_first_is_averaged(folder: Path, train: ModuleType):
    (main,) = load(folder, "main")
    (bundled,) = main.load_models()
    values = np.random.default_rng(0).normal(bundled["mean"], bundled["scale"], (4, len(main.FEATURES)))
    other = bundled | {"intercept": bundled["intercept"] + 1.0}
    alone = [main.predict(values, [model]) for model in (bundled, other)]
    assert alone[0] < alone[1]
    assert main.predict(values, [bundled, other]) == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("folder", [FRAME_STATS], ids=lambda path: path.name)
def test_validation_folder_of_a_split_is_read_with_its_originals(folder: Path, tmp_path: Path):
    (tmp_path / "solution").mkdir()
    table = "filename,label,original\nb.mp4,0,\na.mp4,1,b.mp4\n"
    (tmp_path / "solution/solution.csv").write_text(table)
    (training,) = load(folder, "training")
    clips = training.read_clips(tmp_path)
    assert [(clip.path.name, clip.fake, clip.original) for clip in clips] == [
        ("a.mp4", True, "b.mp4"),
        ("b.mp4", False, "b.mp4"),
    ]
    assert clips[0].path.parent == tmp_path / "test_videos"


@pytest.mark.parametrize("folder", [FRAME_STATS], ids=lambda path: path.name)
def test_training_twice_gives_the_same_file(folder: Path, train: ModuleType, call_main, tmp_path: Path):
    metadata = json.loads((TRAIN / "metadata.json").read_text(encoding="utf-8"))
    originals = sorted(name for name, entry in metadata.items() if entry["label"] == "REAL")[:3]
    few = {name: entry for name, entry in metadata.items() if (entry["original"] or name) in originals}
    (tmp_path / "few").mkdir()
    (tmp_path / "few/metadata.json").write_text(json.dumps(few))
    for name in few:
        (tmp_path / "few" / name).symlink_to(TRAIN / name)
    for name in ("once.json", "again.json"):
        call_main(train.main, tmp_path / "few", "--out", tmp_path / name)
    assert (tmp_path / "once.json").read_bytes() == (tmp_path / "again.json").read_bytes()


@each_trainer
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "No such file"),
        ("{", "not in the challenge's format"),
        ("[1]", "not in the challenge's format"),
        ('{"a.mp4": {"label": "fake"}}', "KeyError('fake')"),
        ('{"a.mp4": {"label": "FAKE"}}', "expected FAKE and REAL videos"),
        ("{}", "expected FAKE and REAL videos"),
    ],
    ids=["missing", "no-json", "no-object", "other-label", "no-video", "empty"],
)
def test_faulty_training_folder_ends_with_a_message(
    folder: Path, train: ModuleType, metadata: str | None, message: str, call_main, tmp_path: Path
):
    if metadata is not None:
        (tmp_path / "metadata.json").write_text(metadata)
    printed = call_main(train.main, tmp_path, "--out", tmp_path / "model.json", code=1)
    assert message in printed
    assert str(tmp_path) in printed
    assert not (tmp_path / "model.json").exists()


@each_trainer
def test_model_that_cannot_be_written_ends_with_a_message(folder: Path, train, call_main, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    printed = call_main(train.main, TRAIN, "--out", tmp_path / "folder", code=1)
    assert printed.endswith(f"{tmp_path / 'folder'}: Is a directory. Choose a writable file: --out FILE\n")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@each_statistical
def test_negative_seed_is_wrong_usage(folder: Path, train: ModuleType, call_main, tmp_path: Path):
    printed = call_main(train.main, tmp_path, "--seed", "-1", code=2)
    assert "argument --seed: expected a whole number from 0, got '-1'" in printed


@pytest.mark.parametrize("folder", [CLASS_PRIOR], ids=lambda path: path.name)
def test_class_prior_is_counted_from_metadata(folder: Path, train: ModuleType, call_main, tmp_path: Path):
    metadata = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    call_main(train.main, tmp_path, "--out", tmp_path / "prior.json")
    prior = json.loads((tmp_path / "prior.json").read_text(encoding="utf-8"))
    assert (prior["fake"], prior["real"]) == (1, 1)


@each_statistical
def test_model_made_for_other_features_is_refused(folder: Path, tmp_path: Path):
    if folder == FACE_STATS:
        pytest.importorskip("cv2", reason="face-stats needs opencv-python-headless")
    copy = shutil.copytree(folder, tmp_path / "copy")
    model = json.loads((copy / "model.json").read_text(encoding="utf-8"))
    (copy / "model.json").write_text(json.dumps(model | {"features": model["features"][1:]}))
    done = subprocess.run(
        [sys.executable, "-B", copy / "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "DFDC_INPUT_DIR": str(ROOT / "sample_data")},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Run train.py again" in done.stderr
    assert not (tmp_path / "submission.csv").exists()
