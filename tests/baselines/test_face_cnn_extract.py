"""training/extract.py of face-cnn: each video is read once, whatever stops the run; faults end with a message."""

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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="training of face-cnn needs pyarrow")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-cnn"
TRAIN = ROOT / "sample_data/train_sample_videos"
METADATA = json.loads((TRAIN / "metadata.json").read_text())
HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
file.write("process 7 on elsewhere")
file.flush()
print("locked", flush=True)
sys.stdin.read()
"""


def interrupt(process: subprocess.Popen[str], when: Callable[[], object], signum: signal.Signals) -> str:
    """Send a signal to the process group as soon as `when()` is true; what was printed."""
    while not when() and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, f"ended before it could be interrupted: {process.communicate()[0]}"
    os.killpg(process.pid, signum)
    return process.communicate(timeout=120)[0]


def events(faces: Path) -> Counter:
    """How many times each (event, video) is in the logs of all workers."""
    lines = [line for log in (faces / "log").glob("*.csv") for line in log.read_text().splitlines()]
    return Counter((line.split(",")[1], line.split(",", 3)[3]) for line in lines)


# ---------------------------------------------------------------------------------------------------------- the content


def test_index_lists_every_video_with_its_label(cnn, faces: Path, clips: list[Path]):
    metadata = {clip.name: METADATA[clip.name] for clip in clips}
    entries = cnn.shards.read_index(faces)
    assert {e.video: {1: "FAKE", 0: "REAL"}[e.label] for e in entries} == {n: m["label"] for n, m in metadata.items()}
    assert {e.video: e.original for e in entries} == {n: m["original"] or n for n, m in metadata.items()}
    assert all(e.crops >= cnn.crops.FRAMES and not e.reason for e in entries)
    crops = cnn.shards.read_crops(entries[0])
    assert cnn.tasks.from_jpeg(crops[0].jpeg).shape == (cnn.crops.SIDE, cnn.crops.SIDE, 3)
    assert all(((crop.landmarks > 0) & (crop.landmarks < cnn.crops.SIDE)).all() for crop in crops)


def test_stored_crops_equal_those_of_prediction_but_for_jpeg(cnn, faces: Path):
    entry = cnn.shards.read_index(faces)[0]
    direct = cnn.crops.crops_of(TRAIN / entry.video)[0][0]
    stored = cnn.tasks.from_jpeg(cnn.shards.read_crops(entry)[0].jpeg)
    assert np.abs(direct.rgb.astype(int) - stored).mean() < 2.0  # JPEG's own loss, in grey levels


def test_fast_mode_stores_early_frames_and_settings_say_so(cnn, faces: Path, clips: list[Path], tmp_path, call_main):
    out = tmp_path / "FACES"
    call_main(cnn.extract.main, clips[0], "--out", out, "--fast")
    assert cnn.shards.read_settings(out)["fast"]
    assert not cnn.shards.read_settings(faces)["fast"]
    (entry,) = cnn.shards.read_index(out)
    stored = [crop.frame for crop in cnn.shards.read_crops(entry)]
    fast = cnn.crops.crops_of(clips[0], fast=True)  # one list of crops for each face
    assert stored == [crop.frame for crops in fast for crop in crops]
    assert max(stored) < max(crop.frame for crop in cnn.crops.crops_of(clips[0])[0])
    printed = call_main(cnn.extract.main, clips[0], "--out", out, code=2)  # one folder, one mode
    assert "Choose another --out" in printed


def test_settings_without_fast_mode_are_resumed_as_exact(cnn, faces: Path, clips: list[Path], tmp_path, call_main):
    """As written before there was a fast mode."""
    out = shutil.copytree(faces, tmp_path / "FACES")
    settings = json.loads((out / "settings.json").read_text())
    del settings["fast"]
    (out / "settings.json").write_text(json.dumps(settings))
    call_main(cnn.extract.main, clips[0], "--out", out)
    assert "Choose another --out" in call_main(cnn.extract.main, clips[0], "--out", out, "--fast", code=2)


# ------------------------------------------------------------------------------------------------- locks, kills, damage


def test_folder_in_use_by_another_program_is_refused(cnn, clips: list[Path], faces: Path, tmp_path, call_main):
    """Else the second would remove what the first is writing."""
    out, work = tmp_path / "FACES", tmp_path / "W"
    for folder, command in (
        (out, (cnn.extract.main, clips[0], "--out", out)),
        (work, (cnn.train.main, faces, "--work", work, "--out", tmp_path / "o")),
    ):
        folder.mkdir()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD_LOCK, folder / ".lock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout.readline() == "locked\n"
            assert f"{folder} is in use by process 7 on elsewhere" in call_main(*command, code=2)
            assert sorted(path.name for path in folder.iterdir()) == [".lock"]
        finally:
            holder.communicate()
    call_main(cnn.extract.main, clips[0], "--out", out)


def test_file_system_without_locks_is_used_with_a_warning(cnn, tmp_path: Path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(cnn.common.fcntl, "lockf", refuse)
    with cnn.common.folder_lock(tmp_path):
        assert "No locks available" in capsys.readouterr().out


def test_incomplete_line_of_a_log_is_ignored(cnn, tmp_path: Path):
    cnn.shards.prepare(tmp_path)
    incomplete = [
        "1.000,begin,0.5",
        "1.000,begin,",
        "1.000,be",
        "",
        "1.000,beg1.000,begin,0.500,b.mp4",
        "1.000,end,0.5,c.mp4",
    ]
    for number, line in enumerate(incomplete):
        (tmp_path / f"log/host-{number}.csv").write_text(f"1.000,begin,0.500,a.mp4\n{line}")
    (tmp_path / "log/host-9.csv").write_bytes("1.000,begin,0.500,é".encode()[:-1] + bytes(30))
    assert cnn.shards.started(tmp_path) & {"a.mp4", "b.mp4", "c.mp4"} == {"a.mp4", "b.mp4"}


def test_damaged_video_file_is_made_again_and_damaged_shard_is_named(
    cnn, faces: Path, clips: list[Path], tmp_path: Path, call_main
):
    """As a power cut may leave them."""
    out = shutil.copytree(faces, tmp_path / "FACES")
    (out / "videos" / f"{clips[0].name}.parquet").touch()
    (out / "videos" / "new.mp4.parquet").write_bytes(b"PAR1")
    assert "new.mp4" not in cnn.shards.prepare(out)
    assert not list((out / "videos").iterdir())
    shard = next((out / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:1000])
    printed = call_main(cnn.extract.main, *clips, "--out", out, code=2)
    assert f"{shard} is damaged" in printed
    assert "are read again" in printed
    shard.unlink()
    call_main(cnn.extract.main, *clips[:2], "--out", out)
    assert len(cnn.shards.read_index(out)) == 2


@pytest.mark.slow
def test_killed_extraction_resumes_and_repeats_no_finished_video(
    cnn, faces: Path, clips: list[Path], tmp_path: Path, start_script, call_main
):
    out = tmp_path / "FACES"
    process = start_script("extract.py", *clips, "--out", out)
    interrupt(process, lambda: sum(n for (event, _), n in events(out).items() if event == "end") >= 2, signal.SIGKILL)
    before = events(out)
    finished = {video for event, video in before if event == "end"}
    assert 2 <= len(finished) < len(clips)
    printed = call_main(cnn.extract.main, *clips, "--out", out)
    done = int(re.search(r"(\d+) already done", printed)[1])
    assert len(finished) <= done <= len(finished) + 2  # killed after writing the file and before logging it
    after = events(out)
    assert all(after["begin", video] == 1 for video in finished)
    assert all(n == 1 for (event, _), n in after.items() if event == "end")
    assert sum(n for (event, _), n in after.items() if event == "begin") <= len(clips) + 2  # two were in progress
    assert not list((out / "videos").iterdir())
    once = {e.video: (e.label, e.original, e.crops) for e in cnn.shards.read_index(faces)}
    assert {e.video: (e.label, e.original, e.crops) for e in cnn.shards.read_index(out)} == once


@pytest.mark.slow
def test_dead_worker_loses_no_finished_video(clips: list[Path], tmp_path: Path, start_script):
    out = tmp_path / "FACES"
    process = start_script("extract.py", *clips[:4], "--out", out)
    while not events(out) and process.poll() is None:
        time.sleep(0.02)
    worker = int(next((out / "log").glob("*.csv")).stem.rsplit("-", 1)[1])
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert "a worker died" in printed
    counted = events(out)
    assert len([video for event, video in counted if event == "end"]) == 4
    assert all(n == 1 for (event, _), n in counted.items() if event == "end")


@pytest.fixture(scope="module")
def deadly(clips: list[Path], tmp_path_factory) -> Iterator[tuple[Path, list[Path]]]:
    """The folder of a module `deadly_tasks`, and three clips, of which the second kills the process that reads it."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "deadly_tasks.py").write_text(
        "import os, tasks\n"
        "def extract_faces(task):\n"
        f"    if task.path.name == {clips[1].name!r}: tasks.log(task, 'begin'); os._exit(1)\n"
        "    return tasks.extract_faces(task)\n"
    )
    yield folder, clips[:3]
    sys.modules.pop("deadly_tasks", None)


