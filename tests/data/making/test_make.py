"""`dfdc data make`: a challenge made here, from a handful of tiny clips."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import av
import msgspec
import numpy as np
import psutil
import pytest

pytest.importorskip("cv2", reason="made clips need the extra `faces`")

from dfdc_kit import challenge as challenges
from dfdc_kit.data.making import clips, layout, manipulations
from dfdc_kit.data.making.make import MakeOptions, MakeReport, make_challenge, run_in_processes
from dfdc_kit.data.making.scene import face_box
from dfdc_kit.errors import DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.files import OURS, hold_lock

OPTIONS = MakeOptions(train=2, test=4, seed=3)


def make(out: Path, **changes: object) -> MakeReport:
    options = msgspec.structs.replace(OPTIONS, **changes)
    return make_challenge(out, options, challenges.load(), lambda *_: None, pytest.fail, workers=1)


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


def test_negative_number_of_workers_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="--workers -1: expected at least 1"):
        make_challenge(tmp_path / "out", OPTIONS, challenges.load(), lambda *_: None, pytest.fail, workers=-1)


def test_people_are_in_the_same_part_with_every_seed_and_number_of_people():
    parts = layout.split_people(MakeOptions(train=2, test=2))
    assert layout.split_people(MakeOptions(train=2, test=2, seed=7)) == parts
    for part, members in layout.split_people(MakeOptions(train=2, test=2, people=16)).items():
        assert set(members) <= set(parts[part])


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


def test_second_maker_in_the_same_folder_is_refused(tmp_path: Path):
    lock = hold_lock(tmp_path / OURS / "lock", "busy", "--out", pytest.fail)
    with lock, pytest.raises(UsageError, match=r"Another `dfdc data make` into .* is running"):
        make(tmp_path)


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        make(tmp_path / "file/out")


def test_missing_opencv_is_reported_with_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dfdc_kit.data.making.make.find_spec", lambda _: None)
    with pytest.raises(DataMissingError, match="OpenCV") as caught:
        make(tmp_path / "out")
    assert "dfdc-starter-kit[faces]" in caught.value.command


def test_workers_that_die_again_and_again_end_the_command():
    with pytest.raises(KitError, match="Workers died 3 times in a row"):
        list(run_in_processes([9], 1, os._exit))


def test_stop_while_progress_is_shown_cancels_the_pending_clips(tmp_path: Path):
    def stop(done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    options = MakeOptions(train=40, test=0)
    with pytest.raises(KeyboardInterrupt) as caught:
        make_challenge(tmp_path, options, challenges.load(), stop, pytest.fail, workers=1)
    assert caught.traceback  # keeps the frames alive, as an interpreter does that prints it
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert len(list(tmp_path.rglob("*.mp4"))) < 40


def test_full_disk_in_a_worker_is_an_output_error(tmp_path: Path):
    with pytest.raises(OutputError, match="Cannot write a clip: No such file"):
        list(run_in_processes([tmp_path / "missing"], 1, os.rmdir))


def test_real_clip_and_fake_differ_in_the_face_only(made: Path):
    metadata = json.loads((made / "train_sample_videos/metadata.json").read_text())
    fake, real = next((name, entry["original"]) for name, entry in metadata.items() if entry["original"])
    pair = next(
        pair for pair, _ in layout.plan_pairs(OPTIONS, layout.split_people(OPTIONS)) if pair.names == (real, fake)
    )
    footage, _ = clips.shoot(pair)
    middle = len(footage) // 2
    box = face_box(footage.warps[0][middle].points, pair.size, 0.3)
    assert box is not None
    shown = [frame_of(made / "train_sample_videos" / name, middle) for name in (real, fake)]
    changed = np.abs(shown[0].astype(int) - shown[1]).mean(2)
    inside = np.zeros(changed.shape, bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    assert changed[inside].mean() > 2 * changed[~inside].mean()


def frame_of(path: Path, number: int) -> np.ndarray:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)][number]


def test_containers_of_a_pair_tell_nothing(made: Path):
    originals = {row["filename"]: row["original"] for row in rows(made / "provenance/clips.csv") if row["original"]}
    paths = {path.name: path for path in made.rglob("*.mp4")}
    for fake, real in originals.items():
        assert container(paths[fake]) == container(paths[real])


def container(path: Path) -> list[object]:
    with av.open(str(path)) as file:
        streams = [
            (s.type, s.codec_context.name, s.profile, s.time_base, s.duration, s.frames, s.metadata)
            for s in file.streams
        ]
        return [file.metadata, file.duration, *streams]


def test_names_and_order_tell_nothing_about_labels():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    options = MakeOptions(train=1600, test=0)
    named = sorted(
        (name, fake)
        for pair, _ in layout.plan_pairs(options, layout.split_people(options))
        for fake, name in enumerate(pair.names)
    )
    features = np.array([[at, *map(ord, name[:10])] for at, (name, _) in enumerate(named)])
    labels = np.array([fake for _, fake in named])
    order = np.random.default_rng(0).permutation(len(labels))
    fit, held_out = order[:800], order[800:]
    forest = RandomForestClassifier(20, min_samples_leaf=5, random_state=0).fit(features[fit], labels[fit])
    assert 0.45 <= roc_auc_score(labels[held_out], forest.predict_proba(features[held_out])[:, 1]) <= 0.55


@pytest.mark.slow
def test_sizes_tell_nothing_about_labels(tmp_path: Path):
    from sklearn.metrics import roc_auc_score

    make(tmp_path / "out", train=160, test=0)
    metadata = json.loads((tmp_path / "out/train_sample_videos/metadata.json").read_text())
    size = {name: (tmp_path / "out/train_sample_videos" / name).stat().st_size for name in metadata}
    labels = [entry["label"] == "FAKE" for entry in metadata.values()]
    assert 0.45 <= roc_auc_score(labels, [size[name] for name in metadata]) <= 0.55
    larger = [size[name] > size[entry["original"]] for name, entry in metadata.items() if entry["original"]]
    assert 0.3 <= np.mean(larger) <= 0.7  # within a pair as well


@pytest.mark.slow
def test_killed_maker_leaves_no_workers_and_continues(tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dfdc_kit", "data", "make", "--out", str(out), "--train", "20", "--test", "0"]
    maker = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(out.rglob("*.mp4"))) < 2:
        assert maker.poll() is None
        time.sleep(0.1)
    workers = psutil.Process(maker.pid).children(recursive=True)
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert len(list(out.rglob("*.mp4"))) == 20
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_dask_workers_write_the_same_bytes(made: Path, tmp_path: Path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        make_challenge(
            tmp_path, OPTIONS, challenges.load(), lambda *_: None, pytest.fail, dask=cluster.scheduler_address
        )
    assert digests(tmp_path) == digests(made)
