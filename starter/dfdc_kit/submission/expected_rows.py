"""Which rows a submission must have: those of a sample submission, of a folder of videos, or of a solution."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import ALL_LINES, HARMLESS, Numbers, Texts, preview, read_csv
from dfdc_kit.errors import DataError, UsageError
from dfdc_kit.files import translate_read_errors
from dfdc_kit.formatting import plural
from dfdc_kit.submission.label_text import parse_labels


@dataclass(frozen=True, slots=True)
class ExpectedRows:
    """The rows that a submission must have.

    ids: (n,) unique; origin: where they come from, in words; sample_value: the one label that all rows of the sample
    submission have; labels: (n,) 0 or 1, where they are known.
    """

    ids: Texts
    origin: str
    sample_value: float | None = None
    labels: npt.NDArray[np.uint8] | None = None

    @classmethod
    def from_path(cls, path: Path, challenge: Challenge) -> Self:
        """A sample submission, a folder of videos, or a data folder with either. Raises UsageError or DataError."""
        with translate_read_errors():
            return cls._from_path(path, challenge)

    @classmethod
    def _from_path(cls, path: Path, challenge: Challenge) -> Self:
        if not path.exists():
            raise UsageError(
                f"File or folder not found: {path}",
                hint="Expected after --against: a sample submission, a folder of videos, or a solution.",
            )
        if not path.is_dir():
            return cls.from_sample(path, challenge)
        sample, videos = path / challenge.data.sample_submission, path / challenge.data.test_videos
        if sample.is_file():
            return cls.from_sample(sample, challenge)
        return cls.from_videos(videos if videos.is_dir() else path, challenge)

    @classmethod
    def from_sample(cls, path: Path, challenge: Challenge) -> Self:
        """The rows of a sample submission. Raises DataError if it cannot be one."""
        text = read_csv(path, ALL_LINES)
        ids, labels = text.column(challenge.submission.row_id), text.column(challenge.submission.label)
        broken = [
            f"line {line}: {code}, seen {preview(seen)!r}" if line else code
            for code, anomaly in text.anomalies.items()
            if code not in HARMLESS
            for line, seen in anomaly.first or [(0, b"")]
        ]
        if ids is None or labels is None or broken or not len(ids):
            columns = f"{challenge.submission.row_id},{challenge.submission.label}"
            seen = f"seen {','.join(text.header)!r:.60}, {plural(len(text.lines), 'row')}"
            raise DataError(
                f"{path} is not a sample submission:"
                + ("" if broken else f" {seen}; expected {columns} and at least one row."),
                hint="Use the sample submission as downloaded.",
                faults=broken,
            )
        _check_unique(ids, str(path))
        values = parse_labels(labels).values
        same = len(values) > 0 and bool((values == values[0]).all())
        return cls(ids, f"the sample submission {path}", sample_value=float(values[0]) if same else None)

    @classmethod
    def from_videos(cls, folder: Path, challenge: Challenge) -> Self:
        """The names of the videos in `folder`. Raises DataError if there are none."""
        suffix = challenge.data.video_suffix
        names = sorted(path.name for path in folder.iterdir() if path.suffix == suffix and path.is_file())
        if not names:
            raise DataError(f"{folder} contains no *{suffix} file.", hint="Expected: a folder of videos.")
        return cls.from_names(names, f"the videos in {folder}")

    @classmethod
    def from_names(cls, names: list[str], origin: str) -> Self:
        """A plain list of row ids. Raises DataError if one is empty or occurs twice."""
        ids = np.array([name.encode("utf-8", "surrogateescape") for name in names], np.bytes_)
        _check_unique(ids, origin)
        return cls(ids, origin)

    @classmethod
    def from_solution(cls, ids: Texts, labels: npt.NDArray[np.uint8], origin: str) -> Self:
        """The rows of a solution: ids (n,) unique, labels (n,) 0 or 1."""
        _check_unique(ids, origin)
        return cls(ids, origin, labels=labels)


def _check_unique(ids: Texts, origin: str) -> None:
    again = ids[match(ids, None).repeated]
    if not len(ids) or len(again) or (ids == b"").any():
        seen = f"{preview(again[0])!r} again, and {len(again)} such in all" if len(again) else "none, or an empty one"
        raise DataError(f"Row ids of {origin}: seen {seen}; expected each once.", hint="Use the file as downloaded.")


@dataclass(frozen=True, slots=True)
class Match:
    """How the ids of a submission (n,) match the expected ones (m,).

    same: they are equal, in the same order; repeated: rows with the id of an earlier row; missing: indices of expected
    ids without a row; where: (n,) index of the expected id, -1 if unknown; None if nothing is expected, or if same.
    """

    same: bool
    repeated: Numbers
    missing: Numbers
    where: Numbers | None


def match(ids: Texts, expected: Texts | None) -> Match:
    """Match `ids` (n,), in any order, with `expected` (m,), which are unique.

    >>> match(np.array([b"b", b"c", b"b"]), np.array([b"a", b"b"]))
    Match(same=False, repeated=array([2]), missing=array([0]), where=array([ 1, -1,  1]))
    """
    none = np.zeros(0, np.int64)
    if expected is not None and len(ids) == len(expected) and bool((ids == expected).all()):
        return Match(True, none, none, None)
    if bool((ids[1:] > ids[:-1]).all()):
        order, ordered, repeated = None, ids, none
    else:
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        repeated = np.sort(order[1:][ordered[1:] == ordered[:-1]])
    if expected is None:
        return Match(False, repeated, none, None)
    where = _find(ordered, expected)
    if order is not None:
        back = np.empty_like(where)
        back[order] = where
        where = back
    hit = np.zeros(len(expected), np.bool_)
    hit[where[where >= 0]] = True
    return Match(False, repeated, np.flatnonzero(~hit), where)


def _find(ordered: Texts, expected: Texts) -> Numbers:
    """(n,) index in `expected` of each of `ordered`, which are sorted; -1 if it is missing."""
    order = np.argsort(expected, kind="stable")
    sorted_ = expected[order]
    if len(ordered) == len(sorted_) and bool((ordered == sorted_).all()):
        return order
    place = np.minimum(np.searchsorted(sorted_, ordered), len(sorted_) - 1)
    return np.where(sorted_[place] == ordered, order[place], -1)
