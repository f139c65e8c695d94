"""Comparison of submissions: tests against scipy and statsmodels, ties, ranks, blends, finals."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from dfdc_kit.scoring.blends import METHODS, blend_report, logit_mean, mean, rank_mean
from dfdc_kit.scoring.calibration import fold_of_cluster, row_losses
from dfdc_kit.scoring.compare import (
    MOST_EXACT_CLUSTERS,
    RESAMPLED,
    Losses,
    Scorer,
    compare,
    resampled_p_values,
    sign_flip_test,
)
from dfdc_kit.scoring.intervals import standard_errors
from dfdc_kit.scoring.slices import holm


def made(rows, skills, seed=0):
    """Labels (rows,), predictions and log losses (rows, k) of detectors with these skills and a common error."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows).astype(np.uint8)
    common = random.normal(size=rows)
    sides = 2.0 * labels - 1
    logits = [1.3 * (sides * skill + 0.7 * common + 0.7 * random.normal(size=rows)) for skill in skills]
    predictions = 1 / (1 + np.exp(-np.stack(logits, axis=1)))
    return labels, predictions, np.stack([row_losses(labels, column) for column in predictions.T], axis=1)


def compared(rows, skills, seed=0, **options):
    labels, predictions, losses = made(rows, skills, seed)
    return compare([f"s{i}" for i in range(len(skills))], labels, predictions, with_constant(losses), **options)


def with_constant(losses):
    return Losses(losses, np.full(len(losses), np.log(2)))


def reference_p(losses, **options):
    return stats.permutation_test(
        (losses[:, 0], losses[:, 1]),
        lambda a, b, axis: a.sum(axis=axis) - b.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        **options,
    ).pvalue


@pytest.mark.parametrize("rows", [2, 5, 11])
def test_sign_flip_test_with_few_rows_equals_the_exact_test_of_scipy(rows):
    for seed in range(5):
        losses = made(rows, (1, 0.3), seed)[2]
        p, exact = sign_flip_test(losses, np.arange(rows), [(0, 1)])
        assert exact
        assert p[0] == pytest.approx(reference_p(losses))


def test_sign_flip_test_with_many_rows_agrees_with_scipy():
    losses = made(150, (1, 0.85), 1)[2]
    p, exact = sign_flip_test(losses, np.arange(150), [(0, 1)])
    theirs = reference_p(losses, n_resamples=9_999, rng=np.random.default_rng(0))
    assert not exact
    assert 0.02 < theirs < 0.98
    assert p[0] == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("clusters", [8, MOST_EXACT_CLUSTERS + 30])
def test_sign_flip_test_flips_whole_clusters(clusters):
    losses = made(clusters, (1, 0.8))[2]
    once, _ = sign_flip_test(losses, np.arange(clusters), [(0, 1)])
    repeated, _ = sign_flip_test(np.repeat(losses, 3, axis=0), np.repeat(np.arange(clusters), 3), [(0, 1)])
    assert repeated == pytest.approx(once)


