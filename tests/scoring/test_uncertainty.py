"""The interval of a score, its difference to the constant and calibration error; who sees them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.solution import Solution, read_solution
from dfdc_kit.report.summary import rank_warning
from dfdc_kit.scoring.intervals import FEWEST_TO_RANK, Interval, mean_interval
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import score_submission
from dfdc_kit.scoring.uncertainty import calibration_error, with_uncertainty
from dfdc_kit.submission.validate import SubmissionTable

CHALLENGE = challenges.load()
OFFICIAL = load_metric(CHALLENGE.metric_path)
COLUMNS = ("filename", "label")


def made(rows, seed=0):
    """A solution and a submission with skill, `rows` rows."""
    random = np.random.default_rng(seed)
    ids = np.array([f"v{i:05}.mp4".encode() for i in range(rows)])
    labels = random.integers(0, 2, rows).astype(np.uint8)
    predicted = 1 / (1 + np.exp(-1.5 * ((2.0 * labels - 1) + random.normal(0, 1.5, rows))))
    return Solution(Path("solution.csv"), ids, labels, None, COLUMNS), SubmissionTable(ids, predicted, COLUMNS)


def uncertainty(metric, solution, submission, originals=None):
    score = score_submission(metric, solution, submission, CHALLENGE)
    return with_uncertainty(score, metric, solution, submission, CHALLENGE, originals).uncertainty


def test_uncertainty_holds_interval_and_difference_to_the_constant():
    solution, submission = made(400)
    found = uncertainty(OFFICIAL, solution, submission)
    losses = OFFICIAL.module.row_losses(solution.labels, submission.labels)
    assert found.interval == mean_interval(losses)
    assert found.constant_difference == pytest.approx(losses.mean() - np.log(2))
    assert found.constant_interval.high - found.interval.high == pytest.approx(-np.log(2))
    assert (found.clusters, found.clustered_by, found.too_few_to_rank) == (400, "video", False)


def test_rows_in_another_order_have_the_same_uncertainty_up_to_the_draws():
    solution, submission = made(300)
    other = SubmissionTable(submission.ids[::-1], submission.labels[::-1], COLUMNS)
    assert uncertainty(OFFICIAL, solution, other) == uncertainty(OFFICIAL, solution, submission)


def test_originals_are_resampled_as_one():
    solution, submission = made(400)
    originals = np.array([f"v{i // 4:05}.mp4".encode() for i in range(400)])
    found = uncertainty(OFFICIAL, solution, submission, originals)
    assert (found.clusters, found.clustered_by, found.too_few_to_rank) == (100, "original", FEWEST_TO_RANK > 100)
    assert found.interval != uncertainty(OFFICIAL, solution, submission).interval


@pytest.mark.parametrize("rows", [1, 2])
def test_very_few_rows_have_no_wrong_interval(rows):
    solution, submission = made(rows)
    found = uncertainty(OFFICIAL, solution, submission)
    assert found.too_few_to_rank
    assert (found.interval is None) == (rows == 1)


def test_few_videos_that_carry_the_loss_are_a_caution():
    solution, submission = made(400)
    usual = uncertainty(OFFICIAL, solution, submission)
    assert usual.dominating_share is None
    assert rank_warning(usual) == ""
    labels = submission.labels.copy()
    labels[:2] = 1 - solution.labels[:2]  # sure, and wrong
    found = uncertainty(OFFICIAL, solution, SubmissionTable(submission.ids, labels, COLUMNS))
    losses = np.sort(OFFICIAL.module.row_losses(solution.labels, labels))
    assert found.dominating_share == pytest.approx(losses[-3:].sum() / losses.sum())
    assert rank_warning(found).startswith("3 of 400 videos carry ")


def test_constant_submission_differs_by_nothing_from_the_constant():
    solution, _ = made(50)
    constant = SubmissionTable(solution.ids, np.full(50, 0.5), COLUMNS)
    found = uncertainty(OFFICIAL, solution, constant)
    assert found.constant_difference == 0
    assert found.constant_interval == Interval(0, 0)


def test_metric_file_without_losses_has_quantiles_of_its_score_on_resampled_rows(tmp_path):
    solution, submission = made(30)
    (tmp_path / "accuracy.py").write_text(
        "def score(solution, submission, row_id):\n    return ((submission.label > 0.5) == solution.label).mean()\n"
    )
    metric = load_metric(tmp_path / "accuracy.py")
    score = score_submission(metric, solution, submission, CHALLENGE)
    found = with_uncertainty(score, metric, solution, submission, CHALLENGE).uncertainty
    assert found.method == "bootstrap quantiles"
    assert found.interval.contains(score.value)
    assert found.constant_interval is None  # without score_arrays


def test_calibration_error_is_zero_for_true_fractions_and_large_for_wrong_ones():
    labels = np.array([1, 1, 1, 0] * 50, np.uint8)
    assert calibration_error(labels, np.full(200, 0.75)) == pytest.approx(0)
    assert calibration_error(labels, np.full(200, 0.05)) == pytest.approx(0.7)


def test_solution_knows_the_originals_of_a_metadata_file(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text('{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}}')
    solution = read_solution(path, CHALLENGE)
    assert solution.originals.tolist() == [b"a.mp4", b"a.mp4"]
    assert solution.take(np.array([False, True])).originals.tolist() == [b"a.mp4"]
    path.write_text('{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"}}')
    assert read_solution(path, CHALLENGE).originals is None


def test_score_command_prints_interval_and_warns_of_few_rows(tmp_path):
    labels = {f"v{i}.mp4": {"label": "FAKE" if i % 2 else "REAL"} for i in range(20)}
    (tmp_path / "metadata.json").write_text(json.dumps(labels))
    rows = "".join(f"{name},{0.3 + 0.02 * i:.2f}\n" for i, name in enumerate(labels))
    (tmp_path / "submission.csv").write_text("filename,label\n" + rows)
    command = [sys.executable, "-m", "dfdc_kit", "score", "submission.csv", "metadata.json"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    found = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    )["score"]["uncertainty"]
    assert f"{found['interval']['low']:.3f} to {found['interval']['high']:.3f}" in text
    assert "Too few to rank anything: 20 videos" in text
    assert f"difference {found['constant_difference']:+.3f}" in text
