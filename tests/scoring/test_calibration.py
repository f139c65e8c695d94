"""Calibration: the parts of the log loss, gains that no row's own value decides, and a CSV that keeps its rows."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import log_loss

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import DataError
from dfdc_kit.scoring.calibration import (
    Recalibration,
    calibration_report,
    cross_validated,
    fold_of_cluster,
    loss_parts,
    reliability,
    row_losses,
)
from dfdc_kit.scoring.metric import load_metric

METRIC = load_metric(challenges.load().metric_path)


def rows(count=1200, temperature=1.0, seed=3):
    """Labels, and predictions that are calibrated at this temperature; four rows of each cluster."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, count)
    labels = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    return labels, 1 / (1 + np.exp(-logit * temperature)), [str(at // 4) for at in range(count)]


def test_parts_of_the_loss_add_up_and_calibration_is_small_for_calibrated_predictions():
    labels, predicted, _ = rows(4000)
    parts = loss_parts(labels, predicted)
    assert parts.loss == pytest.approx(log_loss(labels, predicted), abs=1e-12)
    assert parts.loss == pytest.approx(parts.calibration + parts.refinement, abs=1e-12)
    assert parts.refinement == pytest.approx(parts.uncertainty - parts.discrimination, abs=1e-12)
    assert 0 <= parts.calibration < 0.01 < loss_parts(labels, predicted**3).calibration


def test_refinement_does_not_depend_on_the_scale_of_predictions():
    labels, predicted, _ = rows()
    assert loss_parts(labels, predicted**3).refinement == pytest.approx(loss_parts(labels, predicted).refinement)


def test_temperature_of_overconfident_predictions_is_found_and_gains():
    labels, predicted, clusters = rows(temperature=3.0)
    report = calibration_report(labels, predicted, clusters)
    gain = next(one for one in report.gains if one.method == "temperature")
    assert 2 < gain.fitted.temperature < 4.5
    assert gain.interval.low > 0
    assert gain.gain == pytest.approx(report.parts.loss - gain.loss)
    assert report.gains[0].gain == max(one.gain for one in report.gains)


def test_calibrated_predictions_gain_nothing_for_certain():
    report = calibration_report(*rows())
    assert all(one.interval.low <= 0.001 for one in report.gains)


def test_gain_of_a_fold_does_not_depend_on_its_own_labels():
    """The value for a fold is chosen on the others: changing the fold's labels must not change it."""
    labels, predicted, _ = rows(temperature=3.0)
    codes = np.arange(len(labels)) // 4
    folds = fold_of_cluster(codes.max() + 1)[codes]
    before = cross_validated("temperature and clip", labels, predicted, codes, folds)
    changed = np.where(folds == 2, 1 - labels, labels).astype(np.uint8)
    after = cross_validated("temperature and clip", changed, predicted, codes, folds)
    assert after.chosen[2] == before.chosen[2]
    assert after.chosen != before.chosen


def test_folds_keep_clusters_whole_and_are_of_equal_size():
    folds = fold_of_cluster(103)
    assert np.bincount(folds).tolist() == [21, 21, 21, 20, 20]
    assert fold_of_cluster(3).max() == 2


def test_recalibration_keeps_the_order_and_the_range():
    p = np.array([0.0, 1e-9, 0.2, 0.5, 0.9, 1.0])
    for one in (Recalibration(2.0), Recalibration(0.25), Recalibration(clip=0.1), Recalibration(3.0, 0.05)):
        changed = one.apply(p)
        assert (np.diff(changed) >= 0).all()
        assert ((changed >= one.clip) & (changed <= 1 - one.clip)).all()
        assert changed[3] == pytest.approx(0.5)
    assert (Recalibration().apply(p) == p).all()


def test_reliability_counts_every_row_once_with_its_share_of_positives():
    labels, predicted, _ = rows(500)
    predicted[:2] = 0.0, 1.0
    bins = reliability(labels, predicted)
    assert sum(one.rows for one in bins) == 500
    assert sum(one.rows * one.observed for one in bins) == pytest.approx(labels.sum())
    assert all(one.low <= one.predicted <= one.high for one in bins)
    assert all(one.interval[0] <= one.observed <= one.interval[1] for one in bins)


def test_losses_are_the_metric_s_own():
    labels, predicted, _ = rows(50)
    predicted[:4] = 0, 1, 0, 1
    assert (row_losses(labels, predicted) == METRIC.module.row_losses(labels, predicted)).all()


def test_calibration_of_one_class_or_one_cluster_is_an_error():
    labels, predicted, clusters = rows(40)
    with pytest.raises(DataError, match="both classes"):
        calibration_report(np.ones_like(labels), predicted, clusters)
    with pytest.raises(DataError, match="1 video"):
        calibration_report(labels, predicted, ["a"] * 40)


@pytest.fixture
def files(tmp_path):
    labels, predicted, clusters = rows(200, temperature=4.0)
    names = [f"v{at:03}.mp4" for at in range(200)]
    metadata = {
        name: {"label": "FAKE" if fake else "REAL", "original": f"o{cluster}.mp4" if fake else None}
        for name, fake, cluster in zip(names, labels.tolist(), clusters, strict=True)
    }
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    text = "".join(f"{name},{float(p)!r}\n" for name, p in zip(names[::-1], predicted[::-1], strict=True))
    (tmp_path / "mine.csv").write_text("filename,label\n" + text)
    return tmp_path


def test_calibrate_predictions_writes_a_csv_with_the_same_rows(dfdc, files):
    done = dfdc("calibrate-predictions", "mine.csv", "--solution", "metadata.json", "--out", "new.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["report"]["clustered_by"] == "original"
    old, new = (list(csv.DictReader((files / name).read_text().splitlines())) for name in ("mine.csv", "new.csv"))
    assert [row["filename"] for row in new] == [row["filename"] for row in old]
    fitted = Recalibration(**found["report"]["gains"][0]["fitted"])
    assert [float(row["label"]) for row in new] == fitted.apply(np.array([float(row["label"]) for row in old])).tolist()


def test_calibrate_predictions_prints_parts_table_and_gains(dfdc, files):
    done = dfdc("calibrate-predictions", "mine.csv", "--solution", "metadata.json")
    assert done.returncode == 0, done.stderr
    for text in ("calibration", "refinement", "cross-validated in 5 folds by original", "temperature and clip"):
        assert text in done.stdout


def test_calibrate_predictions_does_not_overwrite_its_input(dfdc, files):
    before = (files / "mine.csv").read_bytes()
    done = dfdc("calibrate-predictions", "mine.csv", "--solution", "metadata.json", "--out", "mine.csv")
    assert done.returncode == 2
    assert (files / "mine.csv").read_bytes() == before


def test_calibrate_predictions_without_labels_says_what_to_name(dfdc, files):
    done = dfdc("calibrate-predictions", "mine.csv")
    assert done.returncode == 2
    assert "--solution PATH" in done.stderr


def test_nothing_is_changed_where_no_change_helps():
    labels = np.tile(np.array([0, 1], np.uint8), 20)
    report = calibration_report(labels, np.full(40, 0.5), np.arange(40))
    assert {(one.temperature, one.clip) for gain in report.gains for one in (gain.fitted, *gain.chosen)} == {(1.0, 0.0)}
