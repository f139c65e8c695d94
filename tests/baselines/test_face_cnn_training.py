"""training/train.py of face-cnn: splits that share no original, trainings that survive a kill, faults named early."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit.data.split_files import HEADER

pytest.importorskip("torch", reason="face-cnn needs torch")
pytest.importorskip("pyarrow", reason="training of face-cnn needs pyarrow")

TRAIN = Path(__file__).resolve().parents[2] / "sample_data/train_sample_videos"
SMALL = ("--folds", "2", "--steps", "3", "--pairs", "1", "--checkpoint-s", "0", "--workers", "0")


def write_split(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([(HEADER[0], HEADER[-1]), *rows])  # as `dfdc data split` names them


def read_split(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="") as file:
        return [(row["filename"], row["fold"]) for row in csv.DictReader(file)]


# --------------------------------------------------------------------------------------------------------------- splits


def test_auc_agrees_with_scikit_learn(cnn):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 2, 200), rng.integers(0, 30, 200).astype(float)
    assert cnn.measure.auc(y, logits) == pytest.approx(roc_auc_score(y, logits))


def test_folds_share_no_original(cnn, faces: Path):
    entries = cnn.train.usable_videos(faces)
    splits = cnn.train.folds(entries, 4, seed=0)
    assert Counter(e.video for _, held_out in splits for e in held_out) == Counter(e.video for e in entries)
    for train, held_out in splits:
        assert not {e.original for e in train} & {e.original for e in held_out}


def test_split_with_originals_in_both_parts_is_refused(cnn, faces: Path, tmp_path: Path):
    entries = cnn.train.usable_videos(faces)
    path = tmp_path / "split.csv"
    originals = sorted({entry.original for entry in entries})
    write_split(path, [(e.video, "validation" if e.original in originals[:2] else "train") for e in entries])
    train, held_out = cnn.train.read_split(path, entries)
    assert {e.original for e in held_out} == set(originals[:2])
    assert len(train) + len(held_out) == len(entries)
    write_split(path, [(e.video, "validation" if e.label else "train") for e in entries])
    with pytest.raises(cnn.common.InputError, match="originals in both"):
        cnn.train.read_split(path, entries)


def test_split_without_the_columns_is_refused(cnn, faces: Path, tmp_path: Path):
    entries, path = cnn.train.usable_videos(faces), tmp_path / "split.csv"
    with pytest.raises(cnn.common.InputError, match="dfdc data split"):
        cnn.train.read_split(path, entries)
    for content in (b"\xff\xfe\x00", b"video,fold\na.mp4,train\n", b"filename\na.mp4\n", b""):
        path.write_bytes(content)
        with pytest.raises(cnn.common.InputError, match="columns filename and fold"):
            cnn.train.read_split(path, entries)


# --------------------------------------------------------------------------------------------------- stop, kill, resume


def interrupt(process: subprocess.Popen[str], when: Callable[[], object], signum: signal.Signals) -> str:
    """Send a signal to the process group as soon as `when()` is true; what was printed."""
    while not when() and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, f"ended before it could be interrupted: {process.communicate()[0]}"
    os.killpg(process.pid, signum)
    return process.communicate(timeout=120)[0]


@pytest.mark.slow
def test_stopped_and_killed_training_ends_with_the_same_weights(
    cnn, few_faces: Path, tmp_path: Path, start_script, call_main
):
    """Ctrl-C in the first training, kill -9 in the second: the same command resumes, and the numbers are the same."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    call_main(cnn.train.main, few_faces, "--out", straight, "--work", tmp_path / "w1", *SMALL)
    arguments = (few_faces, "--out", broken, "--work", tmp_path / "w2", *SMALL)
    process = start_script("train.py", *arguments, "--workers", "1")
    printed = interrupt(process, (tmp_path / "w2/fold-0.pt").exists, signal.SIGINT)
    assert "the same command resumes from there" in printed
    assert "Traceback" not in printed
    interrupt(start_script("train.py", *arguments), (tmp_path / "w2/fold-1.pt").exists, signal.SIGKILL)
    assert not (broken / "weights.npz").exists()
    assert "resumed after step" in call_main(cnn.train.main, *arguments)
    with np.load(straight / "weights.npz") as once, np.load(broken / "weights.npz") as twice:
        assert set(once) == set(twice)
        assert all((once[name] == twice[name]).all() for name in once)
    models = [json.loads((folder / "model.json").read_text()) for folder in (straight, broken)]
    assert models[0]["held_out"] == models[1]["held_out"]
    assert (tmp_path / "w2/curves.png").read_bytes().startswith(b"\x89PNG")
    assert "other settings" in call_main(cnn.train.main, *arguments, "--seed", "1", code=2)


@dataclass(frozen=True)
class Trained:
    """A finished training: two originals trained on, two held out."""

    faces: Path
    split: Path
    folder: Path

    def arguments(self, *options: object) -> tuple[object, ...]:
        """The command that trained it, but for the number of pairs."""
        places = ("--out", self.folder / "out", "--work", self.folder / "work", "--workers", "0")
        return (self.faces, "--split", self.split, "--steps", "2", *places, *options)


