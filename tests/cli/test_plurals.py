"""Counts of one use the singular: the commands that count, on a data folder with a single video."""

import json
import re
import shutil

import pytest

PLURAL = re.compile(r"\b1 ([\w-]+ )?(videos|rows|files|cores|originals|runs|parts|checks|names|clips|others|lines)\b")
READS = """
import csv, os, pathlib, time
folder = pathlib.Path(os.environ["DFDC_INPUT_DIR"])
(name,) = [row["filename"] for row in csv.DictReader((folder / "sample_submission.csv").open())]
READING
    time.sleep(0.2)
pathlib.Path("submission.csv").write_text(f"filename,label\\n{name},0.4\\n")
"""
OPENED = "with (folder / 'test_videos' / name).open('rb'):"


@pytest.fixture
def lone(tmp_path, sample):
    """A folder with one labelled video."""
    folder = tmp_path / "lone"
    folder.mkdir()
    clip = min((sample / "test_videos").glob("*.mp4"), key=lambda path: path.stat().st_size)
    shutil.copy(clip, folder / "a.mp4")
    (folder / "metadata.json").write_text(json.dumps({"a.mp4": {"label": "REAL", "split": "train", "original": None}}))
    return folder


def text_of_one(done) -> str:
    assert done.returncode in (0, 1), done.stderr
    text = " ".join(f"{done.stdout} {done.stderr}".split())
    found = [text[max(match.start() - 40, 0) : match.end() + 40] for match in PLURAL.finditer(text)]
    assert found == []
    return text


@pytest.mark.parametrize("reading", [OPENED, "with open(__file__):"], ids=["opened", "never-opened"])
def test_run_and_its_page_use_the_singular_for_one_video(dfdc, code_submission, lone, tmp_path, reading):
    folder = code_submission(READS.replace("READING", reading))
    text = text_of_one(dfdc("run", folder, "--data", lone, COLUMNS="200"))
    assert "for 1 video;" in text
    page = next((tmp_path / "runs").glob("*/report.html")).read_text()
    assert [match.group() for match in PLURAL.finditer(" ".join(page.split()))] == []
    assert "1 video of" in page


@pytest.mark.parametrize(
    "command",
    [
        ["data", "labels", "lone", "--out", "solution.csv"],
        ["data", "verify", "lone"],
        ["data", "status", "lone"],
        ["audit", "lone"],
        ["rehearse", "trial", "--data", "lone", "--videos", "1", "--only", "zero-bytes"],
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_commands_use_the_singular_for_one_video(dfdc, code_submission, lone, command):
    code_submission(READS.replace("READING", OPENED))
    assert "1 " in text_of_one(dfdc(*command, COLUMNS="200"))


def test_score_uses_the_singular_for_one_row(dfdc, lone, tmp_path):
    (tmp_path / "solution.csv").write_text("filename,label,Usage\na.mp4,0,Public\n")
    (tmp_path / "answers.csv").write_text("filename,label\na.mp4,0.4\n")
    assert "1 of 1 row" in text_of_one(dfdc("score", "answers.csv", "solution.csv"))
