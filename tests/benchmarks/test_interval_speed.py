"""Resampling 4,000 rows 10,000 times against scipy.stats.bootstrap; a board of 300 submissions with 10,000 rows.

Run: pytest tests/benchmarks/test_interval_speed.py --benchmark-only -s
"""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from dfdc_kit import challenge as challenges
from dfdc_kit.scoring.intervals import resampled_means
from dfdc_kit.scoring.metric import load_metric

ROWS, RESAMPLES = 4_000, 10_000
LIMIT_S, AT_LEAST = 1.0, 20
TEAMS, TEAM_ROWS, TEAM_RESAMPLES = 300, 10_000, 1_000
TEAMS_LIMIT_S, TEAMS_LIMIT_BYTES = 10.0, 2 << 30


def test_resampling_one_submission(benchmark):
    """The same: labels and predictions to intervals of the log loss. Both in one run, on one machine."""
    metric = load_metric(challenges.load().metric_path).module
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 2, ROWS).astype(np.uint8), random.random(ROWS)

    def ours():
        return np.quantile(resampled_means(metric.row_losses(truth, predicted), resamples=RESAMPLES), [0.025, 0.975])

    def theirs():
        return stats.bootstrap(
            (truth, predicted),
            lambda y, p, axis: metric.row_losses(y, p).mean(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval

    interval = benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    started = time.perf_counter()
    reference = theirs()
    theirs_s, ours_s = time.perf_counter() - started, benchmark.stats.stats.min
    benchmark.extra_info.update(ours_s=ours_s, scipy_s=theirs_s, ratio=theirs_s / ours_s)
    print(f"\n{RESAMPLES:,} x {ROWS:,}: {ours_s:.3f} s, scipy {theirs_s:.3f} s, ratio {theirs_s / ours_s:.1f}")
    assert interval == pytest.approx(reference, abs=0.01)
    assert ours_s < LIMIT_S
    assert theirs_s / ours_s >= AT_LEAST


def test_resampling_a_board(benchmark):
    values = np.random.default_rng(0).exponential(size=(TEAM_ROWS, TEAMS))
    means = benchmark.pedantic(resampled_means, (values, None, TEAM_RESAMPLES), rounds=2)
    tracemalloc.start()
    resampled_means(values, None, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\n{TEAMS} x {TEAM_ROWS:,} x {TEAM_RESAMPLES:,}: {benchmark.stats.stats.median:.2f} s, {peak >> 20} MiB")
    assert means.shape == (TEAM_RESAMPLES, TEAMS)
    assert benchmark.stats.stats.median < TEAMS_LIMIT_S
    assert peak < TEAMS_LIMIT_BYTES
