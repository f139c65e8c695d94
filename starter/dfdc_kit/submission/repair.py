"""Fix a submission file where nothing has to be guessed: order, line ends, byte order mark, quotes, blanks, case."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import FIRST
from dfdc_kit.errors import SubmissionError, UsageError
from dfdc_kit.files import writing_to
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.parsed import ParsedSubmission, stripped
from dfdc_kit.submission.validate import Validation, Violation, examine, validate

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
