"""10 million rows: the official metric against scikit-learn, on the same arrays.

Run: pytest tests/benchmarks --benchmark-only -s
"""

import time

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.scoring.metric import load_metric

ROWS = 10_000_000
AT_LEAST = 20


def test_ten_million_rows(benchmark):
    """Both in one run, on one machine: a ratio, so a slow machine does not make it fail."""
    from sklearn.metrics import log_loss

    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 2, ROWS), random.random(ROWS)
    ours = load_metric(challenges.load().metric_path).module.log_loss
    value = benchmark.pedantic(ours, (truth, predicted), rounds=5, warmup_rounds=1)
    started = time.perf_counter()
    theirs = log_loss(truth, predicted)
    theirs_s = time.perf_counter() - started
    ours_s = benchmark.stats.stats.median
    benchmark.extra_info.update(rows=ROWS, ours_s=ours_s, scikit_learn_s=theirs_s, ratio=theirs_s / ours_s)
    print(
        f"\n{ROWS:,} rows: {ours_s * 1000:.0f} ms, scikit-learn {theirs_s * 1000:.0f} ms, ratio {theirs_s / ours_s:.1f}"
    )
    assert value == pytest.approx(theirs, rel=1e-12)
    assert theirs_s / ours_s >= AT_LEAST
