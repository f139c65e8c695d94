"""Reading a CSV as text: every byte of every value survives, and every anomaly is reported with its line."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfdc_kit import csv_text
from dfdc_kit.csv_text import MALFORMED, as_text, preview, read_csv


@pytest.fixture
def read(tmp_path):
    """Read bytes; header, rows as tuples of bytes, their lines, and the anomalies codes with their counts."""

    def call(data: bytes):
        path = tmp_path / "file.csv"
        path.write_bytes(data)
        text = read_csv(path)
        rows = list(zip(*(column.tolist() for column in text.columns), strict=True))
        anomalies = {code: anomaly.count for code, anomaly in text.anomalies.items()}
        return text.header, rows, text.lines.tolist(), anomalies

    return call


def test_values_are_left_as_they_are(read):
    header, rows, lines, anomalies = read(b"a,b\n x ,\tNA\n,nan\n0.50,1e5\n")
    assert header == ("a", "b")
    assert rows == [(b" x ", b"\tNA"), (b"", b"nan"), (b"0.50", b"1e5")]
    assert lines == [2, 3, 4]
    assert anomalies == {}


@pytest.mark.parametrize(
    ("data", "rows", "lines", "anomalies"),
    [
        (b"a,b\r\n1,2\r\n3,4\r\n", 2, [2, 3], {"crlf": 3}),
        (b"a,b\r1,2\r3,4\r", 2, [2, 3], {"lone-cr": 3}),
        (b"a,b\r\r\n1,2\r\r\n", 1, [3], {"crlf": 2, "lone-cr": 2, "blank-line": 2}),
        (b"a,b\n1,2\r\n3,4\r5,6", 3, [2, 3, 4], {"crlf": 1, "lone-cr": 1, "no-final-newline": 1}),
        (b"\xef\xbb\xbfa,b\n1,2\n", 1, [2], {"bom": 1}),
        (b"a,b\n\n1,2\n \t\n3,4\n\n", 2, [3, 5], {"blank-line": 3}),
        (b"a,b\n1,2\n3\n4,5,6\n7,8\n", 2, [2, 5], {"row-width": 2}),
        (b"a,b\n1,2\n3\x00,4\n", 1, [2], {"nul": 1}),
        (b'a,b\n1,2\n"3\x00",4\n"\xff",5\n', 1, [2], {"nul": 1, "encoding": 1}),
        (b"a,b\n1,2\n\xff,4\n\xc3\xa9,5\n", 2, [2, 4], {"encoding": 1}),
        (b'a,b\n"1","2"\n"x,y",3\n"p""q",4\n', 3, [2, 3, 4], {"quotes": 3}),
        (b'a,b\n1,2\n"3,4\n5,6\n"7"8,9\n', 2, [2, 4], {"quote-open": 2}),
        (b'a,b\n1,2\n3"in",4\n', 2, [2, 3], {"quotes": 1}),
        (b"a,b\n" + b"x" * 255 + b",1\n" + b"x" * 256 + b",1\n", 1, [2], {"field-length": 1}),
        (b"a,b", 0, [], {"no-final-newline": 1}),
        (b"", 0, [], {"file-empty": 1}),
        (b"\xef\xbb\xbf", 0, [], {"bom": 1, "file-empty": 1}),
        (b"\n\n", 0, [], {"blank-line": 2, "file-empty": 1}),
        (b"PK\x03\x04rest", 0, [], {"file-format": 1}),
        (b"\xff\xfea\x00", 0, [], {"file-format": 1}),
        (b"," * 200 + b"\n1\n", 0, [], {"file-format": 1}),
    ],
)
def test_odd_files(read, data, rows, lines, anomalies):
    _, seen, at, told = read(data)
    assert (len(seen), at, told) == (rows, lines, anomalies)


def test_quoted_rows_keep_their_place(read):
    _, rows, lines, _ = read(b'a,b\n1,2\n"3",4\n5,6\n"7,7",8\n')
    assert rows == [(b"1", b"2"), (b"3", b"4"), (b"5", b"6"), (b"7,7", b"8")]
    assert lines == [2, 3, 4, 5]


def test_first_faulty_lines_are_told(tmp_path):
    (tmp_path / "f.csv").write_bytes(b"a,b\n" + b"1\n" * 9)
    anomaly = read_csv(tmp_path / "f.csv").anomalies["row-width"]
    assert anomaly.count == 9
    assert anomaly.first == [(line, b"1") for line in range(2, 7)]


@pytest.mark.parametrize("block", [16, 17, 64, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_blocks_leave_no_seam(read, monkeypatch, block, end):
    monkeypatch.setattr(csv_text, "BLOCK_BYTES", block)
    wanted = [(b"%d.mp4" % i, b"0.%d" % i) for i in range(200)]
    _, rows, lines, anomalies = read(end.join([b"f,l", *(b",".join(row) for row in wanted), b""]))
    assert rows == wanted
    assert lines == list(range(2, 202))
    assert set(anomalies) <= {"crlf", "lone-cr"}


def test_a_line_end_is_not_cut_in_two(read, monkeypatch):
    monkeypatch.setattr(csv_text, "BLOCK_BYTES", 16)
    assert read(b"filename123,lab\r\nx,1\r\n")[3] == {"crlf": 2}


def test_no_line_end_is_not_read_to_the_end(read, monkeypatch):
    monkeypatch.setattr(csv_text, "BLOCK_BYTES", 16)
    assert read(b"x" * 100)[3] == {"file-format": 1}


def test_too_many_lines(read, monkeypatch):
    monkeypatch.setattr(csv_text, "MAX_LINES", 10)
    assert read(b"a,b\n" * 11)[3] == {"file-size": 1}


def test_long_fields_do_not_widen_long_columns(read, monkeypatch):
    monkeypatch.setattr(csv_text, "MAX_COLUMN_BYTES", 4000)
    data = b"a,b\n" + b"x,1\n" * 100 + b"y" * 200 + b",1\n" + b"z,1\n"
    _, rows, lines, anomalies = read(data)
    assert anomalies == {"field-length": 1}
    assert rows[-1] == (b"z", b"1")
    assert lines[-2:] == [101, 103]


def test_as_text():
    assert as_text(np.array([], "S1")) == []
    assert as_text(np.array([b"a", b"", "é".encode()])) == ["a", "", "é"]
    assert preview(b"\xff" * 3) == "\\xff\\xff\\xff"
    assert len(preview(b"x" * 200)) == 60


VALUES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=30))
def test_same_as_the_standard_library(tmp_path_factory, rows):
    """An independent reader agrees on whatever the csv module writes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_bytes(out.getvalue().encode())
    text = read_csv(path)
    assert not set(text.anomalies) & set(MALFORMED)
    assert list(zip(*map(as_text, text.columns), strict=True)) == rows
