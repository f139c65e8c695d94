"""The solution: the ground truth that a submission is scored against, from a CSV or a `metadata.json`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import Texts, as_text, read_csv
from dfdc_kit.data.labels import USAGE, expected_form, names_in, read_label_rows
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import translate_read_errors
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    import pandas as pd

LABELS_CSV = "labels.csv"


@dataclass(frozen=True, slots=True)
class Solution:
    """ids (n,) unique file names; labels (n,) 1 for the positive class; usage (n,) Public, Private, Ignored, or None.

    originals (n,): the original of each video, the own name of one without; None if none is known.
    notes: how column names and file names that are not the official ones were interpreted.
    """

    path: Path
    ids: Texts
    labels: npt.NDArray[np.uint8]
    usage: Texts | None
    columns: tuple[str, str]  # names of the id and the label column
    notes: tuple[str, ...] = ()
    originals: Texts | None = None

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Solution":
        """Some of the rows: a mask (n,) or indices."""
        usage = None if self.usage is None else self.usage[rows]
        originals = None if self.originals is None else self.originals[rows]
        return replace(self, ids=self.ids[rows], labels=self.labels[rows], usage=usage, originals=originals)

    def frame(self) -> "pd.DataFrame":
        """A table with the id as text, the label as an integer 0 or 1 and, if known, Usage as text."""
        import pandas as pd

        row_id, label = self.columns
        table = pd.DataFrame({row_id: pd.Series(as_text(self.ids), dtype=str), label: self.labels.astype(np.int64)})
        return table if self.usage is None else table.assign(**{USAGE: pd.Series(as_text(self.usage), dtype=str)})


def read_solution(path: Path, challenge: Challenge) -> Solution:
    """Read the solution `path`: a file, or a folder that contains exactly one.

    Raises DataMissingError if there is none, or more than one in a folder; DataError, with line numbers, if broken.
    """
    with translate_read_errors():
        file = find_solution(path, challenge)
        rows = read_label_rows(file, challenge)
    columns = (challenge.submission.row_id, challenge.submission.label)
    known = rows.originals != b""  # (n,)
    originals = np.where(known, rows.originals, rows.ids) if known.any() else None
    return Solution(file, rows.ids, rows.labels, rows.usage, columns, rows.notes, originals)


def find_solution(path: Path, challenge: Challenge) -> Path:
    """The solution file: `path` itself, or the only one in the folder `path`. Raises DataMissingError."""
    if not path.is_dir():
        if not path.exists():
            raise DataMissingError(f"File or folder not found: {path}", hint=expected_form(challenge))
        return path
    found = _in_folder(path, challenge)
    if not found:
        raise DataMissingError(f"The folder {path} contains no solution.", hint=expected_form(challenge))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise DataMissingError(
            f"The folder {path} contains more than one solution: {names}.", hint="Name one of these files."
        )
    return found[0]


def contains_solution(path: Path, challenge: Challenge) -> bool:
    """Whether `path` has labels, rather than only the rows that a submission must have.

    True for a folder that contains a solution, a JSON file, a CSV with a column Usage, without the official columns,
    or with labels FAKE or REAL, or 0 and 1 and no other number (a sample has one value, a submission others).
    """
    if path.is_dir():
        return bool(_in_folder(path, challenge))
    if path.suffix.lower() == ".json":
        return True
    text, columns = read_csv(path), challenge.submission
    label = text.column(columns.label)
    if any(name.strip().lower() == USAGE.lower() for name in text.header):
        return True
    if label is None or columns.row_id not in text.header:
        return len(text.header) > 1 and bool(text.columns)
    words = {value.strip().lower().decode("utf-8", "replace") for value in label.tolist()}
    if words & {columns.negative.lower(), columns.positive.lower()}:
        return True
    return words >= {"0", "1"} and not any(_is_number(word) for word in words - {"0", "1"})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_folder(folder: Path, challenge: Challenge) -> list[Path]:
    solution = Path(challenge.data.solution)
    names = (challenge.data.metadata, solution.name, LABELS_CSV, solution)
    return [file for file in dict.fromkeys(folder / name for name in names) if file.is_file()]


def read_solution_for(path: Path, challenge: Challenge, ids: Texts) -> Solution:
    """The solution's rows with one of `ids` (n,), in the solution's order. Raises DataError if it lacks some."""
    return solution_for(read_solution(path, challenge), ids)


def solution_for(solution: Solution, ids: Texts) -> Solution:
    """The rows of `solution` with one of `ids` (n,), in the solution's order. Raises DataError if it lacks some."""
    own, wanted = solution.ids.tolist(), set(ids.tolist())  # np.isin would import numpy.ma: 30 ms of each run
    rows = np.fromiter((row in wanted for row in own), np.bool_, len(own))  # (n_solution,)
    lacking = sorted(wanted.difference(own))
    hint = "Name the solution of this data set: --solution PATH"
    if not rows.any():
        raise DataError(
            f"{solution.path} is another data set's solution: it has none of the {plural(len(ids), 'video')},"
            f" such as {names_in(ids[:1].tolist())}; it has {names_in(solution.ids[:1].tolist())}.",
            hint=hint,
        )
    if len(lacking):
        seen = f"{len(lacking):,} of {plural(len(ids), 'video')}, first: {names_in(lacking[:3])}"
        raise DataError(f"{solution.path} has no label for {seen}.", hint=hint)
    return solution.take(rows)


def labels_in_order(solution: Solution, ids: Texts) -> npt.NDArray[np.uint8]:
    """The labels (n,) of `ids` (n,), all of which the solution has."""
    index = {row: at for at, row in enumerate(solution.ids.tolist())}
    return solution.labels[[index[row] for row in ids.tolist()]]
