"""The official metric: its values against independent references, its laws, its refusals, its script."""

import ast
import doctest
import importlib.util
import math
import runpy
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss

from dfdc_kit.scoring import golden_vectors
from dfdc_kit.scoring.contract import ABSOLUTE, RELATIVE
from dfdc_kit.scoring.golden_vectors import GOLDEN, LEADERBOARD, reference
from dfdc_kit.scoring.metric import displayed

FILE = Path(__file__).resolve().parents[2] / "evaluate.py"
spec = importlib.util.spec_from_file_location("official_metric", FILE)
evaluate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(evaluate)
ParticipantVisibleError = evaluate.ParticipantVisibleError


def solution(*labels, **more):
    return pd.DataFrame({"filename": [f"{i:03d}.mp4" for i in range(len(labels))], "label": labels, **more})


def score(truth, predicted, dtype=None):
    frame = solution(*truth)
    return evaluate.score(frame, frame.assign(label=pd.Series(predicted, dtype=dtype)), "filename")


# --- values


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector.name)
def test_golden_vector(vector):
    expected = golden_vectors.expected(vector)
    off = abs(Decimal(score(vector.labels, vector.predicted, vector.dtype)) - expected)
    assert off <= ABSOLUTE + RELATIVE * expected


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector.name)
def test_reference_agrees_with_mpmath_to_45_digits(vector):
    """The reference is `decimal`; mpmath computes its logarithms in another way."""
    with mpmath.workdps(60):
        low, high = mpmath.mpf(1e-15), mpmath.mpf(1 - 1e-15)
        losses = []
        for (y, predicted), rows in Counter(zip(vector.labels, vector.predicted, strict=True)).items():
            p = min(max(mpmath.mpf(predicted), low), high)
            losses.append(-rows * mpmath.log(p if y else 1 - p))
        expected = mpmath.fsum(losses) / len(vector.labels)
        ours = mpmath.mpf(str(golden_vectors.expected(vector)))
        assert abs(ours / expected - 1) < mpmath.mpf(10) ** -45


def test_golden_vectors_hold_what_their_dtype_says():
    for vector in GOLDEN:
        held = np.asarray(vector.predicted).astype(vector.dtype).astype(float).tolist()
        assert held == list(vector.predicted), vector.name
    assert len({vector.name for vector in GOLDEN}) == len(GOLDEN)


def test_golden_vectors_cover_the_hard_places():
    everywhere = {p for vector in GOLDEN for p in vector.predicted}
    assert {0.0, 1.0, 1e-15, 1 - 1e-15, math.nextafter(1e-15, 0), math.nextafter(1e-15, 1), 5e-324, 0.5} <= everywhere
    assert {1} in [set(vector.labels) for vector in GOLDEN if len(vector.labels) > 1]
    assert {0} in [set(vector.labels) for vector in GOLDEN if len(vector.labels) > 1]
    assert 1 in {len(vector.labels) for vector in GOLDEN}
    assert {vector.dtype for vector in GOLDEN} == {"float64", "float32", "int64"}


def test_reference_does_not_import_numpy():
    names = {
        alias.name
        for node in ast.walk(ast.parse(Path(golden_vectors.__file__).read_text()))
        for alias in getattr(node, "names", [])
    }
    assert not names & {"numpy", "pandas", "mpmath", "evaluate"}


@pytest.mark.parametrize(
    ("truth", "predicted", "value"),
    [
        ((1,), (0.0,), "34.538776"),
        ((0,), (1.0,), "34.539575"),  # 34.5395759...: 1 - 1e-15 rounds
        ((1, 0), (0.0, 0.0), "17.269388"),
        ((1, 0), (1.0, 1.0), "17.269787"),  # 17.2697879...
        ((1, 0), (0.5, 0.5), "0.693147"),
    ],
)
def test_figures_written_in_the_documents(truth, predicted, value):
    assert displayed(score(truth, predicted), 6) == value


@pytest.mark.parametrize(("constant", "shown"), LEADERBOARD)
def test_public_leaderboard(constant, shown):
    assert displayed(score([1, 0] * 2000, [constant] * 4000)) == shown


def test_public_leaderboard_tells_truncation_from_rounding():
    rounded = {shown: f"{score([1, 0], [constant] * 2):.5f}" for constant, shown in LEADERBOARD}
    assert rounded == {"0.69314": "0.69315", "0.71355": "0.71356", "2.30761": "2.30761", "1.24615": "1.24615"}


