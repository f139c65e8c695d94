"""docs/results.py: the table comes from run reports only, and never from training videos."""

import contextlib
import csv
import io
import json
import math
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.cli import main

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data"
ODDS = """
import csv, os, pathlib
rows = list(csv.DictReader(open(pathlib.Path(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv"))))
lines = [f"{row['filename']},{0.2 + 0.6 * (n % 2)}" for n, row in enumerate(rows)]
pathlib.Path("submission.csv").write_text("\\n".join(["filename,label", *lines]) + "\\n")
"""


def table(*arguments: object, script: Path = ROOT / "docs/results.py") -> subprocess.CompletedProcess[str]:
    """Run the script in this process."""
    printed, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    text = code if isinstance(code, str) else ""
    return subprocess.CompletedProcess(arguments, int(bool(code)), printed.getvalue(), text)


def run(folder: Path, *arguments: object) -> Path:
    """`dfdc run` in `folder`; the run's report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["dfdc", "run", *map(str, arguments), "--backend", "process"])
        with pytest.raises(SystemExit):
            main()
    (report,) = (folder / "runs").glob("*/run.json")
    return report


def submission(folder: Path, source: str, name: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "submission.toml").write_text(f'name = "{name}"\n')
    (folder / name / "main.py").write_text(source)
    return folder / name


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of one run over the sample."""
    folder = tmp_path_factory.mktemp("odds")
    return run(folder, submission(folder, ODDS, "odds"))


def test_row_agrees_with_the_report_and_its_files(report):
    done = table(report)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    name, loss, auc, videos, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    value, low, high = (float(number) for number in re.findall(r"[\d.]+", loss))
    assert (name, videos) == ("`odds`", "16")
    assert value == pytest.approx(json.loads(report.read_text())["score"]["value"], abs=1e-4)
    assert low < value < high
    with (SAMPLE / "solution/solution.csv").open(newline="") as file:
        labels = {line["filename"]: int(line["label"]) for line in csv.DictReader(file)}
    with (report.parent / "submission.csv").open(newline="") as file:
        predictions = {line["filename"]: float(line["label"]) for line in csv.DictReader(file)}
    fakes = [predictions[name] for name in labels if labels[name]]
    reals = [predictions[name] for name in labels if not labels[name]]
    pairs = [(fake, real) for fake in fakes for real in reals]
    assert float(auc) == pytest.approx(
        math.fsum((fake > real) + (fake == real) / 2 for fake, real in pairs) / len(pairs), abs=0.005
    )


def test_table_replaces_the_text_between_its_marks_only(report, tmp_path):
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


def test_run_over_training_videos_is_refused(tmp_path):
    data = tmp_path / "data"
    (data / "train_sample_videos").mkdir(parents=True)
    shutil.copytree(SAMPLE / "train_sample_videos", data / "test_videos", ignore=shutil.ignore_patterns("*.json"))
    shutil.copy(SAMPLE / "train_sample_videos/metadata.json", data / "train_sample_videos")
    solution = data / "train_sample_videos/metadata.json"
    done = table(run(tmp_path, submission(tmp_path, ODDS, "odds"), "--data", data, "--solution", solution))
    assert done.returncode == 1
    assert "are training videos" in done.stderr


def test_failed_run_is_refused(tmp_path):
    done = table(run(tmp_path, submission(tmp_path, "raise SystemExit(3)", "fails")))
    assert done.returncode == 1
    assert "exception, no score" in done.stderr


def test_run_with_a_changed_csv_is_refused(report, tmp_path):
    folder = shutil.copytree(report.parent, tmp_path / "run")
    text = (folder / "submission.csv").read_text()
    (folder / "submission.csv").write_text(text.replace(",0.8", ",0.7", 1))
    done = table(folder / "run.json")
    assert done.returncode == 1
    assert "do not give the score" in done.stderr
