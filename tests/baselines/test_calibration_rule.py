"""calibrate.py of the baselines: at most slightly worse than the constant 0.5, however weak the evidence."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss

from baseline_modules import load

FOLDER = Path(__file__).resolve().parents[2] / "baselines/face-stats"
LN2 = math.log(2)
MAX_EXCESS = 0.01  # log loss over the constant's


calibrate, combine = load(FOLDER, "calibrate", "combine")


# ---------------------------------------------------------------------------------------------------------- simulation


def small_set(
    rng: np.random.Generator, originals: int, signal: float, scale: float
) -> tuple[dict[int, np.ndarray], np.ndarray, np.ndarray]:
    """Held-out logits of six equally good models, labels and originals of pairs of a REAL and a FAKE video.

    signal: distance of the class means in standard deviations; half of the variance is shared within an original.
    """
    original = np.repeat(np.arange(originals), 2)
    y = np.tile([0, 1], originals)
    shared = rng.normal(size=originals)[original]
    logits = {
        model: scale * ((shared + rng.normal(size=len(y))) / math.sqrt(2) + signal * (y - 0.5)) for model in range(6)
    }
    return logits, y, original.astype(str)


def excess_loss(setting, signal: float, scale: float) -> float:
    """Expected loss of the setting minus that of the constant, by integration over the population."""
    z, step = np.linspace(-8, 8, 4001, retstep=True)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * step
    p = calibrate.to_probability(scale * (z + signal / 2), setting.shrinkage, setting.clip)  # of FAKE videos
    return float(density @ -np.log(p)) - LN2  # REAL ones mirror it


@pytest.mark.parametrize("scale", [1.0, 4.0], ids=["calibrated", "overconfident"])
@pytest.mark.parametrize("signal", [0.0, 0.25], ids=["noise", "weak"])
@pytest.mark.parametrize("originals", [8, 12, 20])
@pytest.mark.parametrize("sets", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_small_training_sets_cost_little_over_the_constant(sets: int, originals: int, signal: float, scale: float):
    costs = []
    for seed in range(sets):
        logits, y, original = small_set(np.random.default_rng(seed), originals, signal, scale)
        costs.append(excess_loss(calibrate.choose(logits, y, original), signal, scale))
    assert np.mean(costs) <= MAX_EXCESS
    assert np.mean(costs) <= 0.002  # the observed level


@pytest.mark.parametrize("scale", [1.0, 4.0], ids=["calibrated", "overconfident"])
def test_clear_signal_is_used(scale: float):
    found = []
    for seed in range(5):
        logits, y, original = small_set(np.random.default_rng(seed), 40, 1.5, scale)
        found.append(excess_loss(calibrate.choose(logits, y, original), 1.5, scale))
    assert max(found) < -0.1


REGRESSION = """
import sys; sys.path.insert(0, sys.argv[1])
import json, numpy, train
from calibrate import LN2, losses, to_probability

def costs(signal):
    for seed in range(int(sys.argv[2])):
        rng = numpy.random.default_rng(seed)
        y, originals = numpy.tile([0, 1, 1], 20), numpy.repeat(numpy.arange(20), 3).astype(str)
        shared = rng.normal(size=(20, 27))[numpy.repeat(numpy.arange(20), 3)]
        x = shared + rng.normal(size=(60, 27)) + signal * y[:, None]
        strength, shrinkage, clip = train.tune(x, y, originals)
        y_new = numpy.tile([0, 1], 500)
        new = numpy.sqrt(2) * rng.normal(size=(1000, 27)) + signal * y_new[:, None]
        p = to_probability(train.logits(new, train.fit(x, y, strength)), shrinkage, clip)
        yield float(losses(y_new, p).mean() - LN2)

