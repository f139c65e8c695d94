"""Secondary measures agree with scikit-learn and the preview metric; the plots' points are those of all rows."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dfdc_kit import challenge as challenges
from dfdc_kit.scoring.diagnostics import curves, secondary_measures


@pytest.fixture(params=["plain", "ties", "constant"])
def rows(request):
    random = np.random.default_rng(5)
    labels = (random.random(300) < 0.4).astype(np.uint8)
    predicted = np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    if request.param == "ties":
        predicted = predicted.round(1)
    return labels, np.full(300, 0.5) if request.param == "constant" else predicted


def test_secondary_measures_agree_with_scikit_learn(rows):
    found = secondary_measures(*rows)
    assert found.auc == pytest.approx(roc_auc_score(*rows), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(*rows), abs=1e-12)


def test_weighted_precision_is_that_of_the_preview_metric(rows):
    from dfdc_kit.scoring.metric import load_metric

    metric = load_metric(challenges.load("dfdc-preview").metric_path).module
    found = secondary_measures(*rows).ln_weighted_precision
    assert found == {f"{recall:g}": metric.ln_weighted_precision(*rows, recall) for recall in (0.1, 0.5, 0.9)}


def test_secondary_measures_of_one_class_are_undefined_but_for_the_accuracy():
    found = secondary_measures(np.ones(4, np.uint8), np.array([0.9, 0.5, 0.2, 0.8]))
    assert (found.auc, found.average_precision, found.ln_weighted_precision) == (None, None, None)
    assert found.accuracy == 2.5 / 4


def test_curves_keep_ends_and_area_of_the_roc_with_few_points(rows):
    labels, predicted = rows
    roc = curves(labels, predicted, np.ones(len(labels))).roc
    x, y = np.array(roc).T
    assert (roc[0], roc[-1]) == ((0, 0), (1, 1))
    assert len(roc) <= 100
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(secondary_measures(*rows).auc, abs=0.01)


def test_confidence_bins_hold_every_row_and_all_of_the_loss():
    labels, predicted = np.array([1, 0, 1, 1], np.uint8), np.array([1.0, 1.0, 0.55, 0.02])
    losses = np.array([0.0, 30.0, 0.6, 3.9])
    found = curves(labels, predicted, losses).confidence
    assert [(one.low, one.rows, one.wrong) for one in found] == [(0.1, 1, 0), (0.9, 3, 2)]
    assert sum(one.share for one in found) == pytest.approx(1)
    assert found[1].loss == pytest.approx(11.3)