@pytest.mark.parametrize(
    "vector", [v for v in GOLDEN if v.dtype == "float64" and v.inside_the_clip], ids=lambda v: v.name
)
def test_scikit_learn_agrees_inside_the_clip(vector):
    theirs = sklearn_log_loss(vector.labels, vector.predicted, labels=[0, 1])
    assert score(vector.labels, vector.predicted) == pytest.approx(theirs, rel=1e-14)


def test_scikit_learn_does_not_agree_beyond_it():
    assert sklearn_log_loss([1], [0.0], labels=[0, 1]) == pytest.approx(36.0437, abs=1e-4)
    assert sklearn_log_loss([1], np.float32([0.0]), labels=[0, 1]) == pytest.approx(15.9424, abs=1e-4)


def test_float32_predictions_are_cast_before_the_clip():
    assert score((0,), (1.0,), "float32") == score((0,), (1.0,))
    assert score((1, 0), (0.1, 0.1), "float32") == score((1, 0), (float(np.float32(0.1)),) * 2)
    assert evaluate.log_loss(np.array([0]), np.array([1], np.float32)) == score((0,), (1.0,))


def test_more_rows_than_a_chunk():
    rows = 2 * evaluate.CHUNK_ROWS + 7
    truth, predicted = np.arange(rows) % 2, (np.arange(rows) % 997 + 1) / 999
    expected = (
        math.fsum(-math.log(p if y else 1 - p) for y, p in zip(truth.tolist(), predicted.tolist(), strict=True)) / rows
    )
    assert evaluate.log_loss(truth, predicted) == pytest.approx(expected, rel=1e-14)


# --- laws

ROWS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40)
law = settings(deadline=None, max_examples=60)


def frames(rows):
    truth = solution(*[y for y, _ in rows])
    return truth, truth.assign(label=[p for _, p in rows])


@law
@given(ROWS)
def test_score_is_the_reference(rows):
    truth, predicted = zip(*rows, strict=True)
    expected = reference(truth, predicted)
    assert abs(Decimal(score(truth, predicted)) - expected) <= ABSOLUTE + RELATIVE * expected


@law
@given(ROWS, st.randoms(use_true_random=False))
def test_row_order_never_matters(rows, random):
    truth, guess = frames(rows)
    order = random.sample(range(len(rows)), len(rows))
    value = evaluate.score(truth, guess, "filename")
    assert evaluate.score(truth, guess.iloc[order], "filename") == value
    assert evaluate.score(truth, guess.iloc[order].reset_index(drop=True), "filename") == value
    assert evaluate.score(truth.iloc[order], guess, "filename") == pytest.approx(value, rel=1e-13)


@law
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 1023)), min_size=1, max_size=40))
def test_score_of_the_complement(rows):
    """To predict 1 - p of the other class is the same bet. (Eighths and the like: 1 - p is exact.)"""
    truth, predicted = [y for y, _ in rows], [p / 1024 for _, p in rows]
    assert score(truth, predicted) == score([1 - y for y in truth], [1 - p for p in predicted])


@law
@given(ROWS)
def test_score_is_within_its_bounds(rows):
    assert 9.9e-16 < score(*zip(*rows, strict=True)) < 34.5396


