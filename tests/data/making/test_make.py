"""`dfdc data make`: a challenge made here, from a handful of tiny clips."""

import csv
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("cv2", reason="made clips need the extra `faces`")

from dfdc_kit import challenge as challenges
from dfdc_kit.data.making import layout, manipulations
from dfdc_kit.data.making.make import MakeOptions, make_challenge
from dfdc_kit.errors import OutputError, UsageError


def make(out: Path, warn=pytest.fail, **options: object) -> object:
    settings = {"train": 2, "test": 4, "seed": 3} | options
    return make_challenge(out, MakeOptions(**settings), challenges.load(), lambda *_: None, warn, workers=1)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".dfdc" not in path.parts
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "challenge"
    make(out)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_made_challenge_has_the_official_layout(made: Path):
    metadata = json.loads((made / "train_sample_videos/metadata.json").read_text())
    assert sorted(entry["label"] for entry in metadata.values()) == ["FAKE", "REAL"]
    fake = next(entry for entry in metadata.values() if entry["label"] == "FAKE")
    assert metadata[fake["original"]] == {"label": "REAL", "split": "train", "original": None}
    sample = rows(made / "sample_submission.csv")
    assert [row["filename"] for row in sample] == sorted(path.name for path in (made / "test_videos").iterdir())
    solution = rows(made / "solution/solution.csv")
    assert sorted((row["label"], row["Usage"]) for row in solution) == [
        ("0", "Private"),
        ("0", "Public"),
        ("1", "Private"),
        ("1", "Public"),
    ]


def test_finished_clips_are_kept_and_missing_ones_made_again_with_the_same_bytes(made: Path):
    before = digests(made)
    lost = next((made / "test_videos").iterdir())
    kept = next(path for path in (made / "test_videos").iterdir() if path != lost)
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    (made / "test_videos/.x.mp4.part").write_bytes(b"left by a killed worker")
    assert make(made).made == 1
    assert digests(made) == before
    assert kept.stat().st_mtime_ns == stamp


def test_parts_share_no_people_and_private_alone_has_unseen_manipulations():
    options = MakeOptions(train=400, test=800)
    people = layout.split_people(options)
    names = [name for members in people.values() for name in members]
    assert len(names) == len(set(names)) == len(layout.people.names())
    used: dict[str, set[str]] = {"train": set(), "Public": set(), "Private": set()}
    for pair, _ in layout.plan_pairs(options, people):
        assert set(pair.people) <= set(people[pair.part])
        used[pair.part].add(pair.family)
    assert used["train"] == used["Public"] == set(manipulations.FAMILIES) - set(manipulations.UNSEEN)
    assert used["Private"] == set(manipulations.FAMILIES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": 0, "test": 0}, "Nothing to make"),
        ({"train": -2}, "Nothing to make"),
        ({"people": 5}, "two at least in each"),
        ({"size": "4k"}, "Unknown size"),
    ],
)
def test_options_that_make_no_challenge_are_refused(tmp_path: Path, options: dict[str, object], words: str):
    with pytest.raises(UsageError, match=words):
        make(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_folder_of_another_challenge_is_refused(made: Path):
    with pytest.raises(UsageError, match="another made challenge: --train 2 --test 4 --seed 3"):
        make(made, seed=4)
    with pytest.raises(UsageError, match="another made challenge"):
        make(made, test=2)


def test_folder_with_other_files_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        make(tmp_path)


def test_room_on_disk_is_asked_for_before_the_first_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=80 << 20))
    with pytest.raises(OutputError, match=r"needs .* more"):
        make(tmp_path / "out", train=200, test=0)
    assert not list((tmp_path / "out").rglob("*.mp4"))