@pytest.fixture
def deadly_clips(cnn, deadly: tuple[Path, list[Path]], monkeypatch) -> list[Path]:
    """The three clips, read by `deadly_tasks` here and in worker processes."""
    monkeypatch.syspath_prepend(str(deadly[0]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(deadly[0]), str(FOLDER / "training")]))
    monkeypatch.setattr(cnn.extract, "extract_faces", importlib.import_module("deadly_tasks").extract_faces)
    return deadly[1]


def test_video_that_kills_its_worker_gets_a_reason_and_the_others_are_done(cnn, tmp_path, deadly_clips, call_main):
    call_main(cnn.extract.main, *deadly_clips, "--out", tmp_path / "F", "--jobs", "2")
    reasons = {e.video: e.reason for e in cnn.shards.read_index(tmp_path / "F")}
    assert reasons == dict(zip([clip.name for clip in deadly_clips], ["", "worker-died", ""], strict=True))


# ----------------------------------------------------------------------------------------------------------------- Dask


def start_cluster(folder: Path, workers: int, **environment: str) -> tuple[str, list[subprocess.Popen]]:
    """A Dask scheduler and workers, started by Dask's own commands; its address, and the processes."""
    pytest.importorskip("dask.distributed", reason="dask is not installed")
    scheduler_file = folder / "scheduler.json"
    settings = {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1", **environment}

    def dask(*words: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "dask",
            *words,
            "--scheduler-file",
            scheduler_file,
            "--dashboard-address",
            ":0",
        ]
        return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, env={**os.environ, **settings})

    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", "0")
    worker = dask("worker", "--nworkers", str(workers), "--nthreads", "1", "--death-timeout", "60")
    while not scheduler_file.exists():
        assert scheduler.poll() is None
        time.sleep(0.05)
    return json.loads(scheduler_file.read_text())["address"], [scheduler, worker]


