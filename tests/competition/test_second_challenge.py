"""The preview challenge ships as data alone: its columns, files and metric are used by name or by option."""

import csv
import json
import math

import pandas as pd
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.challenge import FOLDER
from dfdc_kit.scoring.metric import load_metric


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_score_uses_the_preview_challenge_when_the_option_names_it(tmp_path, dfdc, monkeypatch):
    monkeypatch.setenv("DFDC_CHALLENGE", "")
    rows = [(f"{i}.mp4", i % 2) for i in range(8)]
    truth = write(tmp_path / "solution.csv", ("video", "fake_probability"), rows)
    guess = write(tmp_path / "predictions.csv", ("video", "fake_probability"), [(n, 0.9 * y) for n, y in rows])
    done = dfdc("--challenge", "dfdc-preview", "score", guess, truth, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["score"]["value"] == 0  # no real video above the threshold
    assert found["constant"]["value"] == pytest.approx(-math.log(101))
    uncertainty = found["score"]["uncertainty"]
    assert uncertainty["method"] == "bootstrap quantiles"
    assert uncertainty["constant_interval"]["low"] > 0
    assert found["score"]["secondary"]["auc"] == 1
    monkeypatch.setenv("DFDC_CHALLENGE", "")
    assert dfdc("score", guess, truth).returncode != 0  # not the columns of the default challenge


def test_weighted_precision_agrees_with_counts_by_hand():
    metric = load_metric(challenges.load("dfdc-preview").metric_path)
    truth = pd.DataFrame({"video": list("abcdef"), "fake_probability": [1, 1, 1, 1, 0, 0]})
    guess = truth.assign(fake_probability=[0.9, 0.4, 0.3, 0.2, 0.5, 0.1]).sample(frac=1, random_state=0)
    assert metric.score(truth, guess, "video") == pytest.approx(math.log(2 / (2 + 100 * 1)))
    ties = truth.assign(fake_probability=[0.9, 0.5, 0.5, 0.2, 0.5, 0.1])
    assert metric.score(truth, ties, "video") == pytest.approx(math.log(3 / (3 + 100 * 1)))
    values = ties["fake_probability"].to_numpy()
    assert metric.module.score_arrays(truth["fake_probability"].to_numpy(), values) == metric.score(
        truth, ties, "video"
    )
    with pytest.raises(metric.module.ParticipantVisibleError):
        metric.score(truth, guess.iloc[:5], "video")


def test_no_module_names_a_bundled_challenge():
    slugs = [challenges.load(path.stem).slug for path in FOLDER.glob("*.toml")]
    code = [path for path in FOLDER.parent.rglob("*.py") if "templates" not in path.parts]
    named = [
        f"{path.name}: {line.strip()}"
        for path in code
        for line in path.read_text("utf-8").splitlines()
        if any(f'"{slug}"' in line for slug in slugs)
    ]
    assert named == []