@law
@given(st.integers(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_closer_prediction_never_costs_more(y, one, other):
    near, far = sorted((one, other), key=lambda p: abs(y - p))
    assert score([y], [near]) <= score([y], [far]) + 1e-15


@law
@given(ROWS, st.data())
def test_parts_average_to_the_score(rows, data):
    truth, guess = frames(rows)
    first = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    parts = [np.flatnonzero(np.array(first) == side) for side in (True, False)]
    total = math.fsum(len(p) * evaluate.score(truth.iloc[p], guess.iloc[p], "filename") for p in parts if len(p))
    assert total / len(rows) == pytest.approx(evaluate.score(truth, guess, "filename"), rel=1e-12)


@law
@given(ROWS)
def test_mean_of_the_losses_is_the_score(rows):
    truth, guess = frames(rows)
    losses = evaluate.losses(truth, guess[::-1], "filename")
    assert losses.index.tolist() == truth["filename"].tolist()
    assert losses.mean() == pytest.approx(evaluate.score(truth, guess, "filename"), rel=1e-12)


# --- Usage


def test_ignored_rows_cost_nothing():
    truth = solution(1, 0, 1, Usage=["Public", "Ignored", "Private"])
    guess = truth[["filename"]].assign(label=[0.9, 1.0, 0.7])
    assert evaluate.score(truth, guess, "filename") == score((1, 1), (0.9, 0.7))
    assert list(evaluate.losses(truth, guess, "filename").index) == ["000.mp4", "002.mp4"]


def test_ignored_rows_must_be_present():
    truth = solution(1, 0, Usage=["Public", "Ignored"])
    with pytest.raises(ParticipantVisibleError, match=r"Missing id in 1 row\(s\), first: 001\.mp4"):
        evaluate.score(truth, pd.DataFrame({"filename": ["000.mp4"], "label": [0.5]}), "filename")


# --- refusals

TRUTH = solution(1, 0, 1, 0, 1)
GUESS = TRUTH.assign(label=[0.9, 0.2, 0.8, 0.3, 0.7])


def labels(*first, dtype=None):
    values = [*first, 0.2, 0.8, 0.3, 0.7, 0.6][:5]
    return GUESS.assign(label=pd.Series(values, dtype=dtype))


REFUSALS = {
    "missing": (GUESS[2:], "Missing id in 2 row(s), first: 000.mp4, 001.mp4"),
    "no rows": (GUESS[:0], "Missing id in 5 row(s), first: 000.mp4, 001.mp4, 002.mp4"),
    "duplicate": (pd.concat([GUESS, GUESS[:2]]), "Duplicate id in 2 row(s), first: 000.mp4, 001.mp4"),
    "unknown": (
        pd.concat([GUESS, pd.DataFrame({"filename": ["x.mp4"], "label": [0.5]})]),
        "Unknown id in 1 row(s), first: x.mp4",
    ),
    "case of an id": (
        GUESS.assign(filename=["000.MP4", *GUESS["filename"][1:]]),
        "Missing id in 1 row(s), first: 000.mp4\nUnknown id in 1 row(s), first: 000.MP4",
    ),
    "empty id": (
        GUESS.assign(filename=[*GUESS["filename"][:4], None]),
        "Missing id in 1 row(s), first: 004.mp4\nUnknown id in 1 row(s), first: (empty)",
    ),
    "text": (
        labels("FAKE", "0,5", dtype=object),
        "Label is not a number in 2 row(s), first: 000.mp4 (FAKE), 001.mp4 (0,5)",
    ),
    "True": (
        labels(True, False, dtype=object),
        "Label is not a number in 2 row(s), first: 000.mp4 (True), 001.mp4 (False)",
    ),
    "all True": (
        GUESS.assign(label=True),
        "Label is not a number in 5 row(s), first: 000.mp4 (True), 001.mp4 (True), 002.mp4 (True)",
    ),
    "date": (
        GUESS.assign(label=pd.Timedelta(0)),
        "Label is not a number in 5 row(s), first: 000.mp4 (0 days 00:00:00), "
        "001.mp4 (0 days 00:00:00), 002.mp4 (0 days 00:00:00)",
    ),
    "complex": (labels(0.5 + 0j, dtype=object), "Label is not a number in 1 row(s), first: 000.mp4 ((0.5+0j))"),
    "1_0": (labels("1_0", "１", dtype=object), "Label is not a number in 2 row(s), first: 000.mp4 (1_0), 001.mp4 (１)"),
    "huge integer": (
        labels(10**400, dtype=object),
        f"Label is not a number in 1 row(s), first: 000.mp4 (1{'0' * 39})",
    ),
    "long text": (labels("x" * 999, dtype=object), f"Label is not a number in 1 row(s), first: 000.mp4 ({'x' * 40})"),
    "empty": (labels(None, "", dtype=object), "Empty or NaN label in 2 row(s), first: 000.mp4, 001.mp4"),
    "NaN": (labels(math.nan), "Empty or NaN label in 1 row(s), first: 000.mp4"),
    "NA": (labels(pd.NA, dtype="Float64"), "Empty or NaN label in 1 row(s), first: 000.mp4"),
    "text nan": (labels("nan", dtype=object), "Label is not a number in 1 row(s), first: 000.mp4 (nan)"),
    "infinite": (labels(math.inf, -math.inf), "Infinite label in 2 row(s), first: 000.mp4 (inf), 001.mp4 (-inf)"),
    "outside": (
        labels(1.5, -0.25, math.nextafter(1, 2), -5e-324),
        "Label outside [0, 1] in 4 row(s), first: 000.mp4 (1.5), 001.mp4 (-0.25), 002.mp4 (1.0000000000000002)",
    ),
    "no label": (GUESS[["filename"]], "Missing column(s): label; expected exactly: filename,label"),
    "no id": (GUESS[["label"]], "Missing column(s): filename; expected exactly: filename,label"),
    "extra column": (GUESS.assign(Usage="Public"), "Unexpected column(s): Usage; expected exactly: filename,label"),
    "other names": (
        GUESS.set_axis(["Filename", "label "], axis=1),
        "Missing column(s): filename, label; expected exactly: filename,label\n"
        "Unexpected column(s): Filename, label ; expected exactly: filename,label",
    ),
    "label twice": (
        pd.concat([GUESS, GUESS[["label"]]], axis=1),
        "Repeated column(s): label; expected exactly: filename,label",
    ),
    "all at once": (
        pd.DataFrame({"filename": ["000.mp4", "000.mp4", "x"], "label": [2.0, math.nan, math.inf]}),
        "Missing id in 4 row(s), first: 001.mp4, 002.mp4, 003.mp4\n"
        "Duplicate id in 1 row(s), first: 000.mp4\n"
        "Unknown id in 1 row(s), first: x\n"
        "Empty or NaN label in 1 row(s), first: 000.mp4\n"
        "Infinite label in 1 row(s), first: x (inf)\n"
        "Label outside [0, 1] in 1 row(s), first: 000.mp4 (2.0)",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_names_the_rule_the_count_and_the_first_ids(name):
    broken, message = REFUSALS[name]
    with pytest.raises(ParticipantVisibleError) as caught:
        evaluate.score(TRUTH, broken, "filename")
    assert str(caught.value) == message


def test_refusal_names_ids_whatever_the_index_is():
    with pytest.raises(ParticipantVisibleError, match=r"^Missing id in 2 row\(s\), first: 000\.mp4, 001\.mp4$"):
        evaluate.score(TRUTH.set_axis([7] * 5), GUESS[2:].set_axis([1, 1, 1]), "filename")
    message = r"^Label outside \[0, 1\] in 2 row\(s\), first: 000\.mp4 \(2\.0\), 001\.mp4 \(3\.0\)$"
    with pytest.raises(ParticipantVisibleError, match=message):
        evaluate.score(TRUTH, labels(2, 3).set_axis([1] * 5), "filename")


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (TRUTH.assign(label=2), "label is 0 or 1"),
        (TRUTH.assign(label=math.nan), "label is 0 or 1"),
        (TRUTH.assign(filename="a.mp4"), "filename is given and unique"),
        (TRUTH.assign(filename=[None, "a", "b", "c", "d"]), "filename is given and unique"),
        (TRUTH.assign(filename=[1, "1", 2, 3, 4]), "filename is given and unique"),
        (TRUTH.assign(Usage="public"), "Usage is Public, Private or Ignored"),
        (TRUTH.assign(Usage="Ignored"), "at least one row counts"),
        (TRUTH[:0], "at least one row counts"),
        (TRUTH[["label"]], "no column filename"),
    ],
)
def test_broken_solution_is_not_blamed_on_the_participant(broken, rule):
    with pytest.raises(ValueError, match=rule):
        evaluate.score(broken, GUESS, "filename")


@pytest.mark.parametrize("change", [lambda x: x.astype(str), lambda x: x.astype(object), lambda x: x.map(Decimal)])
def test_numbers_of_any_type_are_read_exactly(change):
    """pandas before 3.0 parses 0.9999999999999989 wrongly; one step there is worth a tenth of a nat."""
    values = pd.Series([0.9999999999999989, 1 - 2**-49, 0.1, 1e-14, 0.30000000000000004])
    assert evaluate.score(TRUTH, GUESS.assign(label=change(values)), "filename") == score(TRUTH["label"], values)


# --- the file


def test_metric_file_is_self_contained_and_short():
    source = FILE.read_text("utf-8")
    tree = ast.parse(source)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in modules} - {"numpy", "pandas"} <= set(sys.stdlib_module_names)
    assert len(source.splitlines()) <= 175


def test_doctest():
    result = doctest.testmod(evaluate)
    assert result.failed == 0
    assert result.attempted >= 4


# --- the script

SOLUTION = "filename,label,Usage\na.mp4,1,Public\nNA,0,Private\n007,1,Ignored\n"


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    """Run the file as a program, in this process."""

    def call(submission: str | bytes | None, truth: str = SOLUTION) -> subprocess.CompletedProcess[str]:
        (tmp_path / "solution.csv").write_text(truth)
        if submission is not None:
            (tmp_path / "submission.csv").write_bytes(
                submission.encode() if isinstance(submission, str) else submission
            )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(FILE), "submission.csv", "solution.csv"])
        try:
            runpy.run_path(str(FILE), run_name="__main__")
        except SystemExit as ended:
            return subprocess.CompletedProcess(sys.argv, ended.code or 0, *capsys.readouterr())
        return subprocess.CompletedProcess(sys.argv, 0, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    "submission",
    [
        "filename,label\na.mp4,0.5\nNA,0.5\n007,0.1\n",
        "filename,label\r\na.mp4,0.5\r\nNA,0.5\r\n007,0.1\r\n",
        "\ufefffilename,label\nNA,5e-1\n007,1\na.mp4,.5",
        'label,filename\n"0.5","NA"\n0.5,a.mp4\n0,007\n',
    ],
    ids=["plain", "CRLF", "byte order mark", "quoted, other order"],
)
def test_script(script, submission):
    done = script(submission)
    assert (done.stdout, done.stderr, done.returncode) == ("0.69314 (0.6931471805599453)\n", "", 0)