def stop(processes: list[subprocess.Popen]) -> None:
    for process in reversed(processes):
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def cluster(deadly: tuple[Path, list[Path]], tmp_path_factory) -> Iterator[str]:
    """The address of a Dask cluster whose workers can import `deadly_tasks`."""
    path = os.pathsep.join([str(deadly[0]), str(FOLDER / "training")])
    address, processes = start_cluster(tmp_path_factory.mktemp("cluster"), 2, PYTHONPATH=path)
    yield address
    stop(processes)


@pytest.mark.slow
def test_dask_cluster_extracts_the_same_faces(cnn, faces: Path, clips, tmp_path: Path, cluster: str, call_main):
    names, out = [clip.name for clip in clips[:3]], tmp_path / "F"
    call_main(cnn.extract.main, *clips[:3], "--out", out, "--dask", cluster)
    crops = {e.video: e.crops for e in cnn.shards.read_index(out)}
    assert crops == {e.video: e.crops for e in cnn.shards.read_index(faces) if e.video in names}
    assert str(os.getpid()) not in {log.stem.rsplit("-", 1)[1] for log in (out / "log").glob("*.csv")}


@pytest.mark.slow
def test_video_that_kills_dask_workers_gets_a_reason(cnn, tmp_path: Path, cluster: str, deadly_clips, call_main):
    call_main(cnn.extract.main, *deadly_clips, "--out", tmp_path / "F", "--dask", cluster)
    reasons = {e.video: e.reason for e in cnn.shards.read_index(tmp_path / "F")}
    assert reasons == dict(zip([clip.name for clip in deadly_clips], ["", "worker-died", ""], strict=True))


@pytest.mark.slow
def test_dask_scheduler_that_goes_away_ends_the_run_with_a_message(clips: list[Path], tmp_path: Path, start_script):
    address, processes = start_cluster(tmp_path, 1)
    try:
        process = start_script("extract.py", *clips, "--out", tmp_path / "F", "--dask", address)
        while not events(tmp_path / "F") and process.poll() is None:
            time.sleep(0.02)
        processes[0].kill()
        printed, _ = process.communicate(timeout=300)
    finally:
        stop(processes)
    assert process.returncode == 2, printed
    assert "went away; the same command resumes" in printed
    assert "Traceback" not in printed


# --------------------------------------------------------------------------------------------------------------- faults


def test_faulty_input_ends_with_a_message(cnn, tmp_path: Path, call_main):
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "F"

    def extract(*arguments: object, code: int = 2) -> str:
        return call_main(cnn.extract.main, *arguments, "--out", out, code=code)

    assert "not found" in extract(tmp_path / "nowhere")
    a.mkdir()
    assert "No .mp4 file" in extract(a)
    (a / "x.mp4").write_bytes(b"no video")
    shutil.copytree(a, b)
    assert "Two videos have the same name" in extract(a, b)
    (a / "metadata.json").write_text("{")
    assert "metadata.json" in extract(a)
    assert "1 without a face" in extract(b, code=0)
    printed = call_main(cnn.train.main, out, "--work", tmp_path / "w", "--out", tmp_path / "o", code=2)
    assert "videos skipped, unreadable: 1" in printed
    assert "expected FAKE and REAL videos with a face, found 0 FAKE and 0 REAL" in printed
    assert "at least 1" in extract(b, "--jobs", "0")
    (out / "index.csv").unlink()
    printed = call_main(cnn.train.main, out, "--work", tmp_path / "w", "--out", tmp_path / "o", code=2)
    assert "did not finish" in printed
    (out / "settings.json").write_text("{")
    printed = extract(b)
    assert "settings.json" in printed
    assert "Choose another --out" in printed
