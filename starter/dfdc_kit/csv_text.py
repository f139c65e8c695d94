"""Read a CSV file as text: no value is stripped, merged or converted, and every anomaly is reported with its line.

Reads in blocks with numpy, so ten million rows take seconds and little more memory than their own bytes. Anomalies are
counted by code; lines that cannot be rows are left out. Why not pandas: docs/decisions/0006-text-first.md
"""

import contextlib
import csv
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import DataMissingError

Texts = npt.NDArray[np.bytes_]  # fixed width, padded with NUL, which no field contains
Numbers = npt.NDArray[np.int64]

BLOCK_BYTES = 1 << 20
MAX_BYTES = 2 << 30
MAX_LINES = 25_000_000
MAX_COLUMNS = 100
MAX_FIELD_BYTES = 255  # the longest file name of common file systems
MAX_COLUMN_BYTES = 512 << 20  # one long field widens its whole column: in long files, long fields are left out
FIRST = 5  # lines kept of each anomaly, unless all are asked for
ALL_LINES = 1_000_000
PREVIEW_CHARACTERS = 60

BOM = b"\xef\xbb\xbf"
FOREIGN: Final = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a Parquet file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "a bzip2 file",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xfd7zXZ": "an xz file",
    b"\xff\xfe": "UTF-16 or UTF-32 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x00\x00\xfe\xff": "UTF-32 text",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML",
}
FATAL: Final = ("file-missing", "file-kind", "file-size", "file-format", "file-empty")
MALFORMED: Final = ("nul", "encoding", "quote-open", "row-width", "field-length")  # lines that cannot be rows
HARMLESS: Final = ("bom", "crlf", "lone-cr", "blank-line", "no-final-newline", "quotes")


@dataclass(slots=True)
class Anomaly:
    """How often an anomaly occurs, and where first, as (line number, text); line 0 means the whole file."""

    count: int = 0
    first: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CsvText:
    """The fields of a CSV file as text.

    `columns[i]` is the column under `header[i]`, an array of bytes (n,); `lines` (n,) is the line number of each row,
    counting from 1. Blank lines and lines that cannot be a row are in `anomalies` only.
    """

    path: Path
    header: tuple[str, ...]
    header_line: int  # 0: no header
    columns: tuple[Texts, ...]
    lines: Numbers
    anomalies: dict[str, Anomaly]

    def column(self, name: str) -> Texts | None:
        """The first column of that name, or None."""
        return self.columns[self.header.index(name)] if name in self.header and self.columns else None


def read_csv(path: Path, most: int = FIRST) -> CsvText:
    """Read `path`; its anomalies are in `.anomalies` by code, the first `most` of each with line and text.

    Never hangs on a pipe or device. Raises DataMissingError only if a file that exists cannot be read.
    """
    return _Reader(path, most).read()


def as_text(values: Texts) -> list[str]:
    """A column as Python strings; bytes that are not UTF-8 become escapes."""
    return b"\n".join(values.tolist()).decode("utf-8", "backslashreplace").split("\n") if len(values) else []


def preview(text: bytes) -> str:
    """Bytes from a file as short text for a message."""
    full = text.decode("utf-8", "backslashreplace")
    return full if len(full) <= PREVIEW_CHARACTERS else full[: PREVIEW_CHARACTERS - 3] + "..."


