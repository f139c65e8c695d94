"""Bootstrap intervals of mean losses: against scipy, against a plain loop, and their coverage in simulation."""

import numpy as np
import pytest
from scipy import stats

from dfdc_kit.scoring.intervals import (
    FEW_CLUSTERS,
    FEWEST_TO_RANK,
    Interval,
    draws,
    mean_interval,
    mean_intervals,
    percentile_interval,
    resampled_means,
    smallest_difference,
    standard_errors,
    within_range,
)


def log_losses(random, rows, skill=1.2):
    """Skewed losses of a detector whose logits are normal around the right side."""
    return np.logaddexp(0, -1.5 * random.normal(skill, 1.6, rows))


@pytest.mark.parametrize("clusters", [40, FEW_CLUSTERS + 3])
def test_counts_have_mean_variance_and_skewness_one(clusters):
    counts = np.concatenate(list(draws(clusters, 4_000, 0)))
    assert counts.shape == (4_000, clusters)
    assert counts.mean() == pytest.approx(1, abs=0.01)
    assert counts.var() == pytest.approx(1, abs=0.05)
    assert stats.skew(counts, axis=None) == pytest.approx(1, abs=0.1)
    assert abs(np.corrcoef(counts[:, 0], counts[:, 1])[0, 1]) < 0.08


@pytest.mark.parametrize("clusters", [40, FEW_CLUSTERS + 3])
def test_counts_do_not_depend_on_the_size_of_the_chunks(clusters):
    few, many = (np.concatenate(list(draws(clusters, 2_001, 7, columns))) for columns in (1, 300))
    assert (few == many).all()


@pytest.mark.parametrize("rows", [60, 900])
def test_resampled_means_equal_a_plain_loop_over_clusters(rows):
    random = np.random.default_rng(1)
    values, clusters = random.exponential(size=(rows, 3)), random.integers(0, rows // 2, rows)
    names = np.unique(clusters)
    counts = np.concatenate(list(draws(len(names), 20, 5)))
    for drawn, found in zip(counts, resampled_means(values, clusters, 20, 5), strict=True):
        weight = drawn[np.searchsorted(names, clusters)]
        assert found == pytest.approx((weight[:, None] * values).sum(axis=0) / weight.sum(), rel=1e-5)


def test_resampled_means_of_equal_columns_are_equal():
    values = log_losses(np.random.default_rng(2), 500)
    means = resampled_means(np.column_stack([values, values + 0.1, values]), resamples=200)
    assert (means[:, 0] == means[:, 2]).all()
    assert means[:, 1] - means[:, 0] == pytest.approx(0.1, abs=1e-6)


def test_resampled_means_depend_on_the_seed_only():
    values = log_losses(np.random.default_rng(2), 300)
    assert (resampled_means(values, seed=3) == resampled_means(values, seed=3)).all()
    assert (resampled_means(values, seed=3) != resampled_means(values, seed=4)).any()


def test_resampled_means_refuse_no_rows_and_other_clusters():
    with pytest.raises(ValueError, match="no rows"):
        resampled_means([])
    with pytest.raises(ValueError, match="2 clusters for 3 rows"):
        resampled_means([1, 2, 3], ["a", "b"])


@pytest.mark.parametrize("rows", [120, 600])
def test_percentile_interval_agrees_with_scipy(rows):
    values = log_losses(np.random.default_rng(3), rows)
    ours = percentile_interval(resampled_means(values, resamples=20_000)[:, 0])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", batch=500, rng=np.random.default_rng(0)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=width / 30)


def test_standard_error_agrees_with_scipy_and_knows_clusters():
    values = log_losses(np.random.default_rng(4), 200)
    assert standard_errors(values)[0] == pytest.approx(stats.sem(values))
    twice = np.tile(values, 2)  # the same videos again tell nothing new
    assert standard_errors(twice, np.tile(np.arange(200), 2))[0] == pytest.approx(stats.sem(values))
    assert standard_errors(twice)[0] < stats.sem(values) * 0.75


def test_interval_of_equal_values_is_that_value():
    assert mean_interval(np.full(50, 0.25)) == Interval(0.25, 0.25)
    assert mean_interval(np.full(1_000, 0.25), np.arange(1_000) // 2) == Interval(0.25, 0.25)


def test_interval_of_a_single_cluster_is_unknown():
    assert mean_interval([0.3]) is None
    assert mean_interval([0.3, 0.5], ["a", "a"]) is None


def test_interval_is_wider_with_clusters_of_equal_rows():
    values = log_losses(np.random.default_rng(5), 300)
    alone, together = mean_interval(np.repeat(values, 4)), mean_interval(np.repeat(values, 4), np.repeat(range(300), 4))
    assert together.high - together.low > 1.7 * (alone.high - alone.low)


def test_interval_of_many_rows_merges_them():
    values = log_losses(np.random.default_rng(6), 30_000)
    interval = mean_interval(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * stats.sem(values), rel=0.1)
    assert interval.contains(values.mean())


def test_fewest_rows_to_rank_are_those_that_can_show_a_difference_of_a_tenth():
    assert (
        smallest_difference(0.45 / FEWEST_TO_RANK**0.5) <= 0.1 < smallest_difference(0.45 / (FEWEST_TO_RANK - 1) ** 0.5)
    )


def coverage(rows, samples, per_cluster=1, seed=0):
    """The share of samples whose interval contains the true mean; the columns of one table are the samples."""
    random = np.random.default_rng(seed)
    truth = log_losses(random, 4_000_000).mean()
    clusters = np.arange(rows) // per_cluster
    hits = 0
    for start in range(0, samples, 100):
        values = log_losses(random, (rows, 100), skill=1.2)
        intervals = mean_intervals(values, clusters, resamples=1_000, seed=start)
        hits += sum(interval.contains(truth) for interval in intervals)
    return hits / samples


def test_interval_covers_the_true_mean_in_a_small_simulation():
    assert 0.92 <= coverage(250, 600) <= 0.98
    assert coverage(20, 1_000) >= 0.93  # plain quantiles of the means cover 0.87


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "per_cluster"), [(200, 1), (600, 3), (1_000, 1), (4_000, 1), (4_000, 4)])
def test_interval_covers_the_true_mean_in_95_percent_of_samples(rows, per_cluster):
    assert abs(coverage(rows, 4_000, per_cluster) - 0.95) <= 0.015


def test_interval_of_losses_is_not_negative():
    losses = np.array([0.0] * 3 + [34.5])
    (found,) = mean_intervals(losses)
    assert found.low < 0  # the studentised bootstrap does not know what a loss is
    assert within_range(found, losses) == Interval(0.0, found.high)
    assert within_range(found, losses - 1) == found
    assert within_range(None, losses) is None
