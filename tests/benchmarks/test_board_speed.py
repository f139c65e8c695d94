"""The board of a large competition: 300 teams, 10,000 videos, 1,000 resamples in 10 s and 2 GiB."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dfdc_kit.competition.results import PREDICTIONS, RESULT, RESULTS, JudgedSubmission
from dfdc_kit.files import bundled, file_sha256

TEAMS, ROWS, RESAMPLES = 300, 10_000, 1_000
LIMIT_S, LIMIT_BYTES = 10, 2 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A judging folder and solution.csv, half of it Public."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(0)
    ids = [f"{i:05d}.mp4" for i in range(ROWS)]
    truth = random.integers(0, 2, ROWS)
    rows = [
        f"{name},{label},{('Public', 'Private')[i % 2]}\n"
        for i, (name, label) in enumerate(zip(ids, truth, strict=True))
    ]
    (folder / "solution.csv").write_text("filename,label,Usage\n" + "".join(rows))
    common = random.normal(0, 1, ROWS)
    metric = file_sha256(bundled("evaluate.py"))
    for team in range(TEAMS):
        odds = (2 * truth - 1) * (2 - team / 500) + common + random.normal(0, 0.5, ROWS)
        values = 1 / (1 + np.exp(-odds))
        home = folder / "judging" / RESULTS / f"{team:03d}"
        home.mkdir(parents=True)
        lines = [f"{name},{value:.9f}\n" for name, value in zip(ids, values, strict=True)]
        (home / PREDICTIONS).write_text("filename,label\n" + "".join(lines))
        text = {name: f"{name}{team}" for name in ("team", "name", "folder", "code_digest")}
        fixed = {
            "data_digest": "d",
            "metric_digest": metric,
            "profile": "p",
            "machine": "h",
            "engine": "local",
        }
        result = JudgedSubmission(
            key=home.name,
            baseline=False,
            submitted_at=None,
            verdict="complete",
            reason="",
            score=0.4,
            wall_time_s=1.0,
            peak_memory_bytes=None,
            predictions=PREDICTIONS,
            report=None,
            **text,
            **fixed,
        )
        (home / RESULT).write_bytes(msgspec.json.encode(result))
    return folder


def test_board_of_300_teams_is_fast_and_small(folder, benchmark):
    command = ("competition", "board", "dfdc", "--judging", "judging", "--solution", "solution.csv", "--json")
    times = []

    def run():
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "dfdc_kit", *command], cwd=folder, capture_output=True, text=True, check=True
        )
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return json.loads(done.stdout)

    board = benchmark.pedantic(run, rounds=1, iterations=1)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    benchmark.extra_info |= {"cpu_s": round(min(times), 2), "peak_mib": peak >> 20}
    print(f"{min(times):.1f} s of CPU time, {peak >> 20} MiB")
    assert board["teams"] == TEAMS
    assert min(times) < LIMIT_S  # CPU time: it does not depend on what else this machine does
    assert peak < LIMIT_BYTES
