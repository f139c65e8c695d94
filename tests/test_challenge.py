"""Another challenge by DFDC_CHALLENGE: every command uses its columns, files and metric."""

import csv
import json
import shutil
from pathlib import Path

import pytest

TOML = """
slug = "bird-songs"
title = "Bird songs"
source = "ours"
as_of = "2026-11-26"
[submission]
name = "answers.csv"
row_id = "clip_id"
label = "p_bird"
positive = "BIRD"
negative = "FROG"
[data]
test_videos = "clips"
train_videos = "train_clips"
metadata = "metadata.json"
sample_submission = "sample_submission.csv"
solution = "solution.csv"
video_suffix = ".avi"
[metric]
file = "auc.py"
name = "AUC"
lower_is_better = false
displayed_decimals = 4
[sizes]
public_test_videos = 100
private_test_videos = 200
"""
AUC = """
from sklearn.metrics import roc_auc_score

class ParticipantVisibleError(Exception):
    pass

def score(solution, submission, row_id_column_name):
    both = solution.merge(submission, on=row_id_column_name, suffixes=("_true", "_predicted"))
    return float(roc_auc_score(both["p_bird_true"], both["p_bird_predicted"]))
"""
PROGRAM = """
import csv, os, pathlib
folder = pathlib.Path(os.environ["DFDC_INPUT_DIR"])
with open("answers.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["clip_id", "p_bird"])
    for at, row in enumerate(csv.DictReader((folder / "sample_submission.csv").open())):
        table.writerow([row["clip_id"], (at * 3 % 8) / 10])
"""


@pytest.fixture
def birds(tmp_path, sample, monkeypatch) -> Path:
    """A data folder of the other challenge; the environment names its TOML file."""
    folder = tmp_path / "birds"
    (folder / "clips").mkdir(parents=True)
    clips = sorted((sample / "test_videos").glob("*.mp4"))[:8]
    names = [f"{clip.stem}.avi" for clip in clips]
    for clip, name in zip(clips, names, strict=True):
        shutil.copy(clip, folder / "clips" / name)
    for file, label in (("sample_submission.csv", lambda at: 0), ("solution.csv", lambda at: at % 2)):
        with (folder / file).open("w", newline="") as out:
            table = csv.writer(out)
            table.writerows([("clip_id", "p_bird"), *((name, label(at)) for at, name in enumerate(names))])
    (tmp_path / "birds.toml").write_text(TOML)
    (tmp_path / "auc.py").write_text(AUC)
    monkeypatch.setenv("DFDC_CHALLENGE", str(tmp_path / "birds.toml"))
    return folder


def test_submission_to_another_challenge_is_run_scored_and_judged_again(birds, code_submission, dfdc, tmp_path):
    code_submission(PROGRAM)
    done = dfdc("run", "trial", "--data", birds, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["score"]["displayed"] == "0.6250"
    assert report["challenge"]["slug"] == "bird-songs"
    run = next((tmp_path / "runs").glob("*/"))
    assert dfdc("rejudge", run).returncode == 0
    scored = dfdc("score", run / "submission.csv", birds / "solution.csv")
    assert scored.returncode == 0, scored.stderr
    assert "0.6250" in scored.stdout


def test_commands_say_nothing_about_another_challenge_that_holds_for_dfdc_only(birds, code_submission, dfdc):
    code_submission(PROGRAM)
    assert dfdc("doctor").returncode == 0
    board = dfdc("leaderboard", "--offline", "--place", "0.8")
    assert board.returncode == 3
    assert "No leaderboard of bird-songs is known." in board.stderr
    audit = dfdc("audit", birds, "--submission", birds / "sample_submission.csv")
    assert "34.5" not in audit.stdout + audit.stderr
    plan = dfdc("submit", "trial", "--dry-run")
    assert "answers.csv of the hosted run is not valid" not in plan.stdout + plan.stderr


def test_unknown_challenge_is_refused_with_the_known_ones(dfdc):
    done = dfdc("validate", "x.csv", DFDC_CHALLENGE="dfcd")
    assert done.returncode == 2
    assert "Unknown challenge 'dfcd' (--challenge or DFDC_CHALLENGE)." in done.stderr
    assert "Did you mean 'dfdc'? A TOML file or one of: dfdc" in done.stderr
