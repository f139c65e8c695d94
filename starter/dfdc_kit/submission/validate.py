"""The rules of a submission file, as a table, and the repair of what breaks them without anything to be guessed.

Codes of rules never change; docs/reference/submission-rules.md lists them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import FIRST, Texts, as_text, read_csv
from dfdc_kit.errors import SubmissionError, UsageError
from dfdc_kit.files import writing_to
from dfdc_kit.submission import rules_file as file
from dfdc_kit.submission import rules_id as ids
from dfdc_kit.submission import rules_label as labels
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.parsed import Example, ParsedSubmission, RuleFinding, stripped

if TYPE_CHECKING:
    import pandas as pd


Severity = Literal["error", "warning"]
ERROR: Severity = "error"
WARNING: Severity = "warning"
SCORING = "Submission Scoring Error"  # Kaggle's own words
NOT_FOUND = "Submission CSV Not Found"
ACCEPTED = ""  # Kaggle accepts it


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that a file breaks: how often, where, what Kaggle would report, and how to fix it."""

    code: str
    severity: Severity
    count: int
    message: str
    examples: list[Example]
    kaggle: str  # what Kaggle reports; empty: it accepts the file
    repairable: bool  # by `dfdc validate --repair`, without guessing
    fix: str = ""


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of checking a submission file. Valid: no rule of severity error is broken."""

    file: str
    rows: int
    valid: bool
    ids_checked: bool
    against: str  # origin of the expected rows; empty: ids were not checked
    violations: list[Violation]

    @property
    def errors(self) -> list[Violation]:
        """The violations that make the file invalid."""
        return [violation for violation in self.violations if violation.severity == ERROR]

    @property
    def warnings(self) -> list[Violation]:
        """The violations that are legal but costly."""
        return [violation for violation in self.violations if violation.severity == WARNING]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `check` yields at most one finding."""

    code: str
    severity: Severity
    kaggle: str
    meaning: str
    fix: str
    check: Callable[[ParsedSubmission], Iterator[RuleFinding]]
    repairable: bool = False

    def apply(self, parsed: ParsedSubmission) -> Iterator[Violation]:
        """The violation of this rule, if there is one."""
        for finding in self.check(parsed):
            yield Violation(
                code=self.code,
                severity=self.severity,
                count=finding.count,
                message=finding.message,
                examples=finding.examples,
                kaggle=self.kaggle,
                repairable=self.repairable,
                fix=finding.fix or self.fix,
            )


# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("file-missing", ERROR, NOT_FOUND, "The file is missing.",
         "Write submission.csv into the working folder.",
         file.whole_file("file-missing", "file not found: {file}")),
    Rule("file-kind", ERROR, SCORING, "It is a folder, a pipe or a device, not an ordinary file.",
         "Write an ordinary file.",
         file.whole_file("file-kind", "this is {seen}, not an ordinary file")),
    Rule("file-size", ERROR, SCORING, "It is larger than 2 GiB, or has more than 25 million lines.",
         "Write one row for each video.",
         file.whole_file("file-size", "the file is too large: {seen}")),
    Rule("file-format", ERROR, SCORING, "It is not CSV text but an archive, a workbook, an image or UTF-16, "
         "or has no line ends or too many columns.",
         "Write plain UTF-8 text: df.to_csv('submission.csv', index=False).",
         file.whole_file("file-format", "this is not a CSV file but {seen}")),
    Rule("file-empty", ERROR, SCORING, "The file is empty.",
         "Write a header and one row for each video.",
         file.whole_file("file-empty", "the file is empty")),
    Rule("encoding", ERROR, SCORING, "Lines with bytes that are not UTF-8.",
         "Write the file as UTF-8.",
         file.some_lines("encoding", "with bytes that are not UTF-8", "UTF-8 text")),
    Rule("nul", ERROR, SCORING, "Lines with NUL bytes, as after a crash or on a full disk.",
         "Write the file again.",
         file.some_lines("nul", "with NUL bytes", "no NUL byte")),
    Rule("quote-open", ERROR, SCORING, "Lines with a quote that is not closed, or with text after the closing quote.",
         "Write the values without quotes.",
         file.some_lines("quote-open", "with a quote that is not closed properly", "no quotes, or a pair")),
    Rule("field-length", ERROR, SCORING, "Values longer than 255 bytes.",
         "Write one file name and one number in each row.",
         file.some_lines("field-length", "with a value that is too long", "255 bytes at most")),
    Rule("delimiter", ERROR, SCORING, "Values separated by a semicolon, a tab or a bar instead of a comma.",
         "Separate the values by commas: df.to_csv(..., sep=',').", file.delimiter),
    Rule("header-missing", ERROR, SCORING, "The first line is a row instead of the header.",
         "Write the header filename,label first.", file.header_missing),
    Rule("header-columns", ERROR, SCORING, "A column is missing, unexpected or repeated.",
         "Write exactly the columns filename,label.", file.header_columns),
    Rule("header-case", ERROR, SCORING, "Column names in the wrong case, or with blanks around them.",
         "Write filename,label in lower case.", file.header_case, repairable=True),
    Rule("row-width", ERROR, SCORING, "Lines with more or fewer values than the header.",
         "Write one file name and one number in each row.", file.row_width),
    Rule("rows-none", ERROR, SCORING, "A header without rows.",
         "Write one row for each video.", file.rows_none),
    Rule("id-empty", ERROR, SCORING, "Rows without a file name.",
         "Write the video's file name.", ids.id_empty),
    Rule("id-blanks", ERROR, SCORING, "Blanks before or after a file name.",
         "Write the file name without blanks.", ids.id_blanks, repairable=True),
    Rule("id-duplicate", ERROR, SCORING, "A file name that an earlier row has.",
         "Write one row for each video.", ids.id_duplicate),
    Rule("id-missing", ERROR, SCORING, "Expected rows that are missing.",
         "Write one row for each row of the mounted sample_submission.csv.", ids.id_missing),
    Rule("id-unknown", ERROR, SCORING, "File names that are not expected.",
         "Take the names from the mounted sample_submission.csv.", ids.id_unknown),
    Rule("label-empty", ERROR, SCORING, "Rows without a label.",
         "Write a number, 0.5 if the model has no prediction.", labels.label_empty),
    Rule("label-nan", ERROR, SCORING, "NaN, NA, null or None.",
         "Write a number; look for 0/0 and for videos without a face.", labels.label_nan),
    Rule("label-infinite", ERROR, SCORING, "Infinity, or a number too large for float64.",
         "Write a number from 0 to 1.", labels.label_infinite),
    Rule("label-not-number", ERROR, SCORING, "Text that is no decimal number: classes, True, percent, 0,5, 0x1, 1_0.",
         "Write a decimal number such as 0.5 or 1e-3.", labels.label_not_number),
    Rule("label-out-of-range", ERROR, SCORING, "Numbers below 0 or above 1.",
         "Write a probability from 0 to 1.", labels.label_out_of_range),
    Rule("label-blanks", ERROR, SCORING,
         "Blanks before or after a label: stricter than evaluate.py, whose reader strips them.",
         "Write the label without blanks.", labels.label_blanks, repairable=True),
    Rule("bom", WARNING, ACCEPTED, "A UTF-8 byte order mark at the start; some readers read it as part of the header.",
         "Write with encoding utf-8, not utf-8-sig.",
         file.whole_file("bom", "the file starts with a byte order mark"), repairable=True),
    Rule("crlf", WARNING, ACCEPTED, "Lines that end in CR LF, as on Windows.",
         "End lines with LF: df.to_csv(..., lineterminator='\\n').",
         file.some_lines("crlf", "ended by CR LF"), repairable=True),
    Rule("lone-cr", WARNING, ACCEPTED, "Lines that end in CR alone, or in CR CR LF; not all readers accept that.",
         "End lines with LF; in Python, open(..., newline='').",
         file.some_lines("lone-cr", "ended by CR alone"), repairable=True),
    Rule("blank-line", WARNING, ACCEPTED, "Blank lines.",
         "Remove blank lines.",
         file.some_lines("blank-line", "without any text"), repairable=True),
    Rule("no-final-newline", WARNING, ACCEPTED, "The last line has no line end; was the file cut short?",
         "End the last line with a line end, too.",
         file.whole_file("no-final-newline", "the last line has no line end"), repairable=True),
    Rule("quotes", WARNING, ACCEPTED, "Values in quotes: legal, but never needed here.",
         "Write the values without quotes.",
         file.some_lines("quotes", "with quotes around values"), repairable=True),
    Rule("column-order", WARNING, ACCEPTED, "Both columns, in the wrong order.",
         "Write filename first: df[['filename', 'label']].", file.column_order, repairable=True),
    Rule("row-order", WARNING, ACCEPTED, "All rows, in another order; they are matched by name.",
         "Keep the order of sample_submission.csv.", ids.row_order, repairable=True),
    Rule("id-form", WARNING, ACCEPTED, "File names that do not look like one; found only where ids are not checked.",
         "Write bare file names, and check them: --against sample_submission.csv.", ids.id_form),
    Rule("label-sample-value", WARNING, ACCEPTED, "Rows that still have the sample submission's label.",
         "Look for videos without a prediction.", labels.label_sample_value),
    Rule("label-repeated", WARNING, ACCEPTED, "One label in more than one of 20 rows: a fallback prediction?",
         "Look for videos that got a fallback prediction.", labels.label_repeated),
    Rule("label-extreme", WARNING, ACCEPTED, "Labels of exactly 0 or 1: a wrong one costs 34.54 in its row.",
         "Clip the labels, say to 0.01 and 0.99.", labels.label_extreme),
    Rule("label-classes", WARNING, ACCEPTED, "Only 0 and 1: classes, not probabilities.",
         "Write the model's probability, not its class.", labels.label_classes),
    Rule("label-inverted", WARNING, ACCEPTED, "The opposite labels fit the solution better (checked only with one).",
         "The label is the probability of FAKE: check which of the model's outputs it is.", labels.label_inverted),
)
# fmt: on


def violations(parsed: ParsedSubmission) -> Iterator[Violation]:
    """All violations, in the order of the table."""
    for rule in RULES:
        yield from rule.apply(parsed)


