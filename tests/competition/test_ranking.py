"""Ranks, their intervals, ties and chances, against counts by hand and simple simulations."""

import math
import random

import numpy as np
import pytest

from dfdc_kit.competition.ranking import ladder, rank_teams, similar_pairs
from dfdc_kit.errors import DataError
from dfdc_kit.scoring.intervals import resampled_scores


def test_chances_agree_with_counts_by_hand():
    resampled = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.1, 0.2, 0.3], [0.1, 0.3, 0.2]])
    found = rank_teams([0.1, 0.2, 0.3], resampled, lower_is_better=True, medal_places=2)
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.p_first.tolist() == [0.75, 0.25, 0]
    assert found.p_medal.tolist() == [1, 0.75, 0.25]
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1, 2], [2, 3, 3])


def test_higher_is_better_reverses_the_ranks():
    resampled = np.random.default_rng(0).normal([0.1, 0.2], 0.001, (200, 2))
    found = rank_teams([0.1, 0.2], resampled, lower_is_better=False, medal_places=1)
    assert found.ranks.tolist() == [2, 1]
    assert found.order.tolist() == [1, 0]
    assert found.p_first.tolist() == [0, 1]


def test_identical_scores_share_everything():
    found = rank_teams([0.5] * 4, np.full((100, 4), 0.5), lower_is_better=True, medal_places=2)
    assert found.ranks.tolist() == [1] * 4
    assert found.low.tolist() == [1] * 4
    assert found.high.tolist() == [4] * 4
    assert found.p_first.tolist() == [0.25] * 4
    assert found.p_medal.tolist() == [0.5] * 4
    assert found.tied_to.tolist() == [1] * 4


def test_earlier_of_equal_scores_is_ahead_when_times_are_given():
    times = ["2020-02-02", "2020-01-01", ""]
    found = rank_teams([0.5] * 3, np.full((9, 3), 0.5), lower_is_better=True, medal_places=1, submitted_at=times)
    assert found.ranks.tolist() == [2, 1, 3]


def test_one_team_is_first_for_certain():
    found = rank_teams([0.5], np.full((100, 1), 0.5), lower_is_better=True, medal_places=1)
    assert (found.ranks[0], found.low[0], found.high[0], found.p_first[0], found.tied_to[0]) == (1, 1, 1, 1, 1)


def test_ties_are_teams_without_a_paired_difference():
    """Scores vary much together; only the paired differences show that the first two differ from the third."""
    common = np.random.default_rng(0).normal(0, 0.1, (1000, 1))
    own = np.random.default_rng(1).normal([0.400, 0.4001, 0.420], 0.002, (1000, 3))
    found = rank_teams([0.400, 0.4001, 0.420], common + own, lower_is_better=True, medal_places=1)
    assert list(zip(found.tied_from.tolist(), found.tied_to.tolist(), strict=True)) == [(1, 2), (1, 2), (3, 3)]


def test_rank_interval_covers_the_true_rank():
    """In 100 samples of three close teams, the 95 % interval holds the rank on endless data at least 90 % of times."""
    held, generator = 0, np.random.default_rng(3)
    for _ in range(100):
        losses = generator.normal([0.5, 0.52, 0.54], 0.3, (300, 3))
        counts = generator.multinomial(300, np.full(300, 1 / 300), 200)
        found = rank_teams(losses.mean(0).tolist(), counts @ losses / 300, lower_is_better=True, medal_places=1)
        held += int((found.low <= [1, 2, 3]).all() and (found.high >= [1, 2, 3]).all())
    assert held / 100 > 0.9


def test_resampled_scores_draw_whole_clusters():
    clusters = ["a", "a", "b", "c", "c", "c"]
    drawn = []

    def score(rows):
        drawn.append(rows.tolist())
        return np.array([len(rows)])

    assert resampled_scores(score, np.zeros(6, np.uint8), clusters, 50, 0).shape == (50, 1)
    for rows in drawn:
        for members in ([0, 1], [2], [3, 4, 5]):
            assert len({rows.count(i) for i in members}) == 1


def test_draws_without_a_class_are_left_out():
    labels = np.array([0, 1, 1], np.uint8)
    found = resampled_scores(lambda rows: labels[rows].mean(keepdims=True), labels, None, 200, 0)
    assert 100 < len(found) < 200
    assert (found > 0).all()
    assert (found < 1).all()
    with pytest.raises(DataError, match="2 originals: whichever are drawn again, a class is missing"):
        resampled_scores(lambda rows: rows, np.array([0, 1], np.uint8), None, 1, seed=0)


def test_ladder_ignores_gains_below_its_step():
    assert ladder([0.50, 0.495, 0.496, 0.48, 0.479], 0.01, lower_is_better=True) == 3
    assert ladder([0.50, 0.505, 0.52], 0.01, lower_is_better=False) == 2


@pytest.mark.parametrize("copied", [False, True])
def test_similar_pairs_finds_a_disguised_copy_and_nothing_else(copied):
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 2, 1000).astype(np.uint8)
    hard = generator.normal(0, 1, (1000, 1))  # what all detectors find hard
    odds = 2 * (2 * truth[:, None] - 1.0) + hard + generator.normal(0, 1, (1000, 8))
    if copied:
        odds[:, 7] = 0.8 * odds[:, 2] + generator.normal(0, 0.1, 1000)
    found = list(similar_pairs(1 / (1 + np.exp(-odds)), truth))
    assert [pair[:2] for pair in found] == ([(2, 7)] if copied else [])


def test_similar_pairs_says_nothing_of_five_submissions():
    column = np.random.default_rng(0).random(100)
    assert list(similar_pairs(np.column_stack([column] * 5), np.zeros(100, np.uint8))) == []


def test_rank_interval_of_a_clear_winner_agrees_with_a_plain_bootstrap():
    """The same numbers from Python's own random module and sorting."""
    losses = np.random.default_rng(7).normal([0.50, 0.51, 0.53], 0.2, (200, 3))
    draw, ranks = random.Random(1), []
    means = []
    for _ in range(2000):
        rows = [draw.randrange(200) for _ in range(200)]
        mean = [math.fsum(losses[i, j] for i in rows) / 200 for j in range(3)]
        means.append(mean)
        ranks.append(sorted(mean).index(mean[2]) + 1)
    found = rank_teams(losses.mean(0).tolist(), np.array(means), lower_is_better=True, medal_places=1)
    ranks.sort()
    assert (found.low[2], found.high[2]) == (ranks[49], ranks[1949])
