"""Mend a submission file where that needs no guess: order, line ends, byte order mark, quotes, blanks, header case."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import SubmissionError, UsageError
from dfdc_kit.files import writing_to
from dfdc_kit.submission.case import Case, stripped
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import Validation, Violation, examine, validate

CHUNK_ROWS = 1 << 17


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did. Written only if nothing remains that makes the file invalid."""

    file: str
    out: str
    written: bool
    mended: list[Violation]  # what the copy no longer has; if it was not written: what could be mended
    remains: list[Violation]  # errors that need a decision
    before: Validation


def repair(path: Path, out: Path, challenge: Challenge, expected: ExpectedRows | None = None) -> RepairReport:
    """Write a mended copy of `path` to `out`, the labels' digits as they were; nothing if any error would remain.

    Raises UsageError if `out` is the file itself or a folder, OutputError if it cannot be written.
    """
    if out.is_dir() or (out.exists() and path.exists() and out.samefile(path)):
        what = "a folder" if out.is_dir() else "the submission itself"
        raise UsageError(f"{out} is {what}; nothing was written.", hint="Choose another name: --repair mended.csv")
    before, case = examine(path, challenge, expected)
    remains = [error for error in before.errors if not error.repairable]
    if not remains:
        with writing_to(out) as part:
            with part.open("wb") as file:
                file.writelines(_lines(case))
            after, _ = validate(part, challenge, expected)
            if not after.valid:
                codes = ", ".join(error.code for error in after.errors)
                raise SubmissionError(f"The mended copy would still break {codes}; nothing was written.")
    return RepairReport(
        file=str(path),
        out=str(out),
        written=not remains,
        mended=[violation for violation in before.violations if violation.repairable],
        remains=remains,
        before=before,
    )


def _lines(case: Case) -> Iterator[bytes]:
    """The mended file, in pieces."""
    yield f"{','.join(case.wanted)}\n".encode()
    if case.ids is None or case.raw_labels is None or case.labels is None:
        return
    ids, labels = case.ids, stripped(case.raw_labels, np.flatnonzero(case.labels.blanks))
    where = None if case.match is None else case.match.where
    order = np.arange(len(ids)) if where is None else np.argsort(where)
    for first in range(0, len(order), CHUNK_ROWS):
        rows = order[first : first + CHUNK_ROWS]
        pairs = zip(ids[rows].tolist(), labels[rows].tolist(), strict=True)
        yield b"".join([_quoted(row_id) + b"," + label + b"\n" for row_id, label in pairs])


def _quoted(value: bytes) -> bytes:
    """A value as it stands in a CSV: in quotes where it holds a comma or a quote."""
    return b'"' + value.replace(b'"', b'""') + b'"' if b"," in value or b'"' in value else value
