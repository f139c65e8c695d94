"""Laws: no bytes crash the validator, and what it calls valid is exactly what the official metric scores."""

import io
import math
from collections.abc import Callable

import msgspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dfdc_kit import challenge as challenges
from dfdc_kit.csv_text import read_csv
from dfdc_kit.data.solution import read_solution
from dfdc_kit.errors import DataError
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import repair, validate

CHALLENGE = challenges.load()
METRIC = load_metric(CHALLENGE.metric_path)
IDS = [f"{name}.mp4" for name in ("aaa", "bbb", "ccc", "NA", "nan", "é", "g,g")]
TRUTH = [0, 1, 0, 1, 0, 1, 1]
LABELS = ["0.5", "1e-3", ".25", "1", "0", "+0.75", "0.1234567890123456789"]
SOLUTION = pd.DataFrame({"filename": IDS, "label": TRUTH})
EXPECTED = ExpectedRows.from_names(IDS, "the list")

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(rows: list[tuple[str, str]]) -> bytes:
    quoted = (f'"{name}",{label}' if "," in name else f"{name},{label}" for name, label in rows)
    return "\n".join(["filename,label", *quoted, ""]).encode()


VALID = written(list(zip(IDS, LABELS, strict=True)))


def official(data: bytes) -> float | None:
    """The official metric's score, reading as evaluate.py does as a script; None if it blames the submission."""
    try:
        submission = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        if not isinstance(submission.index, pd.RangeIndex):
            return None
        return METRIC.score(SOLUTION, submission, "filename")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeError):
        return None
    except Exception as error:
        if METRIC.blames_participant(error):
            return None
        raise


@st.composite
def spoiled(draw: Callable) -> bytes:
    """A valid file after a few edits, each of a few bytes that mean something to some reader."""
    data = VALID
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 1, 2, 7]))
        new = draw(
            st.sampled_from(
                [b"", b",", b"\n", b"\r", b'"', b" ", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc2\xa0", b"9", b"-"]
            )
            | st.sampled_from(
                [b"1e400", b"nan", b"inf", b"0x1", b"_", b"aaa.mp4,0.5\n", b"\r\n", b"#", b"\x1a", b"\x0b"]
            )
            | st.binary(max_size=3)
        )
        data = data[:at] + new + data[at + gone :]
    return data


@quick
@given(st.binary(max_size=200) | spoiled())
@example(b'"')
@example(b"\r")
@example(b",\n,")
@example(b'filename,label\n"\n"\n')
@example(b"filename,label\naaa.mp4,\0\n")
def test_no_bytes_crash_the_validator(tmp_path, data):
    (tmp_path / "s.csv").write_bytes(data)
    for expected in (EXPECTED, None):
        validation, table = validate(tmp_path / "s.csv", CHALLENGE, expected)
        assert validation.valid == (table is not None) == (not validation.errors)
        assert msgspec.json.decode(msgspec.json.encode(validation), type=type(validation)) == validation
        repair(tmp_path / "s.csv", tmp_path / "out.csv", CHALLENGE, expected)


@quick
@given(st.binary(max_size=200) | spoiled())
def test_broken_host_files_are_data_errors(tmp_path, data):
    for name, read in (
        ("x.csv", read_solution),
        ("x.json", read_solution),
        ("x.csv", ExpectedRows.from_sample),
    ):
        (tmp_path / name).write_bytes(data)
        try:
            read(tmp_path / name, CHALLENGE)
        except DataError as error:
            assert error.hint  # noqa: PT017 - what is not broken may pass


@settings(quick, max_examples=120)
@given(spoiled())
@example(VALID)
@example(VALID[:-1])
@example(b"\xef\xbb\xbf" + VALID.replace(b"\n", b"\r\n"))
@example(VALID.replace(b"\n", b"\r"))
@example(VALID.replace(b"\n", b"\n \t\n"))
@example(VALID.replace(b"0.5", b'"0.5"'))
@example(VALID.replace(b"1e-3", b"1e-400"))
def test_valid_files_are_scored_and_read_the_same_by_pandas(tmp_path, data):
    (tmp_path / "s.csv").write_bytes(data)
    validation, table = validate(tmp_path / "s.csv", CHALLENGE, EXPECTED)
    if validation.valid:
        assert official(data) == METRIC.score(SOLUTION, table.frame(), "filename")


ROWS = st.lists(
    st.tuples(
        st.sampled_from([*IDS, *IDS, "zzz.mp4", "AAA.mp4", ""]),
        st.sampled_from(
            [
                *LABELS,
                *LABELS,
                "",
                "nan",
                "inf",
                "-0.1",
                "1.01",
                "FAKE",
                "1_0",
                "0x1",
                "50%",
                "True",
                "1e400",
                "-0",
                "٠.٥",
            ]
        ),
    ),
    max_size=9,
)


@settings(quick, max_examples=100)
@given(ROWS | st.permutations(list(zip(IDS, LABELS, strict=True))))
def test_file_is_valid_exactly_if_the_official_metric_accepts_it(tmp_path, rows):
    (tmp_path / "s.csv").write_bytes(written(rows))
    validation, _ = validate(tmp_path / "s.csv", CHALLENGE, EXPECTED)
    assert validation.valid == (official(written(rows)) is not None)


@quick
@given(ROWS.filter(bool), st.randoms())
def test_order_of_rows_never_matters(tmp_path, rows, random):
    (tmp_path / "a.csv").write_bytes(written(rows))
    (tmp_path / "b.csv").write_bytes(written(random.sample(rows, len(rows))))
    found = []
    for name in ("a.csv", "b.csv"):
        validation, _ = validate(tmp_path / name, CHALLENGE, EXPECTED)
        found.append({error.code: error.count for error in validation.errors})
    assert found[0] == found[1]


@st.composite
def repairable(draw: Callable) -> bytes:
    """A valid file with only such defects as a repair must fix."""
    rows = draw(st.permutations(list(zip(IDS, LABELS, strict=True))))
    blank = st.sampled_from(["", "", " ", "\t", "  "])
    lines = [draw(st.sampled_from(["filename,label", "Filename, LABEL ", '"filename","label"']))]
    for name, label in rows:
        name = f'"{name}"' if "," in name or draw(st.booleans()) else draw(blank) + name + draw(blank)
        lines += [f"{name},{draw(blank)}{label}{draw(blank)}", *draw(st.sampled_from([[], [], [""], ["  "]]))]
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]))
    return (
        draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + end.join([*lines, *draw(st.sampled_from([[], [""]]))]).encode()
    )


