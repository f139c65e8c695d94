"""The audit and the split of the full training set's metadata, and how fast headers are read.

Run: pytest tests/benchmarks/test_audit_speed.py --benchmark-only -s
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data import inspection
from dfdc_kit.data.integrity import verify
from dfdc_kit.data.video_header import read_header

ROWS, REAL, PARTS = 119_154, 19_154, 50  # of the full training set
TIMES_PANDAS = 3  # at most: pandas reads, and checks nothing
COPIES = 400


@pytest.fixture(scope="module")
def metadata(tmp_path_factory) -> Path:
    """Metadata of the size and form of the full training set: 50 parts, every fake's original in its own part."""
    folder = tmp_path_factory.mktemp("full")
    rng = random.Random(0)
    names = [f"{''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k=10))}.mp4" for _ in range(ROWS)]
    assert len(set(names)) == ROWS
    for part in range(PARTS):
        real, fake = names[:REAL][part::PARTS], names[REAL:][part::PARTS]
        rows = {name: {"label": "REAL", "split": "train"} for name in real}
        rows |= {name: {"label": "FAKE", "split": "train", "original": rng.choice(real)} for name in fake}
        place = folder / f"dfdc_train_part_{part}"
        place.mkdir()
        (place / "metadata.json").write_text(json.dumps(rows))
    return folder


PLAIN = """
import pandas, pathlib, sys
pandas.concat(pandas.read_json(path, orient="index") for path in pathlib.Path(sys.argv[1]).glob("*/metadata.json"))
"""


def cpu_seconds(command: list[str], rounds: int = 5) -> float:
    """The median processor time of a command: what else runs on the machine makes little difference to it."""

    def spent() -> float:
        used = os.times()
        return used.children_user + used.children_system

    times = []
    for _ in range(rounds):
        before = spent()
        subprocess.run(command, capture_output=True, check=True)
        times.append(spent() - before)
    return statistics.median(times)


@pytest.mark.parametrize("what", ["audit", "audit-of-a-split", "split", "labels"])
def test_whole_command(benchmark, metadata, tmp_path, what):
    """Start-up included, against pandas reading the same files and looking at nothing."""
    dfdc = [sys.executable, "-m", "dfdc_kit"]
    cut = [*dfdc, "data", "split", str(metadata), "--out", str(tmp_path / "split")]
    command = {
        "audit": [*dfdc, "audit", str(metadata)],
        "audit-of-a-split": [*dfdc, "audit", str(metadata), "--split", str(tmp_path / "split")],
        "split": cut,
        "labels": [*dfdc, "data", "labels", str(metadata), "--out", str(tmp_path / "solution.csv")],
    }[what]
    if what == "audit-of-a-split":
        subprocess.run(cut, capture_output=True, check=True)
    benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "check": True}, rounds=5, warmup_rounds=1)
    wall_s = benchmark.stats.stats.median
    ours_s, pandas_s = cpu_seconds(command), cpu_seconds([sys.executable, "-c", PLAIN, str(metadata)])
    benchmark.extra_info.update(rows=ROWS, wall_s=wall_s, ours_s=ours_s, pandas_s=pandas_s, ratio=ours_s / pandas_s)
    print(f"\n{what}, {ROWS:,} rows: {wall_s:.2f} s; {ours_s:.2f} CPU s, pandas reading the files {pandas_s:.2f} CPU s")
    assert ours_s < TIMES_PANDAS * pandas_s


def test_headers(benchmark, sample, tmp_path):
    """Files a second, several at a time against one by one, and a second run against the first."""
    train = tmp_path / "train_sample_videos"
    train.mkdir()
    clips = sorted((sample / "train_sample_videos").glob("*.mp4"))
    for number in range(COPIES):
        shutil.copy(clips[number % len(clips)], train / f"{number:04}.mp4")
    rows = {path.name: {"label": "REAL"} for path in train.glob("*.mp4")}
    (train / "metadata.json").write_text(json.dumps(rows))

    def first_run() -> None:
        (tmp_path / inspection.STATE).unlink(missing_ok=True)
        assert verify(tmp_path, challenges.load()).read == COPIES

    benchmark.pedantic(first_run, rounds=3, warmup_rounds=1)
    ours_s = benchmark.stats.stats.median
    started = time.perf_counter()
    for path in train.glob("*.mp4"):
        read_header(path)
    one_by_one_s = time.perf_counter() - started
    started = time.perf_counter()
    assert verify(tmp_path, challenges.load()).read == 0
    again_s = time.perf_counter() - started
    benchmark.extra_info.update(files=COPIES, ours_s=ours_s, one_by_one_s=one_by_one_s, again_s=again_s)
    print(
        f"\n{COPIES} headers: {ours_s:.2f} s with everything that verify does, {one_by_one_s:.2f} s one by one,"
        f" {again_s:.3f} s when they are remembered"
    )
    assert again_s < ours_s / 3