def test_holm_agrees_with_statsmodels():
    p = np.random.default_rng(0).random(40) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_comparison_orders_submissions_and_reports_paired_differences():
    labels, predictions, losses = made(500, (0.5, 1.5, 1.45))
    found = compare(["low", "high", "near"], labels, predictions, with_constant(losses))
    assert [one.name for one in found.submissions] == ["high", "near", "low"]
    assert [one.rank for one in found.submissions] == [1, 2, 3]
    pair = next(pair for pair in found.pairs if (pair.better, pair.worse) == ("near", "low"))
    difference = losses[:, 0] - losses[:, 2]
    assert pair.difference == pytest.approx(difference.mean())
    assert pair.significant
    assert pair.interval.low > 0
    assert pair.smallest_difference == pytest.approx(2.80158 * standard_errors(difference)[0], rel=1e-4)
    errors = np.abs(predictions - labels[:, None])
    assert pair.error_correlation == pytest.approx(np.corrcoef(errors[:, 0], errors[:, 2])[0, 1])
    assert found.ties == [["high", "near"]]
    assert [one.groups for one in found.submissions] == ["a", "a", "b"]
    assert found.submissions[0].constant_difference == pytest.approx(losses[:, 1].mean() - np.log(2))


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_of_resampled_rows_agree_with_losses_where_both_are_possible(sign):
    labels, predictions, losses = made(400, (0.5, 1.5, 1.45))
    names, clusters = ["low", "high", "near"], np.arange(400) // 2
    table = np.column_stack([losses, np.full(400, np.log(2))])
    scorer = Scorer(lambda rows: sign * table[rows].mean(axis=0), sign == 1, 1_000)
    ours = compare(names, labels, predictions, scorer, clusters=clusters)
    theirs = compare(names, labels, predictions, with_constant(losses), clusters=clusters)
    assert (ours.test, ours.blends) == (RESAMPLED, None)
    assert [one.name for one in ours.submissions] == [one.name for one in theirs.submissions]
    assert ours.ties == theirs.ties == [["high", "near"]]
    assert ours.finals[0].names == theirs.finals[0].names
    for one, other in zip(ours.submissions, theirs.submissions, strict=True):
        assert one.score == pytest.approx(sign * other.score)
        assert one.constant_difference == pytest.approx(sign * other.constant_difference)
        ends = sorted([sign * one.interval.low, sign * one.interval.high])
        assert ends == pytest.approx([other.interval.low, other.interval.high], abs=0.02)
    for one, other in zip(ours.pairs, theirs.pairs, strict=True):
        assert (one.better, one.significant) == (other.better, other.significant)
        assert one.difference == pytest.approx(other.difference)
        assert one.smallest_difference == pytest.approx(other.smallest_difference, rel=0.1)


def test_resampled_p_values_count_the_other_side_and_extrapolate_beyond_all_resamples():
    differences = np.column_stack([np.r_[[-1.0], np.full(98, 2.0)], np.full(99, 2.0), np.zeros(99)])
    p = resampled_p_values(differences, np.array([2.0, 2.0, 0.0]), np.array([0.3, 0.2, 0.0]))
    assert p[:2] == pytest.approx([0.04, 2 * stats.norm.sf(10)])
    assert p[2] == 1


def test_scorer_on_rows_of_one_cluster_has_no_intervals():
    labels, predictions, losses = made(6, (1, 0.5))
    table = np.column_stack([losses, np.full(6, np.log(2))])
    found = compare(
        ["a", "b"], labels, predictions, Scorer(lambda rows: table[rows].mean(axis=0), True, 100), clusters=["x"] * 6
    )
    assert (found.submissions[0].interval, found.pairs[0].smallest_difference) == (None, None)
    assert not found.pairs[0].significant


def test_paired_interval_is_narrower_than_that_of_unrelated_submissions():
    labels, predictions, losses = made(400, (1.2, 1.1))
    (pair,) = compare(["a", "b"], labels, predictions, with_constant(losses)).pairs
    unpaired = np.sqrt((standard_errors(losses) ** 2).sum()) * 2 * 1.96
    assert pair.interval.high - pair.interval.low < 0.8 * unpaired


def test_equal_submissions_are_a_tie_that_shares_the_first_place():
    labels, predictions, losses = made(300, (1.2, 0.2))
    twice = [0, 0, 1]
    found = compare(["a", "b", "c"], labels, predictions[:, twice], with_constant(losses[:, twice]))
    first, second = found.submissions[:2]
    assert (first.rank, second.rank, first.p_first, second.p_first) == (1, 1, 0.5, 0.5)
    assert (first.rank_low, first.rank_high) == (1, 2)
    assert (found.pairs[0].identical, found.pairs[0].p_value, found.pairs[0].difference) == (True, 1.0, 0.0)
    assert ["a", "b"] in found.ties
    assert found.finals[0].p_best == 1.0


