"""A parsed submission CSV: its text, the expected rows, and derived data that several rules share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import FIRST, CsvText, Numbers, Texts, preview, read_csv
from dfdc_kit.errors import SubmissionError
from dfdc_kit.submission.expected_rows import ExpectedRows, Match, match
from dfdc_kit.submission.label_text import NUMBER, ParsedLabels, blanks_around, is_decimal, parse_labels


class Example(msgspec.Struct, frozen=True):
    """One violation: where, what was seen, what was expected."""

    line: int | None  # counting from 1; None: a missing row, or the whole file
    row_id: str
    seen: str
    expected: str


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What a rule found; `fix` replaces the rule's own advice where more is known."""

    count: int
    message: str
    examples: list[Example]
    fix: str = ""


class ParsedSubmission:
    """One submission CSV. Rows are numbered from 0; a first line that is data, not a header, counts as a row."""

    def __init__(self, text: CsvText, challenge: Challenge, expected: ExpectedRows | None, most: int = FIRST) -> None:
        """`expected` None: only the format is checked; `most`: examples kept of each finding."""
        self.most = most
        self.challenge = challenge
        self.expected = expected
        self.wanted = (challenge.submission.row_id, challenge.submission.label)
        self.header_is_missing = _is_data(text.header, challenge)
        self.text = _with_first_row(text, self.wanted) if self.header_is_missing else text
        self.header = text.header  # as in the file

    @cached_property
    def column_indices(self) -> tuple[int | None, int | None]:
        """Indices of the id and the label column: by name, ignoring case; by exclusion if one of two is named."""
        names = [name.strip().lower() for name in self.text.header]
        found = [names.index(name.lower()) if name.lower() in names else None for name in self.wanted]
        if len(names) == 2 and found.count(None) == 1:
            known = next(index for index in found if index is not None)
            found = [1 - known if index is None else index for index in found]
        return found[0], found[1]

    @cached_property
    def raw_ids(self) -> Texts | None:
        """Row ids (n,) as in the file; None: no such column."""
        return self._column(0)

    @cached_property
    def raw_labels(self) -> Texts | None:
        """ParsedLabels (n,) as in the file; None: no such column."""
        return self._column(1)

    def _column(self, which: int) -> Texts | None:
        index = self.column_indices[which]
        return None if index is None or not self.text.columns else self.text.columns[index]

    @cached_property
    def id_blanks(self) -> Numbers:
        """The rows with blanks around the id."""
        return np.flatnonzero([]) if self.raw_ids is None else np.flatnonzero(blanks_around(self.raw_ids))

    @cached_property
    def ids(self) -> Texts | None:
        """Row ids (n,) without blanks around them, so a blank is reported as a blank and nothing else."""
        return stripped(self.raw_ids, self.id_blanks) if self.raw_ids is not None else None

    @cached_property
    def labels(self) -> ParsedLabels | None:
        """The parsed labels."""
        return None if self.raw_labels is None else parse_labels(self.raw_labels)

    @cached_property
    def numbers(self) -> Numbers:
        """The rows whose label is a number."""
        return np.flatnonzero([]) if self.labels is None else np.flatnonzero(self.labels.kinds == NUMBER)

    @cached_property
    def match(self) -> Match | None:
        """How the ids match the expected ones, and which occur twice."""
        return None if self.ids is None else match(self.ids, None if self.expected is None else self.expected.ids)

    def examples(self, rows: Numbers, column: Texts, expected: str | list[str]) -> list[Example]:
        """The first few of `rows`, with the value of `column` there; `expected` for all of them or for each."""
        first = rows[: self.most].tolist()
        wanted = [expected] * len(first) if isinstance(expected, str) else expected
        ids = column if self.raw_ids is None else self.raw_ids
        return [
            Example(int(self.text.lines[i]), preview(ids[i]), preview(column[i]), what)
            for i, what in zip(first, wanted, strict=False)
        ]


def stripped(texts: Texts, rows: Numbers) -> Texts:
    """A copy of `texts` with blanks stripped in `rows`; `texts` itself if `rows` is empty."""
    if not len(rows):
        return texts
    fixed = texts.copy()
    fixed[rows] = np.strings.strip(texts[rows])
    return fixed


def _is_data(header: tuple[str, ...], challenge: Challenge) -> bool:
    """Whether the first line is a row: no known column name, but a video's name or a number at its end."""
    known = {challenge.submission.row_id.lower(), challenge.submission.label.lower()}
    if len(header) < 2 or known & {name.strip().lower() for name in header}:
        return False
    return header[0].strip().endswith(challenge.data.video_suffix) or is_decimal(header[-1].strip().encode())


def _with_first_row(text: CsvText, wanted: tuple[str, str]) -> CsvText:
    """The same text with the first line as a row; columns are named by their position."""
    first = [np.array([name.encode()], np.bytes_) for name in text.header]
    columns = text.columns or tuple(value[:0] for value in first)
    names = wanted + tuple(f"column {i}" for i in range(3, len(first) + 1))
    return CsvText(
        path=text.path,
        header=names[: len(first)],
        header_line=text.header_line,
        columns=tuple(np.concatenate((value, column)) for value, column in zip(first, columns, strict=True)),
        lines=np.concatenate(([text.header_line], text.lines)),
        anomalies=text.anomalies,
    )


def read_leniently(path: Path, challenge: Challenge) -> tuple[Texts, npt.NDArray[np.float64]]:
    """Ids (n,) and labels (n,) of a file that may be invalid: NaN where a label is no number from 0 to 1.

    Raises SubmissionError if a column is missing, or if there is no row.
    """
    text, columns = read_csv(path), challenge.submission
    ids, labels = text.column(columns.row_id), text.column(columns.label)
    if ids is None or labels is None or not len(ids):
        seen = ",".join(text.header) or ", ".join(text.anomalies)
        raise SubmissionError(
            f"{path}: seen {seen!r:.80}, expected {columns.row_id},{columns.label} and at least one row.",
            command=f"dfdc validate {path}",
        )
    values = parse_labels(labels).values
    return ids, np.where((values >= 0) & (values <= 1), values, np.nan)
