"""A CSV file as text, exactly as its bytes say: nothing is stripped, merged, converted or repaired on the way.

Read in blocks with numpy, so that ten million rows take seconds and not much more memory than their own bytes. What is
odd about the file is counted under the codes of `ODD`; lines that cannot be rows are kept apart, the others are rows.
"""

import csv
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

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
MAX_COLUMN_BYTES = 512 << 20  # one long field widens its whole column: in long files, long fields are kept apart
FIRST = 5  # lines told of each anomaly
SHOWN_CHARACTERS = 60

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
MALFORMED: Final = ("nul", "encoding", "quote-open", "row-width", "field-length")  # lines that are not rows
HARMLESS: Final = ("bom", "crlf", "lone-cr", "blank-line", "no-final-newline", "quotes")
ODD: Final = FATAL + MALFORMED + HARMLESS


@dataclass(slots=True)
class Anomaly:
    """Something odd: how often, and the first few lines as (line number, text); the number 0 means the whole file."""

    count: int = 0
    first: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CsvText:
    """The fields of a CSV file as text.

    `columns[i]` is the column under `header[i]`, an array of bytes (n,); `lines` (n,) says where each row stands,
    counting from 1. Lines that are blank or cannot be a row are in `odd` only.
    """

    path: Path
    header: tuple[str, ...]
    header_line: int  # 0: there is none
    columns: tuple[Texts, ...]
    lines: Numbers
    anomalies: dict[str, Anomaly]

    def column(self, name: str) -> Texts | None:
        """The first column of that name, if there is one."""
        return self.columns[self.header.index(name)] if name in self.header and self.columns else None


def read_csv(path: Path) -> CsvText:
    """Read `path`. Whatever is wrong with its content is told in `.odd`, by code; never hangs on a pipe or device.

    Raises DataMissingError only if the machine does not let us read a file that is there.
    """
    return _Reading(path).read()


def as_text(values: Texts) -> list[str]:
    """A column as Python strings; bytes that are no UTF-8 become escapes."""
    return b"\n".join(values.tolist()).decode("utf-8", "backslashreplace").split("\n") if len(values) else []


def preview(text: bytes) -> str:
    """Bytes from a file as short text, fit for a message."""
    said = text.decode("utf-8", "backslashreplace")
    return said if len(said) <= SHOWN_CHARACTERS else said[: SHOWN_CHARACTERS - 3] + "..."