@pytest.mark.parametrize("rows", [1, 2, 30, 400])
def test_identical_values_everywhere_compare_without_an_error(rows):
    labels = np.arange(rows, dtype=np.uint8) % 2
    predictions = np.full((rows, 3), 0.5)
    losses = np.full((rows, 3), np.log(2))
    found = compare(["a", "b", "c"], labels, predictions, with_constant(losses))
    assert found.ties == [["a", "b", "c"]]
    assert found.pairs[0].error_correlation is None
    assert [one.p_first for one in found.submissions] == pytest.approx([1 / 3] * 3)


def test_rows_of_one_cluster_have_unknown_intervals():
    found = compared(6, (1, 0.5), clusters=["x"] * 6)
    assert found.too_few_to_rank
    assert (found.submissions[0].interval, found.pairs[0].smallest_difference, found.blends) == (None, None, None)


def test_difference_that_no_row_shows_is_found_in_5_percent_of_samples_only():
    tests = [sign_flip_test(made(11, (1, 1), seed)[2], np.arange(11), [(0, 1)]) for seed in range(200)]
    hits = sum(p[0] < 0.05 for p, _ in tests)
    assert 1 <= hits <= 20  # 10 expected; more than 20 has a probability of 0.1 %


def test_finals_are_the_pair_that_holds_the_best_most_often():
    found = compared(500, (1.2, 1.19, 0.3, 0.2))
    assert {"s0", "s1"} == set(found.finals[0].names)
    assert found.finals[0].p_best == pytest.approx(sum(one.p_first for one in found.submissions[:2]))
    assert found.finals[0].expected_score <= found.submissions[0].score


def test_blend_methods_equal_their_definitions():
    predictions = np.array([[0.2, 0.4], [0.9, 0.1], [0.6, 0.8]])
    assert mean(predictions) == pytest.approx([0.3, 0.5, 0.7])
    odds = np.sqrt(predictions / (1 - predictions)).prod(axis=1)
    assert logit_mean(predictions) == pytest.approx(odds / (1 + odds))
    ranks = stats.rankdata(predictions, axis=0).mean(axis=1)
    assert stats.rankdata(rank_mean(predictions)) == pytest.approx(stats.rankdata(ranks))
    assert rank_mean(predictions) == pytest.approx([0.3, 0.5, 0.7])  # mean ranks 1.5, 2, 2.5


def test_blend_of_equal_submissions_is_that_submission():
    _, predictions, _ = made(50, (1,))
    for blend in METHODS.values():
        assert blend(np.repeat(predictions, 3, axis=1)) == pytest.approx(predictions[:, 0])


def test_blend_gain_is_chosen_without_the_rows_it_is_measured_on():
    labels, predictions, losses = made(200, (1.2, 1.1, 0.9))
    before = blend_report(["a", "b", "c"], labels, predictions, losses, np.arange(200))
    inside = fold_of_cluster(200) == 0
    labels[inside] = 1 - labels[inside]  # changes the first fold's losses, not its choice
    losses = np.stack([row_losses(labels, column) for column in predictions.T], axis=1)
    after = blend_report(["a", "b", "c"], labels, predictions, losses, np.arange(200))
    assert after.chosen[0] == before.chosen[0]
    assert after.gain != before.gain


def test_blend_of_complementary_submissions_gains():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 600).astype(np.uint8)
    logits = (2.0 * labels - 1)[:, None] + random.normal(0, 1.5, (600, 2))
    predictions = 1 / (1 + np.exp(-logits))
    losses = np.stack([row_losses(labels, column) for column in predictions.T], axis=1)
    report = blend_report(["a", "b"], labels, predictions, losses, np.arange(600))
    assert report.interval.low > 0
    assert report.best.gain > 0
    assert report.all_members[0].score == pytest.approx(row_losses(labels, predictions.mean(axis=1)).mean())
