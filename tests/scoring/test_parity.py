"""`dfdc parity`: the official metric agrees, another sound one too, and each planted fault is caught where expected."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import DataMissingError, MetricError
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.parity import ParityReport, check_metric

CASES = Path(__file__).parents[1] / "cases" / "metrics"
CHALLENGE = challenges.load()

GROUPS = {"50-digit reference", "scikit-learn", "Public leaderboard", "Row matching", "Rejections", "Purity"}

# file -> names of checks that must fail; "*" before a name: it must be among them, else they are all of them
EXPECTED_FAILURES = {
    "asserts": ["*a row is missing", "*an unknown id, another missing", "*a row twice"],
    "blames-participant": ["a solution with a label of 2"],
    "by-index": ["*submission shuffled, index new", "*solution shuffled, index new"],
    "by-position": ["*submission reversed", "*submission shuffled, index new", "*solution shuffled, index new"],
    "class-balanced": ["*uneven classes"],
    "clip-1e-16": ["*wrong with 0", "*wrong with 1", "*1 - 2**-53"],
    "clip-1e-7": ["*wrong with 0", "*wrong with 1", "*1e-14, 1e-12, 1e-8"],
    "clip-each-side": ["*wrong with 1", "*right with 0 and 1", "*all 1"],
    "clip-left-out": ["*wrong with 0", "*wrong with 1", "*right with 0 and 1"],
    "exits": ["*label is text", "*label above 1"],
    "extra-columns-ignored": ["an extra column"],
    "fixed-column-name": ["row id column of another name"],
    "float-truth": ["solution as float64"],
    "float32": ["*float32", "*float32 0 and 1", "*wrong with 1"],
    "inverted": ["*good predictions", "*bad predictions", "*one row, FAKE"],
    "log-base-2": ["*constant 0.5", "*good predictions", "*constant 0.01"],
    "last-piece-dropped": ["70,001 rows"],
    "losses-by-position": ["mean of losses", *(f"loss of row {at}" for at in range(1, 6))],
    "losses-halved": ["mean of losses", *(f"loss of row {at}" for at in range(1, 6))],
    "losses-turned-round": [f"loss of row {at}" for at in (1, 2, 4, 5)],
    "mean-over-duplicates": ["a row twice", "a row twice, another label"],
    "missing-rows-ignored": ["a row is missing", "no rows at all"],
    "mutates-input": ["good inputs left unchanged", "integer inputs left unchanged"],
    "nan-dropped": ["label is text", "label is empty", "label is NaN"],
    "off-by-a-little": ["*constant 0.5", "*4,000 rows"],
    "out-of-range-clipped": ["*label above 1", "*label below 0", "*label is infinite", "*label just above 1"],
    "plain-exception": ["*label is text", "*label is NaN", "*label above 1"],
    "public-rows-only": ["solution with a column Usage"],
    "random": ["*five calls, one value"],
    "remembers": ["*bad predictions"],
    "returns-float32": ["*constant 0.5"],
    "returns-infinity": ["*constant 0.5"],
    "returns-nan": ["*constant 0.5"],
    "returns-none": ["*constant 0.5"],
    "returns-text": ["*constant 0.5"],
    "rounded": ["*constant 0.5"],
    "says-nothing": ["no label column", "no row id column", "an extra column"],
    "scikit-learn": ["*wrong with 0", "*wrong with 1", "*right with 0 and 1"],
    "sorted-as-text": ["*solution shuffled, index new"],
    "sorts-input": ["*good inputs left unchanged"],
    "sum": ["*constant 0.5", "*4,000 rows"],
    "tolerates-a-little": ["label just above 1", "label just below 0"],
    "unknown-rows-ignored": ["an unknown id, nothing missing"],
}
# failures of checks that another wrong metric fails as well: with -m slow
SIMILAR = {
    "asserts",
    "by-position",
    "clip-1e-16",
    "clip-each-side",
    "clip-left-out",
    "exits",
    "log-base-2",
    "losses-halved",
    "losses-turned-round",
    "nan-dropped",
    "plain-exception",
    "public-rows-only",
    "returns-float32",
    "returns-infinity",
    "returns-none",
    "rounded",
    "scikit-learn",
    "sum",
}
# what the failing line must show
SEEN = {
    "exits": "SystemExit: labels",
    "extra-columns-ignored": "0.3071148221425105",
    "fixed-column-name": "KeyError: 'filename'",
    "inverted": "1.5080716354070594",
    "mutates-input": "changed: submission",
    "plain-exception": "ValueError: labels",
    "returns-float32": "float32 np.float32(0.6931472)",
    "returns-infinity": "inf",
    "returns-nan": "nan",
    "returns-none": "NoneType None",
    "returns-text": "str '0.6931471805599453'",
    "says-nothing": "refused: ",
}


@pytest.fixture(scope="module")
def official() -> ParityReport:
    return check_metric(load_metric(CHALLENGE.metric_path), CHALLENGE)


def test_parity_agrees_for_the_official_metric(official):
    assert [check for check in official.checks if check.ok is False] == []
    assert official.agrees
    groups = {check.group for check in official.checks}
    assert groups == {
        "50-digit reference",
        "scikit-learn",
        "Public leaderboard",
        "Row matching",
        "Rejections",
        "Purity",
    }


def test_parity_agrees_for_another_correct_metric():
    """Parity asks for the metric, not for our file."""
    report = check_metric(load_metric(CASES / "sound.py"), CHALLENGE)
    assert [check for check in report.checks if check.ok is False] == []


def test_parity_ignores_output_and_warnings_of_a_metric(tmp_path, capfd):
    noisy = tmp_path / "noisy.py"
    noise = '    import warnings\n    print("hello")\n    warnings.warn("noise")\n    check_solution('
    noisy.write_text((CASES / "sound.py").read_text().replace("    check_solution(", noise, 1))
    assert check_metric(load_metric(noisy), CHALLENGE).agrees
    assert capfd.readouterr() == ("", "")


def test_every_wrong_metric_has_an_expectation():
    assert {path.stem for path in CASES.glob("*.py")} - {"sound"} == set(EXPECTED_FAILURES)


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[pytest.mark.slow] * (name in SIMILAR)) for name in EXPECTED_FAILURES]
)
def test_parity_finds_a_wrong_metric(fault):
    report = check_metric(load_metric(CASES / f"{fault}.py"), CHALLENGE)
    failed = [check for check in report.checks if check.ok is False]
    names = {check.name for check in failed}
    expected = [name.removeprefix("*") for name in EXPECTED_FAILURES[fault]]
    assert not report.agrees
    assert set(expected) <= names
    if not any(name.startswith("*") for name in EXPECTED_FAILURES[fault]):
        assert names == set(expected)
    assert fault not in SEEN or SEEN[fault] in {check.seen for check in failed}


def test_parity_finds_missing_participant_errors(tmp_path):
    path = tmp_path / "bare.py"
    path.write_text("def score(solution, submission, row_id_column_name):\n    return 0.5\n")
    checks = [check for check in check_metric(load_metric(path), CHALLENGE).checks if check.group == "Rejections"]
    assert {check.ok for check in checks} <= {False, None}
    assert sum(check.ok is False for check in checks) >= 20


def test_scikit_learn_is_required_only_where_it_agrees(official):
    theirs = {check.name: check for check in official.checks if check.group == "scikit-learn"}
    assert theirs["constant 0.5"].ok is True
    assert theirs["wrong with 0"].ok is None
    assert theirs["wrong with 0"].expected.startswith("36.0436")
    assert theirs["wrong with 0"].difference == pytest.approx(34.538776 - 36.043653, abs=1e-6)
    assert theirs["float32 0 and 1"].ok is None
    assert sum(check.ok is True for check in theirs.values()) >= 10


def test_parity_report_has_file_digest_and_machine(official):
    import hashlib

    assert official.metric_sha256 == hashlib.sha256(CHALLENGE.metric_path.read_bytes()).hexdigest()
    assert {"python", "numpy", "pandas", "scikit-learn", "system"} <= set(official.machine)
    constant = next(check for check in official.checks if check.name == "constant 0.5")
    assert Decimal(constant.expected) == Decimal("0.69314718055994530941723212145817656807550013436026")


def test_checking_a_metric_does_not_change_it(official):
    again = check_metric(load_metric(CHALLENGE.metric_path), CHALLENGE)
    assert again.checks == official.checks


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, DataMissingError, "File or folder not found"),
        ("def score(:\n", MetricError, "SyntaxError"),
        ("raise RuntimeError('no')\n", MetricError, "RuntimeError: no"),
        ("value = 1\n", MetricError, "has no function `score`"),
    ],
)
def test_file_that_cannot_be_loaded_is_a_metric_error(tmp_path, source, error, message):
    path = tmp_path / "metric.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(error, match=message):
        load_metric(path)


# --- the command


def test_parity_command_fits_80_columns_and_ends_with_the_verdict(dfdc):
    done = dfdc("parity")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("AGREES with the official metric in all ")
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 80
    assert {line.strip() for line in table} >= GROUPS


def test_parity_command_exits_1_and_names_the_differences(dfdc):
    done = dfdc("parity", "--metric", CASES / "clip-1e-7.py")
    assert done.returncode == 1
    assert "wrong with 0: expected 34.5387763949106" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("DIFFERS from the official metric in ")


def test_parity_command_prints_json(dfdc):
    done = dfdc("parity", "--metric", CASES / "returns-nan.py", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["agrees"]) == (1, False)
    assert any(check["seen"] == "nan" and check["ok"] is False for check in report["checks"])


def test_parity_command_exits_3_for_a_missing_file(dfdc):
    done = dfdc("parity", "--metric", "nowhere.py")
    assert done.returncode == 3
    assert "File or folder not found: nowhere.py" in done.stderr


def test_parity_command_without_unicode(dfdc_process):
    done = dfdc_process("parity", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_metric_that_exits_when_loaded_is_a_metric_error(tmp_path):
    path = tmp_path / "ends.py"
    path.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(MetricError, match=r"ends.py cannot be executed: SystemExit: 0"):
        load_metric(path)