def test_script_keeps_names_that_look_like_numbers(script):
    truth = "filename,label\n007,1\n7,0\n1e3,0\n"
    assert script("filename,label\n1e3,0.5\n7,0.5\n007,0.5\n", truth).stdout == "0.69314 (0.6931471805599453)\n"
    assert "Missing id in 1 row(s), first: 1e3" in script("filename,label\n1000,.5\n7,.5\n007,.5\n", truth).stderr


@pytest.mark.parametrize(
    ("submission", "message"),
    [
        ("filename,label\na.mp4,0.5\n", "Missing id in 2 row(s), first: NA, 007"),
        ("filename,label\na.mp4,0.5\nNA,\n007,0.1\n", "Empty or NaN label in 1 row(s), first: NA"),
        ("filename,label\na.mp4,0.5\nNA,1.5\n7,0.1\n", "Unknown id in 1 row(s), first: 7"),
        ("filename,label\na.mp4,0.5\nNA,0.5,9\n", "Expected 2 fields in line 3, saw 3"),
        ("filename,label\nx,a.mp4,0.5\nx,NA,0.5\nx,007,0.5\n", "Rows hold more values than the header."),
        ("", "No columns to parse from file"),
        (b"filename,label\n\xff\xfe,0.5\n", "can't decode byte 0xff"),
        (None, "No such file or directory: 'submission.csv'"),
    ],
    ids=[
        "missing row",
        "empty label",
        "number for an id",
        "long row",
        "surplus in front",
        "empty file",
        "bytes",
        "no file",
    ],
)
def test_script_refuses(script, submission, message):
    done = script(submission)
    assert done.stderr.startswith("Submission Scoring Error\n")
    assert message in done.stderr
    assert (done.stdout, done.returncode) == ("", 1)


def test_script_does_not_blame_the_submission_for_a_broken_solution(script):
    with pytest.raises(ValueError, match="label is 0 or 1"):
        script("filename,label\na.mp4,0.5\n", "filename,label\na.mp4,maybe\n")


def test_script_runs_as_a_program_and_says_how_it_is_used(tmp_path):
    (tmp_path / "a.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\n")
    done = subprocess.run(
        [sys.executable, FILE, "a.csv", "a.csv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split()[0], done.stderr, done.returncode) == ("0.00000", "", 0)
    done = subprocess.run([sys.executable, FILE], capture_output=True, text=True, check=False)
    assert "usage: python evaluate.py submission.csv solution.csv" in done.stderr
    assert done.returncode != 0
