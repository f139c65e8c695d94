"""`dfdc compare`: which rows are compared, what is refused, what is printed, and the page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import DataError, SubmissionError, UsageError
from dfdc_kit.report.comparison import MOST, compare_submissions, render
from dfdc_kit.report.run_report import CSV, FILE
from dfdc_kit.scoring.metric import displayed

CHALLENGE = challenges.load()
ROOT = Path(__file__).resolve().parents[2]
VIDEOS = [f"v{i:03}.mp4" for i in range(40)]


AUC = """
from sklearn.metrics import roc_auc_score

def score(solution, submission, row_id_column_name):
    both = solution.merge(submission, on=row_id_column_name)
    return roc_auc_score(both["label_x"], both["label_y"])
"""


@pytest.fixture
def folder(tmp_path):
    """A metadata.json of 40 videos, 20 originals, and a function that writes a submission of some skill."""
    entries = {
        name: {"label": "FAKE", "original": VIDEOS[i - 1]} if i % 2 else {"label": "REAL", "original": None}
        for i, name in enumerate(VIDEOS)
    }
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    return tmp_path


def write(path, skill, videos=VIDEOS, seed=0):
    random = np.random.default_rng(seed)
    noise = dict(zip(VIDEOS, random.uniform(-0.2, 0.2, len(VIDEOS)), strict=True))
    rows = [f"{name},{0.5 + (skill if int(name[1:4]) % 2 else -skill) + noise[name]:.4f}" for name in videos]
    path.write_text("\n".join(["filename,label", *rows]) + "\n")
    return str(path)


def compared(folder, *submissions, challenge=CHALLENGE):
    return compare_submissions(submissions, folder / "metadata.json", folder / "runs", challenge)


def test_comparison_clusters_by_original_and_orders_by_score(folder):
    found, notes = compared(folder, write(folder / "low.csv", 0.1), write(folder / "high.csv", 0.25, seed=1))
    assert [one.name for one in found.submissions] == ["high", "low"]
    assert (found.rows, found.clusters, found.clustered_by, found.too_few_to_rank) == (40, 20, "original", True)
    assert notes == []


def test_rows_that_only_some_have_are_left_out_with_a_note(folder):
    full, part = write(folder / "full.csv", 0.2), write(folder / "part.csv", 0.1, VIDEOS[10:][::-1])
    found, (note,) = compared(folder, full, part)
    assert found.rows == 30
    assert note == "Compared on the 30 rows that all have; some have up to 40."


def test_submissions_without_a_common_row_are_refused(folder):
    with pytest.raises(DataError, match="no row in common"):
        compared(folder, write(folder / "a.csv", 0.1, VIDEOS[:20]), write(folder / "b.csv", 0.1, VIDEOS[20:]))


def test_another_data_sets_submission_is_refused(folder):
    (folder / "other.csv").write_text("filename,label\nx.mp4,0.5\n")
    with pytest.raises(DataError, match="no label for any row"):
        compared(folder, write(folder / "a.csv", 0.1), str(folder / "other.csv"))


def test_invalid_submission_is_refused_by_name(folder):
    (folder / "bad.csv").write_text("filename,label\n" + "".join(f"{name},2\n" for name in VIDEOS))
    with pytest.raises(SubmissionError, match=r"bad\.csv is not valid"):
        compared(folder, write(folder / "a.csv", 0.1), str(folder / "bad.csv"))


@pytest.mark.parametrize("count", [1, MOST + 1])
def test_too_few_or_too_many_submissions_are_a_usage_error(folder, count):
    with pytest.raises(UsageError, match=f"expected 2 to {MOST}"):
        compared(folder, *[write(folder / "a.csv", 0.1)] * count)


def test_metric_without_losses_is_resampled_as_a_whole(folder, tmp_path):
    metric = tmp_path / "auc.py"
    metric.write_text(AUC)
    settings = structs.replace(CHALLENGE.metric, file=str(metric), name="AUC", lower_is_better=False)
    other = structs.replace(CHALLENGE, metric=settings)
    submissions = [write(folder / "a.csv", 0.0), write(folder / "b.csv", 0.25, seed=1)]
    found, notes = compared(folder, *submissions, challenge=other)
    assert [one.name for one in found.submissions] == ["b", "a"]
    assert (found.test, found.clusters, found.blends) == ("resampled scores", 20, None)
    assert found.submissions[0].score == 1 > found.submissions[1].interval.high
    assert found.submissions[0].constant_difference == 0.5
    assert found.pairs[0].significant
    page = render(found, notes, other)
    assert "higher is better" in page
    assert "this metric is no mean over rows" in page


def test_missing_solution_is_a_usage_error(folder):
    submissions = [write(folder / "a.csv", 0.1), write(folder / "b.csv", 0.2)]
    with pytest.raises(UsageError, match="labels are not known"):
        compare_submissions(submissions, None, folder / "runs", CHALLENGE)


def test_same_file_twice_is_called_identical(folder):
    path = write(folder / "a.csv", 0.1)
    found, (note,) = compared(folder, path, path)
    assert note.startswith("Identical predictions: ")
    assert len({one.name for one in found.submissions}) == 2
    assert found.pairs[0].identical


def test_runs_are_found_by_id_and_bring_their_solution(folder):
    runs = folder / "runs"
    for run, skill in (("20261127-100000-a", 0.1), ("20261127-110000-b", 0.2)):
        (runs / run).mkdir(parents=True)
        raw = json.loads((ROOT / "tests/cases/reports/schema-4-complete.json").read_text())
        (runs / run / FILE).write_text(json.dumps(raw | {"run_id": run, "solution": str(folder / "metadata.json")}))
        write(runs / run / CSV, skill)
    csv = write(folder / "c.csv", 0.15)
    found, _ = compare_submissions(["20261127-100000-a", str(runs / "20261127-110000-b"), csv], None, runs, CHALLENGE)
    assert {one.name for one in found.submissions} == {"20261127-100000-a", "20261127-110000-b", "c"}


def test_page_escapes_names_and_needs_nothing_else(folder):
    evil = write(folder / "<script>alert(1).csv", 0.1)
    found, notes = compared(folder, evil, write(folder / "b.csv", 0.2), write(folder / "c.csv", 0.25, seed=1))
    page = render(found, notes, CHALLENGE)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=|https?:|@import|url\(", page)
    assert "default-src 'none'" in page
    for one in found.submissions:
        assert displayed(one.score) in page


def test_page_of_constant_submissions_is_drawn(folder):
    for name in "ab":
        (folder / f"{name}.csv").write_text("filename,label\n" + "".join(f"{video},0.5\n" for video in VIDEOS))
    found, notes = compared(folder, str(folder / "a.csv"), str(folder / "b.csv"))
    assert "0.69314" in render(found, notes, CHALLENGE)


def test_compare_command_prints_within_80_columns_and_writes_json_and_page(folder):
    for name, skill in (("a-submission-with-a-very-long-name-indeed", 0.1), ("b", 0.2), ("c", 0.25)):
        write(folder / f"{name}.csv", skill, seed=int(100 * skill))
    command = [sys.executable, "-m", "dfdc_kit", "compare", *sorted(p.name for p in folder.glob("*.csv"))]
    command += ["--solution", "metadata.json"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"})
    assert shown.returncode == 0, shown.stderr
    tables = shown.stdout.split("Ties, ")[0].splitlines()
    assert max(len(line.rstrip()) for line in tables) <= 80
    assert "Too few to rank anything: 20 originals" in shown.stderr
    assert (folder / "runs" / "comparison.html").is_file()
    asked = subprocess.run([*command, "--json", "--page", "p.html"], cwd=folder, capture_output=True, text=True)
    found = json.loads(asked.stdout)
    assert found["page"] == "p.html"
    assert len(found["comparison"]["pairs"]) == 3
    assert (folder / "p.html").is_file()
