"""`dfdc parity --official`: a score that Kaggle displayed is reproduced, or the variant that gives it is named."""

import json
from decimal import Decimal

import numpy as np
import pytest

from dfdc_kit.scoring.metric import displayed

NAMES = [f"{at:02}.mp4" for at in range(40)]
TRUTH = np.arange(40) % 3 % 2
PREDICTED = np.random.default_rng(1).beta(2, 2, 40).round(4)
PREDICTED[:4] = 1.0, 0.0, 0.0, 1.0  # wrong, wrong, right, right


def loss(truth, predicted, epsilon=1e-15):
    p = np.clip(np.asarray(predicted, float), epsilon, 1 - epsilon)
    return float(-np.mean(np.where(np.asarray(truth) == 1, np.log(p), np.log(1 - p))))


@pytest.fixture
def parity(dfdc, tmp_path):
    def call(official, names=NAMES, predicted=PREDICTED, truth=TRUTH):
        (tmp_path / "solution.csv").write_text(
            "filename,label\n" + "".join(f"{name},{one}\n" for name, one in zip(NAMES, truth, strict=True))
        )
        (tmp_path / "mine.csv").write_text(
            "filename,label\n" + "".join(f"{name},{float(p)!r}\n" for name, p in zip(names, predicted, strict=True))
        )
        value = official if isinstance(official, str) else displayed(float(official))
        done = dfdc("parity", "--submission", "mine.csv", "--solution", "solution.csv", "--official", value, "--json")
        return done.returncode, json.loads(done.stdout)

    return call


def test_official_score_matches_the_truncated_value(parity):
    code, match = parity(loss(TRUTH, PREDICTED))
    assert (code, match["matches"], match["rounded"], match["variants"]) == (0, True, False, [])


def test_official_score_matches_the_rounded_value_and_says_so(parity):
    value = loss(TRUTH, PREDICTED)
    digits = next(n for n in range(3, 9) if f"{value:.{n}f}" != displayed(value, n))
    code, match = parity(f"{value:.{digits}f}")
    assert (code, match["matches"], match["rounded"]) == (0, True, True)


@pytest.mark.parametrize(
    ("variant", "value"),
    [
        ("labels inverted (1 means REAL)", loss(1 - TRUTH, PREDICTED)),
        ("clip at 1e-7", loss(TRUTH, PREDICTED, 1e-7)),
        ("logarithm to base 2", loss(TRUTH, PREDICTED) / np.log(2)),
        ("logarithm to base 10", loss(TRUTH, PREDICTED) / np.log(10)),
        ("predictions rounded to 0 and 1", loss(TRUTH, PREDICTED > 0.5)),
        ("float32 with clip at its epsilon 1.2e-7", loss(TRUTH, PREDICTED, 2.0**-23)),
    ],
)
def test_official_score_of_another_formula_is_named(parity, variant, value):
    code, match = parity(value)
    assert code == 1
    assert variant in [one["name"] for one in match["variants"]]


def test_official_score_of_rows_matched_by_position_is_named(parity):
    code, match = parity(loss(TRUTH, PREDICTED), names=NAMES[::-1])
    assert code == 1
    assert match["variants"][0]["name"] == "rows matched by position instead of by name"


def test_official_score_with_missing_rows_filled_is_named_although_the_metric_refuses_the_file(parity):
    code, match = parity(loss(TRUTH, [*PREDICTED[:-2], 0.5, 0.5]), names=NAMES[:-2], predicted=PREDICTED[:-2])
    assert (code, match["ours"], match["refused"]) == (1, None, "2 missing rows")
    assert match["variants"][0]["name"] == "missing rows as 0.5"


def test_official_score_with_the_mean_of_repeated_rows_is_named(parity):
    predicted = PREDICTED.copy()
    predicted[9] = (0.1 + 0.7) / 2
    given = [*PREDICTED[:9], 0.1, *PREDICTED[10:], 0.7]
    code, match = parity(loss(TRUTH, predicted), names=[*NAMES, NAMES[9]], predicted=given)
    assert (code, match["refused"]) == (1, "1 repeated row")
    assert [one["name"] for one in match["variants"]] == ["mean of repeated rows"]


def test_official_score_with_unknown_rows_left_out_is_named(parity):
    code, match = parity(loss(TRUTH, PREDICTED), names=[*NAMES, "more.mp4"], predicted=[*PREDICTED, 0.5])
    assert (code, match["ours"], match["refused"]) == (1, None, "1 unknown row")
    assert [one["name"] for one in match["variants"]] == ["unknown rows left out"]


def test_official_score_that_no_variant_gives_names_the_nearest(parity):
    code, match = parity(str(Decimal(displayed(loss(TRUTH, PREDICTED))) + Decimal("0.00003")))
    assert (code, match["variants"], match["nearest"]["name"]) == (1, [], "")


def test_official_score_needs_all_three_options_and_a_number(dfdc, tmp_path):
    assert dfdc("parity", "--official", "0.4").returncode == 2
    (tmp_path / "a.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\n")
    done = dfdc("parity", "--official", "nan", "--submission", "a.csv", "--solution", "a.csv")
    assert done.returncode == 2
    assert "expected the displayed score" in done.stderr


def test_official_score_with_few_digits_fits_several_variants_and_the_command_says_so(dfdc, parity):
    parity("0.7", names=NAMES[:-2], predicted=PREDICTED[:-2])  # writes the files
    done = dfdc("parity", "--submission", "mine.csv", "--solution", "solution.csv", "--official", "1")
    assert done.returncode == 1
    assert done.stdout.count("would match: ") > 1
    assert "More than one variant fits" in done.stdout