class _Reading:
    """One pass over a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
                    if self._is_hopeless():
                        break
        if not self.header_line and not self._is_hopeless():
            self.note("file-empty")
        if self._is_hopeless():
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
        if seen is not None and len(anomaly.first) < FIRST:
            anomaly.first.append((line, seen[:200]))

    def _is_hopeless(self) -> bool:
        return any(code in self.anomalies for code in FATAL)

    def _open(self) -> BinaryIO | None:
        """The file, opened so that a pipe without a writer does not hold us; None after noting what it is instead."""
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError):
            self.note("file-missing")
            return None
        except OSError as error:
            if self.path.exists() and not self.path.is_file():
                self.note("file-kind", seen=_kind(self.path.stat().st_mode))
                return None
            raise DataMissingError(f"Cannot read {self.path}: {error.strerror}.") from error
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
        """The file in blocks of whole lines, each ended by LF alone; byte order mark and CR are noted, then gone."""
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
                return self.note("file-size", seen=b"a file that grows")
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
        """Read the first line that is not blank as the header; what follows it."""
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
        """Split a block into rows. A row's text is never touched; a line that is no row is noted and left out."""
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

        plain = np.ones(len(ends), np.bool_)  # (lines,) not yet told to be anything else
        for code, found in lines.special():
            found = found[plain[found]]
            plain[found] = False
            if code == "quotes":
                self._take_quoted(lines, found)
            else:
                self._set_apart(code, lines, found)
        wide = np.flatnonzero(plain & (after - before != width - 1))
        self._set_apart("row-width", lines, wide)
        plain[wide] = False

        rows = np.flatnonzero(plain)
        inner = commas[before[rows][:, None] + np.arange(width - 1)]  # (rows, width - 1)
        edges = np.column_stack((starts[rows] - 1, inner, ends[rows]))  # (rows, width + 1)
        fields = np.diff(edges) - 1  # (rows, width) lengths
        if fields.size and fields.max() > MAX_FIELD_BYTES:
            long = fields.max(axis=1) > MAX_FIELD_BYTES
            self._set_apart("field-length", lines, rows[long])
            rows, edges, fields = rows[~long], edges[~long], fields[~long]
        if len(rows):
            padded = block + bytes(MAX_FIELD_BYTES)
            columns = [_cut_out(padded, edges[:, i] + 1, fields[:, i]) for i in range(width)]
            self.parts.append(_Part(lines.before + rows + 1, columns))
        return None

    def _take_quoted(self, lines: "_Lines", found: Numbers) -> None:
        """Rows with quotes: they are legal around a whole value, within one line."""
        rows, numbers = [], []
        for i, row in zip(found.tolist(), _unquoted([lines.text(i) for i in found.tolist()]), strict=True):
            code = "quote-open" if row is None else self._fault_of(row)
            self.note(code or "quotes", lines.number(i), lines.text(i))
            if row and not code:
                rows.append(row)
                numbers.append(lines.number(i))
        if rows:
            columns = [np.array(column, np.bytes_) for column in zip(*rows, strict=True)]
            self.parts.append(_Part(np.array(numbers, np.int64), columns))

    def _fault_of(self, row: list[bytes]) -> str:
        if len(row) != len(self.header):
            return "row-width"
        return "field-length" if max(map(len, row)) > MAX_FIELD_BYTES else ""

    def _set_apart(self, code: str, lines: "_Lines", found: Numbers) -> None:
        for i in found[:FIRST].tolist():
            self.note(code, lines.number(i), lines.text(i), count=0)
        if len(found):
            self.note(code, count=len(found))

    def _joined(self) -> tuple[Numbers, tuple[Texts, ...]]:
        """All blocks as line numbers (n,) and whole columns (n,), in the order of the lines; the blocks are used up."""
        self._narrow()
        lines = _concatenated([part.lines for part in self.parts], np.dtype(np.int64))
        order = None if (lines[1:] > lines[:-1]).all() else np.argsort(lines)  # quoted rows come apart from their block
        columns: list[Texts] = []
        for _ in self.header:
            column = _concatenated([part.columns.pop(0) for part in self.parts], np.dtype("S1"))
            columns.append(column if order is None else column[order])
        return lines if order is None else lines[order], tuple(columns)

    def _narrow(self) -> None:
        """Set apart the rows whose fields would make a column of many rows too wide for the memory."""
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
    """The lines of a block of text: where each starts and ends (lines,)."""

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
        """The lines that must not be split at their commas, by code; a line may come up more than once."""
        if b"\0" in self.block:
            yield "nul", self._holding(self.data == 0)
        if not self.block.isascii() and not _is_utf8(self.block):
            found = self._holding(self.data >= 0x80)
            yield "encoding", found[[not _is_utf8(self.text(i)) for i in found.tolist()]]
        first = self.data[self.starts]
        found = np.flatnonzero((first == ord("\n")) | (first == ord(" ")) | (first == ord("\t")))
        yield "blank-line", found[[not self.text(i).strip(b" \t") for i in found.tolist()]]
        if b'"' in self.block:
            yield "quotes", self._holding(self.data == ord('"'))

    def _holding(self, bytes_: npt.NDArray[np.bool_]) -> Numbers:
        return np.unique(np.searchsorted(self.ends, np.flatnonzero(bytes_)))


def _cut_out(padded: bytes, starts: Numbers, lengths: Numbers) -> Texts:
    """The pieces of `padded` that begin at `starts` (n,) as an array of bytes (n,); `padded` goes on after the last."""
    width = max(int(lengths.max()), 1)
    windows = np.ndarray((len(padded) - width + 1,), f"S{width}", padded, strides=(1,))
    pieces = windows[starts]
    if lengths.min() < width:
        chars = pieces.view(np.uint8).reshape(-1, width)
        chars *= np.arange(width) < lengths[:, None]  # NUL after the end of each piece
    return pieces


def _concatenated(parts: list[Any], kind: np.dtype[Any]) -> Any:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _unquoted(lines: list[bytes]) -> list[list[bytes] | None]:
    """The values of each line, quotes taken off; None for a line whose quotes do not close as they should."""
    try:
        rows = list(csv.reader([line.decode("latin-1") for line in lines], strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(lines):  # none ran on into the next
        return [[value.encode("latin-1") for value in row] for row in rows]
    return [None] if len(lines) == 1 else [_unquoted([line])[0] for line in lines]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _kind(mode: int) -> bytes:
    kinds = {stat.S_ISDIR: b"a folder", stat.S_ISFIFO: b"a pipe", stat.S_ISSOCK: b"a socket"}
    return next((kind for test, kind in kinds.items() if test(mode)), b"a device")
