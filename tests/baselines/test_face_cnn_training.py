"""training/train.py of face-cnn: splits that share no original, the regression, faults named early."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit.data.split_files import HEADER

pytest.importorskip("pyarrow", reason="training of face-cnn needs pyarrow")

TRAIN = Path(__file__).resolve().parents[2] / "sample_data/train_sample_videos"
SMALL = ("--folds", "2", "--pairs", "1")


def write_split(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([(HEADER[0], HEADER[-1]), *rows])  # as `dfdc data split` names them


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


# ------------------------------------------------------------------------------------------------------- the regression


def rows_with_a_signal(cnn, rng: np.random.Generator, n: int = 60):
    """Statistics of which one tells the label, and originals in pairs."""
    y = np.tile([0, 1], n // 2)
    x = rng.standard_normal((n, cnn.network.STATISTICS)).astype(np.float32)
    x[:, 7] += 6 * y
    return cnn.train.Rows(x, y, np.array([f"{k // 2}.mp4" for k in range(n)]))


def test_regression_finds_the_statistic_that_tells_the_label(cnn):
    rows = rows_with_a_signal(cnn, np.random.default_rng(0))
    arrays = cnn.train.fit(rows, (0.0001, 0.01))
    assert arrays["weight"].shape == (cnn.network.STATISTICS, 2)
    assert np.abs(arrays["weight"]).argmax(axis=0).tolist() == [7, 7]
    assert np.abs(arrays["weight"][7, 0]) < np.abs(arrays["weight"][7, 1])  # the smaller strength is the simpler model


def test_rows_without_an_original_have_none_of_its_crops(cnn):
    rows = rows_with_a_signal(cnn, np.random.default_rng(0), n=8)
    left = rows.without({"0.mp4", "3.mp4"})
    assert left.originals.tolist() == ["1.mp4"] * 2 + ["2.mp4"] * 2
    assert (left.x == rows.x[2:6]).all()
    with pytest.raises(cnn.common.InputError, match="no REAL or no FAKE face is left"):
        cnn.train.fit(rows.without(set(rows.originals)), (0.001,))


@pytest.fixture(scope="module")
def trained(cnn, few_faces: Path, originals: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training: two originals trained on, two held out."""
    folder = tmp_path_factory.mktemp("trained")
    entries = cnn.train.usable_videos(few_faces)
    split = folder / "split.csv"
    write_split(split, [(e.video, "validation" if e.original in originals[:2] else "train") for e in entries])
    places = ("--work", folder / "work", "--out", folder / "out")
    assert cnn.train.main([str(word) for word in (few_faces, "--split", split, "--pairs", "8", *places)]) == 0
    return folder / "out"


def test_few_held_out_originals_give_the_safe_setting_and_a_caution(trained: Path):
    model = json.loads((trained / "model.json").read_text())
    assert model["clip"] == 0.496
    assert model["held_out"]["caution"] == (
        "Held out: 2 originals with a FAKE and 2 with a REAL video; 10 of each are needed."
    )


def test_trained_model_says_what_it_was_made_with_and_is_loaded(cnn, trained: Path):
    made = json.loads((trained / "model.json").read_text())["made_with"]
    assert (made["videos"], made["fake"], made["originals"]) == (4, 2, 2)
    assert made["command"].endswith("--pairs 8 --self-blended 0.0 --seed 0 --split split.csv")
    net = cnn.network.load(trained / "weights.npz")
    assert np.abs(net.regression["weight"]).max() > 0


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "0"), "expected at least 2"),
        (("--folds", "1"), "expected at least 2"),
        (("--pairs", "0"), "expected at least 1"),
        (("--pairs", "two"), "expected a whole number"),
        (("--seed", "-1"), "expected at least 0"),
        (("--self-blended", "1.5"), "expected at most 1"),
        (("--self-blended", "nan"), "expected at least 0"),
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
    assert "statistics" not in printed
