"""`dfdc competition check`: findings, a split that keeps originals together, the shake-up, and probing attacks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.competition.check import solution_csv, split_solution
from dfdc_kit.competition.shake_up import (
    Scoreboard,
    probe_plain,
    probe_random,
    probing,
    shake_up_of_losses,
    shake_up_of_model,
    shake_up_of_scores,
)
from dfdc_kit.data.solution import Solution, read_solution
from dfdc_kit.errors import UsageError
from dfdc_kit.scoring.metric import RowScorer, load_metric


def solution_of(labels, originals, usage=None) -> Solution:
    ids = np.array([f"{i}.mp4" for i in range(len(labels))], np.bytes_)
    originals = np.array(originals, np.bytes_)
    return Solution(Path("s.csv"), ids, np.array(labels, np.uint8), usage, ("filename", "label"), (), originals)


def test_split_keeps_originals_together_and_classes_alike():
    random = np.random.default_rng(0)
    groups = [f"o{i}" for i in random.integers(0, 150, 1000)]
    solution = solution_of(random.random(1000) < 0.8, groups)
    found = split_solution(solution, 0.3, seed=1)
    parts = {}
    for group, part in zip(groups, found.usage.tolist(), strict=True):
        parts.setdefault(group, set()).add(part)
    assert all(len(one) == 1 for one in parts.values())
    public = found.usage == b"Public"
    assert public.mean() == pytest.approx(0.3, abs=0.02)
    assert solution.labels[public].mean() == pytest.approx(solution.labels[~public].mean(), abs=0.02)
    assert (split_solution(solution, 0.3, seed=1).usage == found.usage).all()


def test_split_leaves_ignored_rows_ignored_and_is_read_back_with_its_originals(tmp_path):
    usage = np.array([b"Ignored", b"Public", b"Public", b"Public"])
    solution = split_solution(solution_of([0, 1, 0, 1], ["a,b", "a,b", "c", "d"], usage), 0.5, seed=0)
    path = tmp_path / "s.csv"
    path.write_bytes(solution_csv(solution))
    again = read_solution(path, challenges.load("dfdc"))
    assert again.usage.tolist() == solution.usage.tolist()
    assert again.usage[0] == b"Ignored"
    assert again.originals.tolist() == [b"a,b", b"a,b", b"c", b"d"]


def test_split_of_a_single_original_is_refused():
    with pytest.raises(UsageError, match="1 original: no division"):
        split_solution(solution_of([0, 1], ["a", "a"]), 0.5, 0)


def test_plain_board_reveals_every_label_that_a_probe_asks_for():
    truth = np.random.default_rng(3).integers(0, 2, 500)
    known, each, done = probe_plain(Scoreboard(truth, 5), submissions=20)
    assert each == 12  # smallest visible log odds 0.01; 2 ** 11 times that is below 34
    assert done == 240
    assert ((known[:done] > 0) == (truth[:done] == 1)).all()
    assert (known[done:] == 0).all()


def test_board_with_too_few_decimals_reveals_nothing_to_this_attack():
    known, each, done = probe_plain(Scoreboard(np.arange(4000) % 2, 2), submissions=20)
    assert (each, done) == (0, 0)
    assert not known.any()


def test_ladder_stops_what_a_fine_step_lets_through():
    truth = np.random.default_rng(4).integers(0, 2, 1000)
    fine, coarse = Scoreboard(truth, 5, step=1e-6), Scoreboard(truth, 5, step=0.45 / math.sqrt(1000))
    gains = [math.log(2) - board.loss(probe_random(board, 200, seed=0)) for board in (fine, coarse)]
    assert gains[0] > 0.005
    assert gains[1] == pytest.approx(0, abs=1e-9)


def test_probing_of_the_dfdc_reads_half_of_its_public_labels():
    plain, ladder = probing(4000, 224, 5, 0.007, 0)
    assert plain.labels_known == 224 * 9
    assert plain.public_loss == pytest.approx(math.log(2) * (4000 - 224 * 9) / 4000, abs=1e-4)
    assert ladder.public_loss == pytest.approx(math.log(2), abs=0.001)


def test_shake_up_of_equal_teams_is_random_and_of_clear_ones_is_none():
    random = np.random.default_rng(0)
    equal = random.normal(0.5, 0.3, (2000, 5))
    equal -= equal.mean(axis=0)
    found = shake_up_of_losses(equal, 500, 1500, 400, 0)
    assert found.public_winner_wins == pytest.approx(0.2, abs=0.07)
    assert found.rank_correlation == pytest.approx(0, abs=0.1)
    clear = shake_up_of_losses(equal + np.arange(5), 500, 1500, 50, 0)
    assert (clear.public_winner_wins, clear.rank_correlation, clear.places_moved) == (1, 1, (0, 0))


def test_shake_up_measures_the_paired_deviation_of_the_predictions():
    random = np.random.default_rng(1)
    losses = random.normal(0, 5, (4000, 1)) + random.normal(0, 0.45 / math.sqrt(2), (4000, 4))
    assert shake_up_of_losses(losses, 100, 100, 10, 0).paired_sd == pytest.approx(0.45, abs=0.02)


def test_more_public_rows_shake_ranks_less():
    few, many = shake_up_of_model(400, 10_000, 200, 0), shake_up_of_model(40_000, 100_000, 200, 0)
    assert few.rank_correlation < many.rank_correlation
    assert few.places_moved[0] > many.places_moved[0]


def test_command_finds_originals_in_both_parts_and_writes_a_split_without_them(judging, dfdc, tmp_path):
    names = {name: {"label": "FAKE", "original": f"o{i // 8}.mp4"} for i, name in enumerate(judging.ids)}
    (tmp_path / "metadata.json").write_text(json.dumps(names))
    options = ("--solution", judging.solution, "--originals", tmp_path / "metadata.json", "--json")
    done = dfdc("competition", "check", "dfdc", *options)
    assert done.returncode == 3
    errors = [one["what"] for one in json.loads(done.stdout)["findings"] if one["level"] == "error"]
    assert len(errors) == 1
    assert errors[0].startswith("50 originals in both parts (o0.mp4, ")
    done = dfdc("competition", "check", "dfdc", *options, "--split", "new.csv")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert not [one for one in found["findings"] if one["level"] == "error"]
    lines = (tmp_path / "new.csv").read_text().splitlines()
    assert lines[0] == "filename,label,Usage,original"
    assert found["public_videos"] == sum(",Public," in line for line in lines)
    judging.add("A", judging.predictions(1, 1))
    judging.add("B", judging.predictions(1, 2))
    done = dfdc("competition", "check", "dfdc", *options, "--split", "new.csv", "--judging", judging.folder)
    assert json.loads(done.stdout)["shake_up"]["source"] == "predictions"


def test_command_says_what_a_solution_without_usage_needs(dfdc, tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\n")
    done = dfdc("competition", "check", "dfdc", "--solution", "s.csv")
    assert done.returncode == 3
    assert "the solution has no column Usage: write one with --split FILE" in done.stdout


def test_shake_up_from_scores_agrees_with_that_from_losses():
    random, labels = np.random.default_rng(5), np.arange(600, dtype=np.uint8) % 2
    odds = (2.0 * labels - 1)[:, None] * np.linspace(1.2, 1.0, 6) + random.normal(size=(600, 6))
    metric = load_metric(challenges.load().metric_path)
    predicted = 1 / (1 + np.exp(-odds))
    losses = np.column_stack([metric.module.row_losses(labels, column) for column in predicted.T])
    scorer = RowScorer(metric, labels, predicted, ("filename", "label"))
    ours, theirs = shake_up_of_scores(scorer, 1, 200, 400, 0), shake_up_of_losses(losses, 200, 400, 500, 0)
    assert ours.paired_sd == pytest.approx(theirs.paired_sd, rel=0.1)
    assert ours.rank_correlation == pytest.approx(theirs.rank_correlation, abs=0.08)
    with pytest.raises(UsageError, match="needs two"):
        shake_up_of_scores(RowScorer(metric, labels, predicted[:, :1], ("filename", "label")), 1, 200, 400, 0)