class _Reader:
    """One pass over a file."""

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.most = most
        self.anomalies: dict[str, Anomaly] = {}
        self.header: list[bytes] = []
        self.header_line = 0
        self.line = 0  # lines seen so far
        self.parts: list[_Part] = []

    def read(self) -> CsvText:
        if file := self._open():
            with file:
                for block in self._blocks(file):
                    if rest := block if self.header_line else self._take_header(block):
                        self._take_rows(rest)
                    if self.line > MAX_LINES:
                        self.note("file-size", seen=f"more than {MAX_LINES:,} lines".encode())
                    if self._is_fatal():
                        break
        if not self.header_line and not self._is_fatal():
            self.note("file-empty")
        if self._is_fatal():
            self.parts, self.header = [], []
        lines, columns = self._joined()
        return CsvText(
            path=self.path,
            header=tuple(name.decode("utf-8", "backslashreplace") for name in self.header),
            header_line=self.header_line,
            columns=columns,
            lines=lines,
            anomalies=self.anomalies,
        )

    def note(self, code: str, line: int = 0, seen: bytes | None = None, count: int = 1) -> None:
        anomaly = self.anomalies.setdefault(code, Anomaly())
        anomaly.count += count
        if seen is not None and len(anomaly.first) < self.most:
            anomaly.first.append((line, seen[:200]))

    def _is_fatal(self) -> bool:
        return any(code in self.anomalies for code in FATAL)

    def _open(self) -> BinaryIO | None:
        """The open file, without waiting for a pipe's writer; None after noting what it is instead of a file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError):
            self.note("file-missing")
            return None
        except OSError as error:
            with contextlib.suppress(OSError):  # the folder may be unreadable, too
                if not stat.S_ISREG(mode := self.path.stat().st_mode):
                    self.note("file-kind", seen=_kind(mode))
                    return None
            raise DataMissingError(
                f"Cannot read {self.path}: {error.strerror}.", hint="Check the permissions of it and of its folders."
            ) from error
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            self.note("file-kind", seen=_kind(state.st_mode))
        elif state.st_size > MAX_BYTES:
            self.note("file-size", seen=f"{state.st_size:,} bytes".encode())
        if self.anomalies:
            os.close(handle)
            return None
        return os.fdopen(handle, "rb")

    def _blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """The file in blocks of complete lines that end in LF; byte order mark and CR are recorded and removed."""
        rest, done = b"", 0
        while chunk := file.read(BLOCK_BYTES):
            if not done:
                if chunk.startswith(BOM):
                    self.note("bom")
                    chunk = chunk[len(BOM) :]
                if kind := next((kind for magic, kind in FOREIGN.items() if chunk.startswith(magic)), None):
                    return self.note("file-format", seen=kind.encode())
            done += len(chunk)
            if done > MAX_BYTES:  # it grew while it was read
                return self.note("file-size", seen=b"the file grows while it is read")
            data = rest + chunk
            cut = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1
            if not cut and len(data) > BLOCK_BYTES:
                return self.note("file-format", seen=f"no line end in {len(data):,} bytes".encode())
            if cut:
                yield self._with_lf(data[:cut])
            rest = data[cut:]
        if rest:
            if rest[-1:] != b"\r":
                self.note("no-final-newline")
                rest += b"\n"
            yield self._with_lf(rest)
        return None

    def _with_lf(self, block: bytes) -> bytes:
        if b"\r" not in block:
            return block
        if crlf := block.count(b"\r\n"):
            self.note("crlf", count=crlf)
            block = block.replace(b"\r\n", b"\n")
        if lone := block.count(b"\r"):
            self.note("lone-cr", count=lone)
            block = block.replace(b"\r", b"\n")
        return block

    def _take_header(self, block: bytes) -> bytes:
        """Read the first line that is not blank as the header; returns the rest of the block."""
        at = 0
        while at < len(block):
            end = block.index(b"\n", at)
            line, at = block[at:end], end + 1
            self.line += 1
            if not line.strip(b" \t"):
                self.note("blank-line", self.line, line)
                continue
            self.header_line = self.line
            if b"\0" in line:
                self.note("nul", self.line, line)
            if not _is_utf8(line):
                self.note("encoding", self.line, line)
            names = _unquoted([line])[0] if b'"' in line else line.split(b",")
            if names is None:
                self.note("quote-open", self.line, line)
            elif b'"' in line:
                self.note("quotes", self.line, line)
            self.header = (names or line.split(b","))[: MAX_COLUMNS + 1]
            return block[at:]
        return b""

    def _take_rows(self, block: bytes) -> None:
        """Split a block into rows, their text unchanged; a line that cannot be a row is recorded and left out."""
        width = len(self.header)
        if width > MAX_COLUMNS:
            return self.note("file-format", seen=f"more than {MAX_COLUMNS} columns".encode())
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))  # (lines,)
        starts = np.concatenate((ends[:1] * 0, ends[:-1] + 1))
        commas = np.flatnonzero(data == ord(","))
        after = np.searchsorted(commas, ends)  # (lines,) commas before each line's end
        before = np.concatenate((after[:1] * 0, after[:-1]))
        lines = _Lines(block, data, starts, ends, self.line)
        self.line += len(ends)

        plain = np.ones(len(ends), np.bool_)  # (lines,) no anomaly so far
        for code, found in lines.special():
            found = found[plain[found]]
            plain[found] = False
            if code == "quotes":
                self._take_quoted(lines, found)
            else:
                self._leave_out(code, lines, found)
        wide = np.flatnonzero(plain & (after - before != width - 1))
        self._leave_out("row-width", lines, wide)
        plain[wide] = False

        rows = np.flatnonzero(plain)
        inner = commas[before[rows][:, None] + np.arange(width - 1)]  # (rows, width - 1)
        edges = np.column_stack((starts[rows] - 1, inner, ends[rows]))  # (rows, width + 1)
        fields = np.diff(edges) - 1  # (rows, width) lengths
        if fields.size and fields.max() > MAX_FIELD_BYTES:
            long = fields.max(axis=1) > MAX_FIELD_BYTES
            self._leave_out("field-length", lines, rows[long])
            rows, edges, fields = rows[~long], edges[~long], fields[~long]
        if len(rows):
            padded = block + bytes(MAX_FIELD_BYTES)
            columns = [_cut_out(padded, edges[:, i] + 1, fields[:, i]) for i in range(width)]
            self.parts.append(_Part(lines.before + rows + 1, columns))
        return None

    def _take_quoted(self, lines: "_Lines", found: Numbers) -> None:
        """Rows with quotes, which are legal around a whole value, within one line."""
        rows, numbers = [], []
        for i, row in zip(found.tolist(), _unquoted([lines.text(i) for i in found.tolist()]), strict=True):
            code = "quote-open" if row is None else self._row_anomaly(row)
            self.note(code or "quotes", lines.number(i), lines.text(i))
            if row and not code:
                rows.append(row)
                numbers.append(lines.number(i))
        if rows:
            columns = [np.array(column, np.bytes_) for column in zip(*rows, strict=True)]
            self.parts.append(_Part(np.array(numbers, np.int64), columns))

    def _row_anomaly(self, row: list[bytes]) -> str:
        if len(row) != len(self.header):
            return "row-width"
        return "field-length" if max(map(len, row)) > MAX_FIELD_BYTES else ""

    def _leave_out(self, code: str, lines: "_Lines", found: Numbers) -> None:
        for i in found[: self.most].tolist():
            self.note(code, lines.number(i), lines.text(i), count=0)
        if len(found):
            self.note(code, count=len(found))

    def _joined(self) -> tuple[Numbers, tuple[Texts, ...]]:
        """Line numbers (n,) and columns (n,) of all blocks, in the order of the lines; consumes the blocks."""
        self._narrow()
        lines = np.concatenate([np.zeros(0, np.int64), *(part.lines for part in self.parts)])
        is_sorted = (lines[1:] > lines[:-1]).all()  # quoted rows are separate from their block
        order = None if is_sorted else np.argsort(lines)
        columns: list[Texts] = []
        for _ in self.header:
            column = np.concatenate([np.zeros(0, "S1"), *(part.columns.pop(0) for part in self.parts)])
            columns.append(column if order is None else column[order])
        return lines if order is None else lines[order], tuple(columns)

    def _narrow(self) -> None:
        """Leave out the rows whose fields would make a column of many rows too wide for the memory."""
        limit = max(MAX_COLUMN_BYTES // max(sum(len(part.lines) for part in self.parts), 1), 32)
        for part in self.parts:
            if all(column.itemsize <= limit for column in part.columns):
                continue
            short = np.logical_and.reduce([np.strings.str_len(column) <= limit for column in part.columns])
            for i in np.flatnonzero(~short).tolist():
                self.note("field-length", int(part.lines[i]), max((column[i] for column in part.columns), key=len))
            part.lines, part.columns = part.lines[short], [column[short].astype(f"S{limit}") for column in part.columns]


@dataclass(slots=True)
class _Part:
    """The rows of one block: line numbers (n,), columns (n,)."""

    lines: Numbers
    columns: list[Texts]


@dataclass(slots=True)
class _Lines:
    """The lines of a block of text: offsets of their starts and ends (lines,)."""

    block: bytes
    data: npt.NDArray[np.uint8]
    starts: Numbers
    ends: Numbers
    before: int  # lines of the file before this block

    def number(self, i: int) -> int:
        return self.before + i + 1

    def text(self, i: int) -> bytes:
        return self.block[self.starts[i] : self.ends[i]]

    def special(self) -> Iterator[tuple[str, Numbers]]:
        """The lines that must not be split at their commas, by code; a line may occur more than once."""
        if b"\0" in self.block:
            yield "nul", self._lines_with(self.data == 0)
        if not self.block.isascii() and not _is_utf8(self.block):
            found = self._lines_with(self.data >= 0x80)
            yield "encoding", found[[not _is_utf8(self.text(i)) for i in found.tolist()]]
        first = self.data[self.starts]
        found = np.flatnonzero((first == ord("\n")) | (first == ord(" ")) | (first == ord("\t")))
        yield "blank-line", found[[not self.text(i).strip(b" \t") for i in found.tolist()]]
        if b'"' in self.block:
            yield "quotes", self._lines_with(self.data == ord('"'))

    def _lines_with(self, bytes_: npt.NDArray[np.bool_]) -> Numbers:
        return np.unique(np.searchsorted(self.ends, np.flatnonzero(bytes_)))


def _cut_out(padded: bytes, starts: Numbers, lengths: Numbers) -> Texts:
    """The pieces of `padded` from `starts` (n,) as an array of bytes (n,); `padded` extends beyond the last piece."""
    width = max(int(lengths.max()), 1)
    windows = np.ndarray((len(padded) - width + 1,), f"S{width}", padded, strides=(1,))
    pieces = windows[starts]
    if lengths.min() < width:
        chars = pieces.view(np.uint8).reshape(-1, width)
        chars *= np.arange(width) < lengths[:, None]  # NUL after the end of each piece
    return pieces


def _unquoted(lines: list[bytes]) -> list[list[bytes] | None]:
    """The values of each line without quotes; None for a line whose quotes are not closed properly."""
    try:
        rows = list(csv.reader([line.decode("latin-1") for line in lines], strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(lines):  # no quote runs on into the next line
        return [[value.encode("latin-1") for value in row] for row in rows]
    return [None] if len(lines) == 1 else [_unquoted([line])[0] for line in lines]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _kind(mode: int) -> bytes:
    kinds = {stat.S_IFDIR: b"a folder", stat.S_IFIFO: b"a pipe", stat.S_IFSOCK: b"a socket"}
    return kinds.get(stat.S_IFMT(mode), b"a device")