print(json.dumps({"noise": list(costs(0.0)), "weak": list(costs(0.08)), "strong": list(costs(1.5))}))
"""


def test_training_of_frame_stats_on_small_sets_costs_little_over_the_constant():
    """The training code of frame-stats on 27 features of 60 videos, evaluated on 1,000 new ones."""
    command = [sys.executable, "-B", "-c", REGRESSION, FOLDER.with_name("frame-stats"), "2"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    costs = {name: np.array(values) for name, values in json.loads(done.stdout).items()}
    assert costs["noise"].mean() <= MAX_EXCESS
    assert costs["weak"].mean() <= MAX_EXCESS
    assert costs["strong"].max() < -0.1


# ---------------------------------------------------------------------------------------------------------- properties


labels = arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 1))


@given(y=labels, data=st.data())
def test_wrong_logits_cost_little_over_the_constant_for_any_labels(y: np.ndarray, data: st.DataObject):
    """If all logits are wrong, the chosen setting costs at most MAX_EXCESS on any video."""
    size = data.draw(arrays(np.float64, len(y), elements=st.floats(0.01, 40)))
    setting = calibrate.choose({"wrong": np.where(y == 1, -size, size)}, y, np.arange(len(y)).astype(str))
    assert setting.clip == calibrate.SAFE_CLIP
    p = calibrate.to_probability(np.array([-1e3, 0.0, 1e3]), setting.shrinkage, setting.clip)
    assert (-np.log(np.minimum(p, 1 - p)) - LN2).max() <= MAX_EXCESS


@given(logits=arrays(np.float64, st.integers(2, 20), elements=st.floats(-30, 30), unique=True))
def test_safe_setting_keeps_the_order(logits: np.ndarray):
    setting = calibrate.safe_setting("model", logits)
    p = calibrate.to_probability(np.sort(logits), setting.shrinkage, setting.clip)
    assert (np.diff(p) >= 0).all()
    spread = np.diff(np.sort(logits)) > 1e-6
    assert (np.diff(p)[spread] > 0).all()


@given(
    logits=arrays(np.float64, st.integers(2, 20), elements=st.floats(-30, 30), unique=True),
    shrinkage=st.sampled_from(calibrate.SHRINKAGES),
    clip=st.sampled_from([*calibrate.CLIPS, calibrate.SAFE_CLIP]),
)
def test_clipping_keeps_the_order(logits: np.ndarray, shrinkage: float, clip: float):
    ordered = np.sort(logits)
    p = calibrate.to_probability(ordered, shrinkage, clip)
    assert (clip < p).all()
    assert (p < 1 - clip).all()
    assert (np.diff(p) >= 0).all()
    assert (np.diff(p)[np.diff(ordered) > 1e-3] > 0).all()


def test_probabilities_inside_the_knee_are_those_of_a_sigmoid():
    z = np.linspace(-1, 1, 9) * calibrate.KNEE * math.log(0.9 / 0.1)
    assert (calibrate.to_probability(z, 1.0, 0.1) == 1 / (1 + np.exp(-z))).all()


@pytest.mark.parametrize(("fakes", "reals", "enough"), [(3, 1, False), (30, 9, False), (9, 30, False), (10, 10, True)])
def test_perfect_ranking_of_too_few_originals_gives_the_safe_setting(fakes: int, reals: int, enough: bool):
    """With one REAL among four held-out videos, an AUC of 1 is no evidence."""
    y = np.repeat([1, 0], [fakes, reals])
    originals = np.arange(len(y)).astype(str)
    setting = calibrate.choose({"perfect": np.where(y == 1, 4.0, -4.0)}, y, originals)
    assert (setting.clip != calibrate.SAFE_CLIP) == enough
    sentence = f"Held out: {fakes} originals with a FAKE and {reals} with a REAL video; 10 of each are needed."
    assert calibrate.too_few_originals(y, originals) == ("" if enough else sentence)


def test_one_class_or_zero_logits_give_the_safe_setting():
    y = np.ones(6, dtype=np.int64)
    assert calibrate.choose({"a": np.full(6, 9.0)}, y, np.arange(6).astype(str)).clip == calibrate.SAFE_CLIP
    assert calibrate.safe_setting("a", np.zeros(3)).shrinkage == 0


def test_videos_of_one_original_count_as_one_observation():
    y = np.tile([0, 1], 30)
    correct = np.where(y == 1, 1.0, -1.0)
    many = calibrate.choose({"a": correct}, y, np.repeat(np.arange(30), 2).astype(str))
    one = calibrate.choose({"a": correct}, y, np.zeros(60).astype(str))
    assert many.clip != calibrate.SAFE_CLIP
    assert one.shrinkage <= many.shrinkage


def test_losses_agree_with_scikit_learn():
    y, p = np.array([0, 1, 1, 0, 1]), np.array([0.2, 0.7, 0.4, 0.9, 0.5])
    assert calibrate.losses(y, p).mean() == pytest.approx(log_loss(y, p))
    weight = calibrate.weights(y)
    assert weight[y == 0].sum() == pytest.approx(0.5)
    assert weight @ calibrate.losses(y, p) == pytest.approx(log_loss(y, p, sample_weight=weight))


# ----------------------------------------------------------------------------------------------------- combining frames


def test_rules_on_known_frames():
    p = np.array([0.1, 0.9, 0.9, 0.95, 0.6])
    assert combine.mean(p) == pytest.approx(0.69)
    assert combine.confident_mean(p) == pytest.approx((0.9 + 0.9 + 0.95) / 3)  # three of five are confidently fake
    assert combine.confident_mean(np.array([0.1, 0.15, 0.05])) == pytest.approx(0.1)
    assert combine.confident_mean(np.array([0.1, 0.15, 0.5])) == pytest.approx(0.25)  # two of three are fewer than 90 %
    assert combine.trimmed_mean(p) == pytest.approx(0.8)  # without 0.1 and 0.95
    assert combine.median(p) == 0.9
    assert combine.mean_logit(np.array([0.2, 0.8])) == pytest.approx(0.5)
    distance = np.array([0.8, 0.2])
    sharpened = 0.5 + np.array([1, -1]) * distance**0.65 / 2
    assert combine.power_weighted_mean(np.array([0.9, 0.4])) == pytest.approx(sharpened @ distance / 1, abs=1e-5)


@pytest.mark.parametrize("rule", combine.RULES.values(), ids=combine.RULES)
@given(p=arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1)))
def test_rules_return_a_probability_and_ignore_the_order(rule, p: np.ndarray):
    found = rule(p)
    assert 0 <= found <= 1
    assert rule(p[::-1]) == pytest.approx(found, abs=1e-9)
    assert rule(np.full(3, 0.5)) == pytest.approx(0.5)


@pytest.mark.parametrize("rule", combine.RULES.values(), ids=combine.RULES)
@given(p=arrays(np.float64, st.integers(1, 40), elements=st.floats(0.001, 0.999)))
def test_rules_treat_both_classes_alike(rule, p: np.ndarray):
    """Except for the confident mean, which needs less agreement for FAKE than for REAL."""
    if rule is not combine.confident_mean:
        assert rule(1 - p) == pytest.approx(1 - rule(p), abs=1e-6)
