"""The baseline face-cnn: faces cut once, pairs that differ by the forgery alone, trainings that survive a kill."""

import csv
import errno
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="face-cnn needs torch: pip install 'dfdc-starter-kit[torch]'")
pq = pytest.importorskip("pyarrow.parquet", reason="face-cnn's extract.py needs pyarrow")
pytest.importorskip("cv2", reason="face-cnn needs opencv-python-headless")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-cnn"
TRAIN = ROOT / "sample_data/train_sample_videos"
METADATA = json.loads((TRAIN / "metadata.json").read_text())
ORIGINALS = sorted(name for name, said in METADATA.items() if said["label"] == "REAL")[:4]
CLIPS = sorted(TRAIN / name for name, said in METADATA.items() if (said["original"] or name) in ORIGINALS)  # 8
MODULES = (
    "batches", "blend", "crops", "extract", "fit", "lock", "measure", "model", "predict", "shards", "tasks", "train",
)  # fmt: skip


@pytest.fixture(scope="module")
def cnn() -> Iterator[SimpleNamespace]:
    """The baseline's own modules; other baselines have some of the same names, so they are forgotten afterwards."""
    names = {path.stem for path in FOLDER.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def start(script: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.Popen:
    """A script of the baseline, in a process group of its own, as a terminal would have it."""
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def finish(script: str, *arguments: object, cwd: Path, code: int = 0) -> str:
    """What the script prints, once it ended with `code`."""
    process = start(script, *arguments, cwd=cwd)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


def interrupt(process: subprocess.Popen, when, signum: signal.Signals) -> str:
    """Send a signal to the whole group as soon as `when()` is true; what was printed."""
    deadline = time.monotonic() + 120
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, f"ended before it could be interrupted: {process.communicate()[0]}"
    os.killpg(process.pid, signum)
    return process.communicate(timeout=60)[0]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of four originals and their fakes."""
    folder = tmp_path_factory.mktemp("faces")
    finish("extract.py", *CLIPS, "--out", folder / "FACES", cwd=folder)
    return folder / "FACES"


def events(faces: Path) -> Counter:
    """How many times each (event, video) stands in the logs of all workers."""
    lines = [line for log in (faces / "log").glob("*.csv") for line in log.read_text().splitlines()]
    return Counter((line.split(",")[1], line.split(",", 3)[3]) for line in lines)


# ----------------------------------------------------------------------------------------------------- extracting faces


def test_every_video_is_in_the_index_with_its_label(cnn, faces: Path):
    metadata = {clip.name: METADATA[clip.name] for clip in CLIPS}
    entries = cnn.shards.read_index(faces)
    assert {e.video: {1: "FAKE", 0: "REAL"}[e.label] for e in entries} == {n: m["label"] for n, m in metadata.items()}
    assert {e.video: e.original for e in entries} == {n: m["original"] or n for n, m in metadata.items()}
    assert all(e.crops >= cnn.crops.FRAMES and not e.reason for e in entries)
    crops = cnn.shards.read_crops(entries[0])
    assert cnn.tasks.from_jpeg(crops[0].jpeg).shape == (cnn.crops.SIDE, cnn.crops.SIDE, 3)
    assert all(((crop.points > 0) & (crop.points < cnn.crops.SIDE)).all() for crop in crops)


def test_stored_crops_are_what_main_sees(cnn, faces: Path):
    entry = cnn.shards.read_index(faces)[0]
    direct = cnn.crops.crops_of(TRAIN / entry.video)[0][0]
    stored = cnn.tasks.from_jpeg(cnn.shards.read_crops(entry)[0].jpeg)
    assert np.abs(direct.rgb.astype(int) - stored).mean() < 2.0  # JPEG's own loss, in grey levels


def test_in_the_fast_mode_other_frames_are_cut_and_the_folder_says_so(cnn, faces: Path, tmp_path: Path, capsys):
    out, video = tmp_path / "FACES", str(CLIPS[0])
    assert cnn.extract.main([video, "--out", str(out), "--fast"]) == 0
    assert cnn.shards.how_cut(out)["fast"]
    assert not cnn.shards.how_cut(faces)["fast"]
    (entry,) = cnn.shards.read_index(out)
    kept = [crop.frame for crop in cnn.shards.read_crops(entry)]
    direct = [crop.frame for crop in cnn.crops.crops_of(CLIPS[0], fast=True)[0]]
    assert kept == direct
    assert max(kept) < max(crop.frame for crop in cnn.crops.crops_of(CLIPS[0])[0]) / 2
    assert cnn.extract.main([video, "--out", str(out)]) == 2  # not half so and half so
    assert "Choose another --out" in capsys.readouterr().err


def test_faces_cut_before_there_was_a_fast_mode_are_gone_on_with(cnn, faces: Path, tmp_path: Path, capsys):
    out = shutil.copytree(faces, tmp_path / "FACES")
    settings = json.loads((out / "settings.json").read_text())
    del settings["fast"]
    (out / "settings.json").write_text(json.dumps(settings))
    assert cnn.extract.main([str(CLIPS[0]), "--out", str(out)]) == 0
    assert cnn.extract.main([str(CLIPS[0]), "--out", str(out), "--fast"]) == 2
    assert "Choose another --out" in capsys.readouterr().err


def test_two_at_once_into_one_folder_are_refused(cnn, tmp_path: Path):
    """The second would tidy away what the first is writing, and both would move the same videos into shards."""
    out = tmp_path / "FACES"
    with cnn.lock.alone_in(out):
        said = finish("extract.py", CLIPS[0], "--out", out, cwd=tmp_path, code=2)
        assert f"{out} is in use by process {os.getpid()}" in said
        assert sorted(path.name for path in out.iterdir()) == [".lock"]
    finish("extract.py", CLIPS[0], "--out", out, cwd=tmp_path)
    with cnn.lock.alone_in(tmp_path / "W"):
        said = finish("train.py", out, "--work", tmp_path / "W", "--out", tmp_path / "o", cwd=tmp_path, code=2)
    assert "is in use" in said


def test_where_nothing_can_be_locked_it_goes_on_and_says_so(cnn, tmp_path: Path, monkeypatch, capsys):
    """Some network file systems."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cnn.lock.fcntl, "lockf", refused)
    with cnn.lock.alone_in(tmp_path):
        assert "No locks available" in capsys.readouterr().out


def test_a_torn_line_of_a_log_is_passed_over(cnn, tmp_path: Path):
    cnn.shards.tidy(tmp_path)
    torn = [
        "1.000,begin,0.5",
        "1.000,begin,",
        "1.000,be",
        "",
        "1.000,beg1.000,begin,0.500,b.mp4",
        "1.000,end,0.5,c.mp4",
    ]
    for number, line in enumerate(torn):
        (tmp_path / f"log/host-{number}.csv").write_text(f"1.000,begin,0.500,a.mp4\n{line}")
    (tmp_path / "log/host-9.csv").write_bytes("1.000,begin,0.500,é".encode()[:-1] + bytes(30))
    assert cnn.shards.begun(tmp_path) & {"a.mp4", "b.mp4", "c.mp4"} == {"a.mp4", "b.mp4"}


def test_a_damaged_file_of_one_video_is_made_again_and_a_damaged_shard_is_named(
    cnn, faces: Path, tmp_path: Path, capsys
):
    """As a power cut may leave them."""
    out = shutil.copytree(faces, tmp_path / "FACES")
    (out / "loose" / f"{CLIPS[0].name}.parquet").touch()
    (out / "loose" / "new.mp4.parquet").write_bytes(b"PAR1")
    assert "new.mp4" not in cnn.shards.tidy(out)
    assert not list((out / "loose").iterdir())
    shard = next((out / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:1000])
    assert cnn.extract.main([*map(str, CLIPS), "--out", str(out)]) == 2
    assert f"{shard} is damaged" in (said := capsys.readouterr().err)
    assert "are cut again" in said
    shard.unlink()
    assert cnn.extract.main([*map(str, CLIPS[:2]), "--out", str(out)]) == 0
    assert len(cnn.shards.read_index(out)) == 2


def test_killed_and_started_again_finishes_and_repeats_no_video(cnn, faces: Path, tmp_path: Path):
    out = tmp_path / "FACES"
    process = start("extract.py", *CLIPS, "--out", out, cwd=tmp_path)
    interrupt(process, lambda: sum(n for (event, _), n in events(out).items() if event == "end") >= 2, signal.SIGKILL)
    before = events(out)
    finished = {video for event, video in before if event == "end"}
    assert 2 <= len(finished) < len(CLIPS)
    said = finish("extract.py", *CLIPS, "--out", out, cwd=tmp_path)
    done = int(re.search(r"(\d+) done before", said)[1])
    assert len(finished) <= done <= len(finished) + 2  # killed after the file was there and before the log said so
    after = events(out)
    assert all(after["begin", video] == 1 for video in finished)
    assert all(n == 1 for (event, _), n in after.items() if event == "end")
    assert sum(n for (event, _), n in after.items() if event == "begin") <= len(CLIPS) + 2  # two were in hand
    assert not list((out / "loose").iterdir())
    once = {e.video: (e.label, e.original, e.crops) for e in cnn.shards.read_index(faces)}
    assert {e.video: (e.label, e.original, e.crops) for e in cnn.shards.read_index(out)} == once


def test_a_worker_that_dies_costs_no_finished_video(tmp_path: Path):
    out = tmp_path / "FACES"
    process = start("extract.py", *CLIPS, "--out", out, cwd=tmp_path)
    while not events(out) and process.poll() is None:
        time.sleep(0.02)
    worker = int(next((out / "log").glob("*.csv")).stem.rsplit("-", 1)[1])
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "a worker died" in said
    counted = events(out)
    assert len([video for event, video in counted if event == "end"]) == len(CLIPS)
    assert all(n == 1 for (event, _), n in counted.items() if event == "end")


@pytest.fixture
def killing(cnn, tmp_path: Path, monkeypatch) -> Iterator[list[str]]:
    """Names of three clips, of which the second one kills whoever cuts it."""
    names = [clip.name for clip in CLIPS[:3]]
    (tmp_path / "tasks_that_kill.py").write_text(
        "import os, tasks\n"
        "def attempt(task):\n"
        f"    if task.path.name == {names[1]!r}: tasks.note(task, 'begin'); os._exit(1)\n"
        "    return tasks.attempt(task)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(FOLDER)]))
    monkeypatch.setattr(cnn.extract, "attempt", importlib.import_module("tasks_that_kill").attempt)
    yield names
    del sys.modules["tasks_that_kill"]


def test_a_video_that_kills_its_worker_is_named_and_the_rest_goes_on(cnn, tmp_path: Path, killing):
    names, out = killing, tmp_path / "FACES"
    assert cnn.extract.main([*(str(TRAIN / name) for name in names), "--out", str(out), "--jobs", "2"]) == 0
    reasons = {e.video: e.reason for e in cnn.shards.read_index(out)}
    assert reasons == {names[0]: "", names[1]: "worker-died", names[2]: ""}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A Dask scheduler with two workers, as its own commands start them; its address, and the scheduler's process."""
    pytest.importorskip("dask.distributed", reason="dask is not installed")
    told = tmp_path / "scheduler.json"

    def dask(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", told, "--dashboard-address", ":0"]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)

    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", "0")
    workers = dask("worker", "--nworkers", "2", "--nthreads", "1", "--death-timeout", "60")
    try:
        while not told.exists():
            assert scheduler.poll() is None
            time.sleep(0.05)
        yield json.loads(told.read_text())["address"], scheduler
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait()


def test_on_a_dask_cluster(cnn, faces: Path, tmp_path: Path, cluster):
    names = [clip.name for clip in CLIPS[:3]]
    out = tmp_path / "F"
    assert cnn.extract.main([*(str(TRAIN / name) for name in names), "--out", str(out), "--dask", cluster[0]]) == 0
    crops = {e.video: e.crops for e in cnn.shards.read_index(out)}
    assert crops == {e.video: e.crops for e in cnn.shards.read_index(faces) if e.video in names}
    assert str(os.getpid()) not in {log.stem.rsplit("-", 1)[1] for log in (out / "log").glob("*.csv")}


def test_a_video_that_kills_workers_of_a_dask_cluster_is_named_too(cnn, tmp_path: Path, killing, cluster):
    names, out = killing, tmp_path / "F"
    assert cnn.extract.main([*(str(TRAIN / name) for name in names), "--out", str(out), "--dask", cluster[0]]) == 0
    reasons = {e.video: e.reason for e in cnn.shards.read_index(out)}
    assert reasons == {names[0]: "", names[1]: "worker-died", names[2]: ""}


def test_a_scheduler_that_goes_away_is_said(tmp_path: Path, cluster):
    address, scheduler = cluster
    process = start("extract.py", *CLIPS, "--out", tmp_path / "F", "--dask", address, cwd=tmp_path)
    while not events(tmp_path / "F") and process.poll() is None:
        time.sleep(0.02)
    scheduler.kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "any more; the same command goes on" in said
    assert "Traceback" not in said


def test_faults_are_said_plainly(tmp_path: Path):
    assert "There is no" in finish("extract.py", tmp_path / "nowhere", "--out", tmp_path / "F", cwd=tmp_path, code=2)
    (tmp_path / "a").mkdir()
    assert "No .mp4 file" in finish("extract.py", tmp_path / "a", "--out", tmp_path / "F", cwd=tmp_path, code=2)
    (tmp_path / "a/x.mp4").write_bytes(b"no video")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    said = finish("extract.py", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "F", cwd=tmp_path, code=2)
    assert "Two videos have one name" in said
    (tmp_path / "a/metadata.json").write_text("{")
    assert "metadata.json" in finish("extract.py", tmp_path / "a", "--out", tmp_path / "F", cwd=tmp_path, code=2)
    said = finish("extract.py", tmp_path / "b", "--out", tmp_path / "F", cwd=tmp_path)
    assert "1 without a face" in said
    said = finish("train.py", tmp_path / "F", cwd=tmp_path, code=2)
    assert "1 videos left out: unreadable" in said
    assert "some of each are needed" in said
    said = finish("extract.py", tmp_path / "b", "--out", tmp_path / "F", "--jobs", "0", cwd=tmp_path, code=2)
    assert "at least 1" in said
    (tmp_path / "F/index.csv").unlink()
    assert "has not come to its end" in finish("train.py", tmp_path / "F", cwd=tmp_path, code=2)
    (tmp_path / "F/settings.json").write_text("{")
    said = finish("extract.py", tmp_path / "b", "--out", tmp_path / "F", cwd=tmp_path, code=2)
    assert "settings.json" in said
    assert "Choose another --out" in said


# -------------------------------------------------------------------------------------------------------- self-blending


def face_picture() -> tuple[np.ndarray, np.ndarray]:
    """A crop with texture and five plausible points."""
    rng = np.random.default_rng(0)
    picture = np.clip(128 + 40 * rng.standard_normal((224, 224, 3)), 0, 255).astype(np.uint8)
    return picture, np.array([[85, 90], [139, 90], [112, 120], [92, 150], [132, 150]], np.float32)


def test_a_mask_covers_the_nose_and_leaves_the_border(cnn):
    _, points = face_picture()
    masks = [cnn.blend.face_mask(points, (224, 224), np.random.default_rng(seed)) for seed in range(50)]
    soft = [cnn.blend.softened(mask, np.random.default_rng(9)) for mask in masks]
    assert all(0 <= mask.min() <= mask.max() <= 1 for mask in soft)
    assert np.mean([mask[115, 112] for mask in soft]) > 0.9
    assert max(mask[:4].max() for mask in soft) < 0.05
    assert 0.05 < np.mean([mask.mean() for mask in soft]) < 0.5


def test_a_self_blend_is_a_changed_face_and_repeats_itself(cnn):
    picture, points = face_picture()
    one, same, other = (cnn.blend.self_blend(picture, points, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert one.shape == picture.shape
    assert one.dtype == np.uint8
    assert (one == same).all()
    assert (one != other).any()


def test_real_and_self_blend_differ_inside_the_face_only(cnn):
    """A tint of the whole crop would be the label, and the blend would never be looked for."""
    picture, points = face_picture()
    pairs = [cnn.blend.self_blend(picture, points, np.random.default_rng(seed)) for seed in range(40)]
    assert all((real[:6] == fake[:6]).mean() > 0.99 for real, fake in pairs)
    assert all((real != fake).mean() > 0.02 for real, fake in pairs)
    assert any((real != picture).mean() > 0.9 for real, _ in pairs)  # the outer copy is the changed one half the time


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_depends_on_seed_and_step_alone(cnn, faces: Path):
    entries = cnn.train.usable(faces)
    recipe = cnn.batches.Recipe(seed=3, pairs=2, self_blended=0.5, side=64)
    first, again = cnn.batches.Batches(entries, recipe), cnn.batches.Batches(entries, recipe)
    again[6]
    crops, labels = first[5]
    assert crops.shape == (4, 3, 64, 64)
    assert labels.tolist() == [0, 1, 0, 1]
    assert torch.equal(crops, again[5][0])
    assert not torch.equal(crops, first[6][0])


def test_real_and_fake_go_through_the_same_change(cnn, faces: Path, monkeypatch):
    """If the fake is the real crop itself, nothing may tell them apart: a change of one alone would be the label."""
    monkeypatch.setattr(cnn.batches, "self_blend", lambda face, points, rng: (face, face))
    recipe = cnn.batches.Recipe(seed=0, pairs=30, self_blended=1.0, side=64)
    crops, _ = cnn.batches.Batches(cnn.train.usable(faces), recipe)[0]
    assert torch.equal(crops[0::2], crops[1::2])


def test_the_fake_of_a_pair_is_of_the_same_original_and_frame(cnn, faces: Path):
    entries = cnn.train.usable(faces)
    batches = cnn.batches.Batches(entries, cnn.batches.Recipe(seed=0, pairs=1, self_blended=0.0, side=64))
    for entry in batches.reals:
        fakes = [crop for fake in batches.fakes_of[entry.video] for crop in cnn.shards.read_crops(fake)]
        crop = cnn.shards.read_crops(entry)[7]
        other = batches.counterpart(entry, crop, np.random.default_rng(0))
        assert (other.frame, other.track) == (crop.frame, crop.track)
        assert other.jpeg in [fake.jpeg for fake in fakes]


# ----------------------------------------------------------------------------------------------------- network, scoring


def test_numbers_survive_the_file_and_other_numbers_are_refused(cnn, tmp_path: Path):
    net = cnn.model.FaceNet().eval()
    cnn.model.save(net, tmp_path / "w.npz")
    crops = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(net(crops), cnn.model.load(tmp_path / "w.npz")(crops), atol=1e-2)
    np.savez(tmp_path / "other.npz", **{"classify.weight": np.zeros((1, 3), np.float16)})
    with pytest.raises(ValueError, match="made for another network"):
        cnn.model.load(tmp_path / "other.npz")


def test_a_prediction_does_not_depend_on_the_company(cnn):
    rng = np.random.default_rng(0)
    videos = [(n, [[rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(7)]] * (1 + n % 2)) for n in range(9)]
    scorer = cnn.predict.Scorer(cnn.model.FaceNet(), torch.device("cpu"), cores=2)
    together = dict(scorer.videos(videos))
    assert list(together) == list(range(9))
    assert [len(faces) for faces in together.values()] == [1 + n % 2 for n in range(9)]
    backwards = dict(scorer.videos(reversed(videos)))
    alone = {n: faces for video in videos for n, faces in scorer.videos([video])}
    for other in (backwards, alone):
        for n, faces in together.items():
            assert np.allclose(faces, other[n], atol=1e-5)


def test_the_face_most_like_a_fake_decides(cnn):
    assert cnn.predict.video_logit([np.full(5, -2.0), np.full(3, 1.5)]) == pytest.approx(1.5)


def test_auc_agrees_with_scikit_learn(cnn):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 2, 200), rng.integers(0, 30, 200).astype(float)
    assert cnn.measure.auc(y, logits) == pytest.approx(roc_auc_score(y, logits))


# ------------------------------------------------------------------------------------------------------------- training


def test_no_original_is_trained_on_and_held_out(cnn, faces: Path):
    entries = cnn.train.usable(faces)
    rounds = cnn.train.folds(entries, 4, seed=0)
    held = Counter(entry.video for _, held in rounds for entry in held)
    assert held == Counter(entry.video for entry in entries)
    for train, out in rounds:
        assert not {e.original for e in train} & {e.original for e in out}


def test_a_split_that_leaks_is_refused(cnn, faces: Path, tmp_path: Path):
    entries = cnn.train.usable(faces)
    path = tmp_path / "split.csv"
    originals = sorted({entry.original for entry in entries})
    write_split(path, [(e.video, "validation" if e.original in originals[:2] else "train") for e in entries])
    train, held = cnn.train.split_by(path, entries)
    assert {e.original for e in held} == set(originals[:2])
    assert len(train) + len(held) == len(entries)
    write_split(path, [(e.video, "validation" if e.label else "train") for e in entries])
    with pytest.raises(cnn.train.StopError, match="originals on both sides"):
        cnn.train.split_by(path, entries)
    with pytest.raises(cnn.train.StopError, match="dfdc data split"):
        cnn.train.split_by(tmp_path / "none.csv", entries)
    for content in (b"\xff\xfe\x00", b"video,side\na.mp4,train\n", b"filename\na.mp4\n", b""):
        path.write_bytes(content)
        with pytest.raises(cnn.train.StopError, match="columns filename and side"):
            cnn.train.split_by(path, entries)


def write_split(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "side"), *rows])


def read_split(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="") as file:
        return [(row["filename"], row["side"]) for row in csv.DictReader(file)]


SMALL = ("--folds", "2", "--steps", "4", "--pairs", "2", "--checkpoint-s", "0")


def test_stopped_and_killed_it_ends_with_the_weights_of_one_that_was_not(faces: Path, tmp_path: Path):
    """Ctrl-C in the first training, kill -9 in the second: the same command goes on, and the numbers are the same."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish("train.py", faces, "--out", whole, "--work", tmp_path / "w1", *SMALL, cwd=tmp_path)
    command = ("train.py", faces, "--out", broken, "--work", tmp_path / "w2", *SMALL)
    said = interrupt(start(*command, cwd=tmp_path), (tmp_path / "w2/fold-0.pt").exists, signal.SIGINT)
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    interrupt(start(*command, cwd=tmp_path), (tmp_path / "w2/fold-1.pt").exists, signal.SIGKILL)
    assert not (broken / "weights.npz").exists()
    said = finish(*command, cwd=tmp_path)
    assert "goes on after step" in said
    with np.load(whole / "weights.npz") as once, np.load(broken / "weights.npz") as twice:
        assert set(once) == set(twice)
        assert all((once[name] == twice[name]).all() for name in once)
    chosen = [json.loads((folder / "model.json").read_text()) for folder in (whole, broken)]
    assert chosen[0]["held_out"] == chosen[1]["held_out"]
    assert (tmp_path / "w2/curves.png").read_bytes().startswith(b"\x89PNG")
    said = finish(*command, "--seed", "1", cwd=tmp_path, code=2)
    assert "other settings" in said


@dataclass(frozen=True)
class Trained:
    """A training that came to its end: two originals trained on, two held out."""

    faces: Path
    split: Path
    folder: Path

    def again(self, *options: object, code: int = 2) -> str:
        """What the same command says, or the same with other options; the number of pairs is one of them."""
        places = ("--out", self.folder / "out", "--work", self.folder / "work")
        asked = (self.faces, "--split", self.split, "--steps", "4", *places, *options)
        return finish("train.py", *asked, cwd=self.folder, code=code)


@pytest.fixture(scope="module")
def trained(cnn, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    entries = cnn.train.usable(faces)
    split = folder / "split.csv"
    write_split(split, [(e.video, "validation" if e.original in ORIGINALS[:2] else "train") for e in entries])
    trained = Trained(faces, split, folder)
    trained.again("--pairs", "2", code=0)
    return trained


def test_a_training_with_others_held_out_is_not_gone_on_with(trained: Trained, tmp_path: Path):
    """What was measured on the way, and what is chosen by it, would be of two sets of videos."""
    split = tmp_path / "split.csv"
    write_split(split, [row for row in read_split(trained.split) if row[0] != ORIGINALS[0]])
    said = replace(trained, split=split).again("--pairs", "2")
    assert "fold-0.pt was made with other settings or videos (held_sha256 was " in said


@pytest.mark.parametrize(("setting", "value"), [("fast", True), ("margin", 0.5)])
def test_a_training_on_faces_cut_otherwise_is_not_gone_on_with(
    trained: Trained, tmp_path: Path, setting: str, value: object
):
    faces = shutil.copytree(trained.faces, tmp_path / "FACES")
    settings = json.loads((faces / "settings.json").read_text())
    (faces / "settings.json").write_text(json.dumps(settings | {setting: value}))
    said = replace(trained, faces=faces).again("--pairs", "2")
    assert f"fold-0.pt was made with other settings or videos ({setting} was " in said


def test_the_number_of_pairs_is_kept_unless_another_is_asked_for(cnn, trained: Trained):
    """The default is by free memory, which may be another when the same command goes on."""
    assert cnn.train.CPU_PAIRS != 2
    assert "goes on after step 4 of 4" in trained.again(code=0)
    assert json.loads((trained.folder / "out/model.json").read_text())["made_with"]["plan"]["recipe"]["pairs"] == 2
    assert "(pairs was 2, is 3)" in trained.again("--pairs", "3")


@pytest.mark.parametrize("kept_bytes", [0, 5000])
def test_a_damaged_checkpoint_is_named(trained: Trained, tmp_path: Path, kept_bytes: int):
    (tmp_path / "work").mkdir()
    whole = (trained.folder / "work/fold-0.pt").read_bytes()
    (tmp_path / "work/fold-0.pt").write_bytes(whole[:kept_bytes])
    said = replace(trained, folder=tmp_path).again()
    assert "fold-0.pt is damaged" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--folds", "0"), "expected at least 2"),
        (("--folds", "1"), "expected at least 2"),
        (("--steps", "0"), "expected at least 1"),
        (("--pairs", "0"), "expected at least 1"),
        (("--pairs", "two"), "expected a whole number"),
        (("--seed", "-1"), "expected at least 0"),
        (("--self-blended", "1.5"), "expected at most 1"),
        (("--self-blended", "nan"), "expected at least 0"),
        (("--checkpoint-s", "-1"), "expected at least 0"),
    ],
)
def test_options_out_of_range_are_refused(
    cnn, faces: Path, tmp_path: Path, options: tuple[str, str], said: str, capsys
):
    with pytest.raises(SystemExit) as ended:
        cnn.train.main([str(faces), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o"), *SMALL, *options])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {options[0]}: {said}" in err
    assert f"got '{options[1]}'" in err


def test_too_few_originals_to_hold_any_out_is_said_before_training(cnn, faces: Path, tmp_path: Path, capsys):
    few = [clip for clip in CLIPS if (METADATA[clip.name]["original"] or clip.name) == ORIGINALS[0]]
    assert len(few) == 2
    command = [*map(str, few), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o"), *SMALL]
    assert cnn.train.main(command) == 2
    assert "REAL" in (said := capsys.readouterr().err)
    assert "1 original" in said


def test_faces_that_lack_a_part_are_refused_before_training(cnn, faces: Path, tmp_path: Path, capsys):
    broken = shutil.copytree(faces, tmp_path / "FACES")
    whole = (broken / "index.csv").read_text()
    command = [str(broken), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o"), *SMALL]
    for rows in ("aaa.mp4,1\n", "aaa.mp4,x,,16,,part-00000.parquet,0\n"):
        (broken / "index.csv").write_text(whole + rows)
        assert cnn.train.main(command) == 2
        assert f"index.csv, line {len(CLIPS) + 2}" in capsys.readouterr().err
    (broken / "index.csv").write_text(whole)
    (broken / "settings.json").unlink()
    assert cnn.train.main(command) == 2
    assert "settings.json" in capsys.readouterr().err
    next((broken / "shards").iterdir()).unlink()
    assert cnn.train.main(command) == 2
    assert "part-00000.parquet is not there" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--work", "--out"])
def test_a_place_that_cannot_be_written_is_said_before_training(cnn, faces: Path, tmp_path: Path, option: str, capsys):
    (tmp_path / "file").touch()
    places = {"--work": tmp_path / "w", "--out": tmp_path / "o", option: tmp_path / "file"}
    command = [str(faces), *SMALL, *(str(word) for place in places.items() for word in place)]
    assert cnn.train.main(command) == 4
    assert str(tmp_path / "file") in (said := capsys.readouterr()).err
    assert "fold-0" not in said.out


# -------------------------------------------------------------------------------------- mixed precision, graphics cards

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]


def losses(cnn, device: str, half: bool, steps: int = 12) -> list[float]:
    """Of steps on the same crops: random ones, each class with a tint of its own."""
    recipe = cnn.batches.Recipe(seed=1, pairs=4, self_blended=0.0, side=64)
    plan = cnn.fit.Plan(1, steps, recipe, 1e-3, start_sha256="", videos_sha256="", held_sha256="", cut={})
    training = cnn.fit.Training(plan, cnn.fit.Machine(torch.device(device), half, loaders=0))
    labels = torch.tensor([0.0, 1.0] * 4)
    noise = torch.randint(0, 200, (8, 3, recipe.side, recipe.side), generator=torch.Generator().manual_seed(1))
    crops = (noise + 50 * labels[:, None, None, None]).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    return [training.step(crops, labels) for _ in range(steps)]


@pytest.mark.parametrize("device", DEVICES)
def test_mixed_precision_learns_as_full_precision_does(cnn, device: str):
    full, half = losses(cnn, "cpu", half=False), losses(cnn, device, half=True)
    assert half != full
    assert half[0] == pytest.approx(full[0], abs=0.01)
    assert half[-1] < half[0] / 2


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_gpu_gives_the_answers_of_a_processor(cnn, faces: Path, device: str):
    net = cnn.model.load(FOLDER / "weights.npz")
    crops = [crop for entry in cnn.train.usable(faces) for face in cnn.train.faces_of(entry) for crop in face]
    here, there = (cnn.predict.Scorer(net, torch.device(name), 1).logits(crops) for name in ("cpu", device))
    assert np.allclose(here, there, atol=0.05)


@pytest.mark.parametrize(("free_gib", "crops"), [(0.001, 2), (1, 32), (4, 128), (8, 256), (80, 256)])
def test_the_batch_fits_half_of_what_is_free_of_a_gpus_memory(cnn, monkeypatch, free_gib: float, crops: int):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_gib * 2**30), 80 << 30))
    assert cnn.predict.batch_size(torch.device("cuda")) == crops
