"""The results table of the baselines comes from run reports alone, and never from videos that were trained on."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
ODDS = """
import csv, os, pathlib
rows = list(csv.DictReader(open(pathlib.Path(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv"))))
lines = [f"{row['filename']},{0.2 + 0.6 * (n % 2)}" for n, row in enumerate(rows)]
pathlib.Path("submission.csv").write_text("\\n".join(["filename,label", *lines]) + "\\n")
"""


def table(*arguments: object, script: Path = ROOT / "docs/results.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", script, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def report(dfdc, code_submission, tmp_path) -> Path:
    done = dfdc("run", code_submission(ODDS, "odds"))
    assert done.returncode == 0, done.stdout + done.stderr
    return next((tmp_path / "runs").glob("*-odds/run.json"))


def test_a_row_says_what_the_report_and_its_files_say(report):
    done = table(report)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    name, loss, auc, videos, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    value, low, high = (float(number) for number in re.findall(r"[\d.]+", loss))
    assert (name, videos) == ("`odds`", "16")
    assert value == pytest.approx(json.loads(report.read_text())["score"]["value"], abs=1e-4)
    assert low < value < high
    with (SAMPLE / "solution/solution.csv").open(newline="") as file:
        truth = {line["filename"]: int(line["label"]) for line in csv.DictReader(file)}
    with (report.parent / "submission.csv").open(newline="") as file:
        guess = {line["filename"]: float(line["label"]) for line in csv.DictReader(file)}
    pairs = [(guess[f], guess[r]) for f in truth if truth[f] for r in truth if not truth[r]]
    assert float(auc) == pytest.approx(math.fsum((f > r) + (f == r) / 2 for f, r in pairs) / len(pairs), abs=0.005)


def test_it_is_put_between_its_marks_and_nowhere_else(report, tmp_path):
    copy = tmp_path / "checkout"
    for folder in ("baselines", "docs"):
        (copy / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docs/results.py", copy / "docs")
    (copy / "sample_data").symlink_to(SAMPLE)
    page = copy / "baselines/README.md"
    page.write_text("before\n<!-- results: made by docs/results.py -->\nold\n<!-- end of results -->\nafter\n")
    for _ in range(2):
        assert table("--write", report, script=copy / "docs/results.py").returncode == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- results")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in text
    assert text.count("`odds`") == 1


def test_a_run_over_training_videos_is_refused(dfdc, code_submission, tmp_path):
    data = tmp_path / "data"
    (data / "train_sample_videos").mkdir(parents=True)
    shutil.copytree(SAMPLE / "train_sample_videos", data / "test_videos", ignore=shutil.ignore_patterns("*.json"))
    shutil.copy(SAMPLE / "train_sample_videos/metadata.json", data / "train_sample_videos")
    truth = data / "train_sample_videos/metadata.json"
    done = dfdc("run", code_submission(ODDS, "odds"), "--data", data, "--solution", truth)
    assert done.returncode == 0, done.stdout + done.stderr
    done = table(next((tmp_path / "runs").glob("*/run.json")))
    assert done.returncode == 1
    assert "are training videos" in done.stderr


def test_a_failed_run_is_refused(dfdc, code_submission, tmp_path):
    dfdc("run", code_submission("raise SystemExit(3)", "fails"))
    done = table(next((tmp_path / "runs").glob("*/run.json")))
    assert done.returncode == 1
    assert "exception, no score" in done.stderr


def test_changed_files_are_refused(report):
    text = (report.parent / "submission.csv").read_text()
    (report.parent / "submission.csv").write_text(text.replace(",0.8", ",0.7", 1))
    done = table(report)
    assert done.returncode == 1
    assert "do not give the score" in done.stderr