@quick
@given(repairable())
def test_repair_fixes_and_is_idempotent(tmp_path, data):
    (tmp_path / "s.csv").write_bytes(data)
    assert repair(tmp_path / "s.csv", tmp_path / "once.csv", CHALLENGE, EXPECTED).written
    assert (tmp_path / "once.csv").read_bytes() == VALID
    again = repair(tmp_path / "once.csv", tmp_path / "twice.csv", CHALLENGE, EXPECTED)
    assert (tmp_path / "twice.csv").read_bytes() == VALID
    assert [violation.code for violation in again.fixed] in ([], ["quotes"])  # an id with a comma keeps its quotes


@quick
@given(
    st.floats(0, 1),
    st.sampled_from(
        [
            repr,
            "{:.1f}".format,
            "{:.6f}".format,
            "{:.13f}".format,
            "{:.14f}".format,
            "{:.17g}".format,
            "{:.20e}".format,
            "{:.30f}".format,
        ]
    ),
)
def test_labels_are_read_to_the_last_bit(tmp_path, value, write):
    (tmp_path / "s.csv").write_text(f"filename,label\na.mp4,{write(value)}\n")
    _, table = validate(tmp_path / "s.csv", CHALLENGE)
    assert table.labels[0] == float(write(value))
    assert not math.isnan(read_csv(tmp_path / "s.csv").lines[0])


@pytest.mark.parametrize("label", ["nan", "inf", "-inf", "1.0000001", "-1e-300", "", "x"])
def test_no_bad_label_hides_in_the_crowd(tmp_path, label):
    """One bad label among many good ones, at each end and in the middle."""
    for at in (0, 70_000, 139_999):
        labels = ["0.5"] * 140_000
        labels[at] = label
        lines = [f"{i}.mp4,{value}" for i, value in enumerate(labels)]
        (tmp_path / "s.csv").write_text("\n".join(["filename,label", *lines, ""]))
        (error,) = validate(tmp_path / "s.csv", CHALLENGE)[0].errors
        assert (error.count, error.examples[0].line) == (1, at + 2)
