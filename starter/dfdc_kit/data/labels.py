"""A solution CSV, written from metadata."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.catalogue import Catalogue, read_catalogue
from dfdc_kit.resources import write_bytes


class LabelsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    path: str
    sources: list[str]
    rows: int
    fake: int
    real: int
    stood_twice: int  # videos that more than one file names, with the same label


def write_labels(paths: Iterable[Path], out: Path, challenge: Challenge) -> LabelsReport:
    """Write the solution of all videos in `paths` to `out`, sorted by name, whole or not at all.

    Raises MissingData, BadData (a broken file; two files that contradict each other) or OutputFault.
    """
    catalogue = read_catalogue(paths, challenge)
    write_bytes(out, solution_csv(catalogue, range(len(catalogue)), challenge))
    fake = int(catalogue.fake.sum())
    return LabelsReport(
        path=str(out),
        sources=[str(listing.file) for listing in catalogue.listings],
        rows=len(catalogue),
        fake=fake,
        real=len(catalogue) - fake,
        stood_twice=len(catalogue.again),
    )


def solution_csv(catalogue: Catalogue, rows: Iterable[int], challenge: Challenge) -> bytes:
    """The truth about some rows of a catalogue as a solution file, sorted by name."""
    return _csv(((catalogue.names[i], int(catalogue.fake[i])) for i in rows), challenge)


def sample_csv(catalogue: Catalogue, rows: Iterable[int], challenge: Challenge) -> bytes:
    """A sample submission of some rows: as in the challenge's own file, each label is the integer 0."""
    return _csv(((catalogue.names[i], 0) for i in rows), challenge)


def _csv(rows: Iterable[tuple[str, int]], challenge: Challenge) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([challenge.submission.row_id, challenge.submission.label])
    table.writerows(sorted(rows))
    return text.getvalue().encode()