@pytest.fixture(scope="module")
def trained(cnn, few_faces: Path, originals: list[str], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    entries = cnn.train.usable_videos(few_faces)
    split = folder / "split.csv"
    write_split(split, [(e.video, "validation" if e.original in originals[:2] else "train") for e in entries])
    trained = Trained(few_faces, split, folder)
    assert cnn.train.main([str(word) for word in trained.arguments("--pairs", "2")]) == 0
    return trained


def test_few_held_out_originals_give_the_safe_setting_and_a_caution(trained: Trained):
    model = json.loads((trained.folder / "out/model.json").read_text())
    assert model["clip"] == 0.496
    assert model["held_out"]["caution"] == (
        "Held out: 2 originals with a FAKE and 2 with a REAL video; 10 of each are needed."
    )


def test_training_with_other_held_out_videos_is_not_resumed(cnn, trained: Trained, originals, tmp_path, call_main):
    """The evaluations so far, and what is chosen by them, would be of two sets of videos."""
    split = tmp_path / "split.csv"
    write_split(split, [row for row in read_split(trained.split) if row[0] != originals[0]])
    printed = call_main(cnn.train.main, *replace(trained, split=split).arguments("--pairs", "2"), code=2)
    assert "fold-0.pt was made with other settings or videos (held_out_sha256 was " in printed


@pytest.mark.parametrize(("setting", "value"), [("fast", True), ("margin", 0.5)])
def test_training_with_other_crops_is_not_resumed(
    cnn, trained: Trained, tmp_path: Path, call_main, setting: str, value: object
):
    faces = shutil.copytree(trained.faces, tmp_path / "FACES")
    settings = json.loads((faces / "settings.json").read_text())
    (faces / "settings.json").write_text(json.dumps(settings | {setting: value}))
    printed = call_main(cnn.train.main, *replace(trained, faces=faces).arguments("--pairs", "2"), code=2)
    assert f"fold-0.pt was made with other settings or videos ({setting} was " in printed


def test_resumed_training_keeps_its_number_of_pairs(cnn, trained: Trained, call_main):
    """The default depends on free memory, which may have changed when the same command resumes."""
    assert cnn.train.CPU_PAIRS != 2
    assert "resumed after step 2 of 2" in call_main(cnn.train.main, *trained.arguments())
    assert json.loads((trained.folder / "out/model.json").read_text())["made_with"]["plan"]["recipe"]["pairs"] == 2
    assert "(pairs was 2, is 3)" in call_main(cnn.train.main, *trained.arguments("--pairs", "3"), code=2)


@pytest.mark.parametrize("kept_bytes", [0, 5000])
def test_damaged_checkpoint_is_named(cnn, trained: Trained, tmp_path: Path, call_main, kept_bytes: int):
    (tmp_path / "work").mkdir()
    content = (trained.folder / "work/fold-0.pt").read_bytes()
    (tmp_path / "work/fold-0.pt").write_bytes(content[:kept_bytes])
    printed = call_main(cnn.train.main, *replace(trained, folder=tmp_path).arguments(), code=2)
    assert "fold-0.pt is damaged" in printed


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "0"), "expected at least 2"),
        (("--folds", "1"), "expected at least 2"),
        (("--steps", "0"), "expected at least 1"),
        (("--pairs", "0"), "expected at least 1"),
        (("--pairs", "two"), "expected a whole number"),
        (("--seed", "-1"), "expected at least 0"),
        (("--workers", "-1"), "expected at least 0"),
        (("--self-blended", "1.5"), "expected at most 1"),
        (("--self-blended", "nan"), "expected at least 0"),
        (("--checkpoint-s", "-1"), "expected at least 0"),
    ],
)
def test_option_out_of_range_is_refused(cnn, faces: Path, tmp_path: Path, call_main, options, message: str):
    printed = call_main(cnn.train.main, faces, "--work", tmp_path / "w", "--out", tmp_path / "o", *options, code=2)
    assert f"argument {options[0]}: {message}" in printed
    assert f"got '{options[1]}'" in printed


def test_too_few_originals_are_named_before_training(cnn, clips: list[Path], originals, tmp_path: Path, call_main):
    metadata = json.loads((TRAIN / "metadata.json").read_text())
    few = [clip for clip in clips if (metadata[clip.name]["original"] or clip.name) == originals[0]]
    assert len(few) == 2
    printed = call_main(cnn.train.main, *few, "--work", tmp_path / "w", "--out", tmp_path / "o", *SMALL, code=2)
    assert "no REAL video is left to train on: originals with a REAL video and a face: 1" in printed


def test_incomplete_faces_are_refused_before_training(cnn, faces: Path, clips, tmp_path: Path, call_main):
    broken = shutil.copytree(faces, tmp_path / "FACES")
    index = (broken / "index.csv").read_text()
    command = (cnn.train.main, broken, "--work", tmp_path / "w", "--out", tmp_path / "o", *SMALL)
    for rows in ("aaa.mp4,1\n", "aaa.mp4,x,,16,,part-00000.parquet,0\n"):
        (broken / "index.csv").write_text(index + rows)
        assert f"index.csv, line {len(clips) + 2}" in call_main(*command, code=2)
    (broken / "index.csv").write_text(index)
    (broken / "settings.json").unlink()
    assert "settings.json" in call_main(*command, code=2)
    next((broken / "shards").iterdir()).unlink()
    assert "part-00000.parquet is missing" in call_main(*command, code=2)


@pytest.mark.parametrize("option", ["--work", "--out"])
def test_folder_that_cannot_be_written_is_named_before_training(cnn, faces: Path, tmp_path, call_main, option: str):
    (tmp_path / "file").touch()
    places = {"--work": tmp_path / "w", "--out": tmp_path / "o", option: tmp_path / "file"}
    options = [word for place in places.items() for word in place]
    printed = call_main(cnn.train.main, faces, *SMALL, *options, code=4)
    assert str(tmp_path / "file") in printed
    assert "fold-0" not in printed