def reference() -> str:
    """The reference page of all rules, in Markdown."""
    lines = [
        "<!-- made by docs/generate.py: change the code, not this page -->\n",
        "# Rules of the submission file\n",
        "What `dfdc validate` checks. Codes never change. An error makes the file invalid; a warning marks what is",
        "legal but costly. `--repair OUT.csv` fixes what is marked so, and does not guess about the rest.\n",
        "| code | severity | meaning | Kaggle reports | fix | `--repair` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for rule in RULES:
        cells = (
            f"`{rule.code}`",
            rule.severity,
            rule.meaning,
            rule.kaggle or "-",
            rule.fix,
            "yes" if rule.repairable else "-",
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class SubmissionTable:
    """The rows of a valid submission, in the file's order: ids (n,), labels (n,) float64 in [0, 1]."""

    ids: Texts
    labels: npt.NDArray[np.float64]
    columns: tuple[str, str]  # names of the id and the label column

    def frame(self) -> "pd.DataFrame":
        """A table with the id as text and the label as float64, as metrics take it."""
        import pandas as pd

        row_id, label = self.columns
        return pd.DataFrame({row_id: pd.Series(as_text(self.ids), dtype=str), label: self.labels})


def validate(
    path: Path, challenge: Challenge, expected: ExpectedRows | None = None, most: int = FIRST
) -> tuple[Validation, SubmissionTable | None]:
    """All violations of the submission file `path`, and its rows if it is valid.

    Without `expected`, only the format is checked; `most`: examples of each violation. Whatever the file contains is a
    violation, never an exception; raises DataMissingError only if a file that exists cannot be read.
    """
    validation, parsed = examine(path, challenge, expected, most)
    if not validation.valid or parsed.ids is None or parsed.labels is None:
        return validation, None
    return validation, SubmissionTable(parsed.ids, parsed.labels.values, parsed.wanted)


def examine(
    path: Path, challenge: Challenge, expected: ExpectedRows | None, most: int = FIRST
) -> tuple[Validation, ParsedSubmission]:
    """What `validate` finds, and the parsed file."""
    parsed = ParsedSubmission(read_csv(path, most), challenge, expected, most)
    found = list(violations(parsed))
    validation = Validation(
        file=str(path),
        rows=len(parsed.text.lines),
        valid=not any(violation.severity == "error" for violation in found),
        ids_checked=expected is not None,
        against="" if expected is None else expected.origin,
        violations=found,
    )
    return validation, parsed


CHUNK_ROWS = 1 << 17


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did. The copy is written only if nothing remains that makes the file invalid."""

    file: str
    out: str
    written: bool
    fixed: list[Violation]  # what the copy no longer has; if not written: what could be fixed
    remains: list[Violation]  # errors that need a decision
    before: Validation


def repair(
    path: Path, out: Path, challenge: Challenge, expected: ExpectedRows | None = None, most: int = FIRST
) -> RepairReport:
    """Write a fixed copy of `path` to `out`, the labels' digits unchanged; nothing if any error would remain.

    most: how many examples of each violation the report has.
    Raises UsageError if `out` is the file itself or a folder, OutputError if it cannot be written.
    """
    if out.is_dir() or (out.exists() and path.exists() and out.samefile(path)):
        what = "a folder" if out.is_dir() else "the submission itself"
        raise UsageError(f"{out} is {what}; nothing was written.", hint="Choose another name: --repair fixed.csv")
    before, parsed = examine(path, challenge, expected, most)
    remains = [error for error in before.errors if not error.repairable]
    if not remains:
        with writing_to(out) as part:
            with part.open("wb") as file:
                file.writelines(_lines(parsed))
            after, _ = validate(part, challenge, expected)
            if not after.valid:
                codes = ", ".join(error.code for error in after.errors)
                raise SubmissionError(f"The fixed copy would still break {codes}; nothing was written.")
    return RepairReport(
        file=str(path),
        out=str(out),
        written=not remains,
        fixed=[violation for violation in before.violations if violation.repairable],
        remains=remains,
        before=before,
    )


def _lines(parsed: ParsedSubmission) -> Iterator[bytes]:
    """The fixed file, in chunks."""
    yield f"{','.join(parsed.wanted)}\n".encode()
    if parsed.ids is None or parsed.raw_labels is None or parsed.labels is None:
        return
    ids, labels = parsed.ids, stripped(parsed.raw_labels, np.flatnonzero(parsed.labels.blanks))
    where = None if parsed.match is None else parsed.match.where
    order = np.arange(len(ids)) if where is None else np.argsort(where)
    for first in range(0, len(order), CHUNK_ROWS):
        rows = order[first : first + CHUNK_ROWS]
        pairs = zip(ids[rows].tolist(), labels[rows].tolist(), strict=True)
        yield b"".join([_quoted(row_id) + b"," + label + b"\n" for row_id, label in pairs])


def _quoted(value: bytes) -> bytes:
    """A value as in a CSV: in quotes where it contains a comma or a quote."""
    return b'"' + value.replace(b'"', b'""') + b'"' if b"," in value or b'"' in value else value
