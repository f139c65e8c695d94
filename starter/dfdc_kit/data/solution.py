"""The truth about the videos: from a solution CSV, a `metadata.json` of the challenge, or a folder that holds one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import HARMLESS, CsvText, Texts, as_text, preview, read_csv
from dfdc_kit.data.metadata import raise_for, read_metadata
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    import pandas as pd


USAGE = "Usage"
USAGES = ("Public", "Private", "Ignored")
FIRST = 3


@dataclass(frozen=True, slots=True)
class Solution:
    """The truth: ids (n,) unique, truth (n,) with 1 for the challenge's positive class, usage (n,) if it was given."""

    path: Path
    ids: Texts
    labels: npt.NDArray[np.uint8]
    usage: Texts | None
    columns: tuple[str, str]  # names of the id and the label column

    def frame(self) -> "pd.DataFrame":
        """A table with the id as text, the label as an integer 0 or 1 and, if known, Usage as text."""
        import pandas as pd

        row_id, label = self.columns
        table = pd.DataFrame({row_id: pd.Series(as_text(self.ids), dtype=str), label: self.labels.astype(np.int64)})
        return table if self.usage is None else table.assign(**{USAGE: pd.Series(as_text(self.usage), dtype=str)})


def read_solution(path: Path, challenge: Challenge) -> Solution:
    """Read the truth from `path`.

    Raises DataMissingError if there is none, or more than one in a folder; DataError, naming file, row, seen and
    expected, if it is broken.
    """
    file = find_solution(path, challenge)
    solution = _from_json(file, challenge) if _is_json(file) else _from_csv(file, challenge)
    if not len(solution.ids):
        raise DataError(f"{file} names no video.", hint=_EXPECTED.format(**_names(challenge)))
    return solution


def raise_if_sample(solution: Solution, challenge: Challenge) -> None:
    """A file that calls every video 0 and has no Usage is a sample submission, not the truth. Raises DataError."""
    if solution.usage is None and len(solution.ids) > 1 and not solution.labels.any():
        negative = challenge.submission.negative
        raise DataError(
            f"{solution.path} calls all {len(solution.ids):,} videos {negative} (0), as a sample submission does.",
            hint=f"Name the file with the truth. If all are {negative} indeed, say so with a column {USAGE}: Public.",
        )


def find_solution(path: Path, challenge: Challenge) -> Path:
    """The file that holds the truth: `path` itself, or the only one in the folder `path`. Raises DataMissingError."""
    if not path.is_dir():
        if not path.exists():
            raise DataMissingError(f"There is no solution {path}.", hint=_EXPECTED.format(**_names(challenge)))
        return path
    found = _in_folder(path, challenge)
    if not found:
        raise DataMissingError(f"The folder {path} holds no solution.", hint=_EXPECTED.format(**_names(challenge)))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise DataMissingError(
            f"The folder {path} holds more than one solution: {names}.", hint="Name one of these files."
        )
    return found[0]


def holds_solution(path: Path, challenge: Challenge) -> bool:
    """Whether `path` tells the truth about videos, rather than only which rows a submission must have.

    A folder with a solution in it, a JSON file, a CSV with a column Usage, or one with both 0 and 1 and nothing else
    as labels (a sample submission has one value everywhere, a submission has others).
    """
    if path.is_dir():
        return bool(_in_folder(path, challenge))
    if _is_json(path):
        return True
    text = read_csv(path)
    label = text.column(challenge.submission.label)
    return USAGE in text.header or (label is not None and set(np.unique(label).tolist()) == {b"0", b"1"})


def _in_folder(folder: Path, challenge: Challenge) -> list[Path]:
    solution = Path(challenge.data.solution)
    places = (challenge.data.metadata, solution.name, "labels.csv", solution)
    return [file for file in dict.fromkeys(folder / place for place in places) if file.is_file()]


_EXPECTED = "Expected: a CSV {row_id},{label}[,Usage] with labels 0 and 1, or a {metadata}, or a folder that holds one."


def _names(challenge: Challenge) -> dict[str, str]:
    columns = challenge.submission
    return {"row_id": columns.row_id, "label": columns.label, "metadata": challenge.data.metadata}


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _from_json(path: Path, challenge: Challenge) -> Solution:
    columns = challenge.submission
    rows = read_metadata(path, challenge)
    return Solution(
        path=path,
        ids=np.array([name.encode() for name in rows], np.bytes_),
        labels=np.array([entry["label"] == columns.positive for entry in rows.values()], np.uint8),
        usage=None,
        columns=(columns.row_id, columns.label),
    )


def _from_csv(path: Path, challenge: Challenge) -> Solution:
    columns = challenge.submission
    text = read_csv(path)
    raise_for(path, list(_file_faults(text, [columns.row_id, columns.label])))
    ids, label, usage = text.column(columns.row_id), text.column(columns.label), text.column(USAGE)
    assert ids is not None  # noqa: S101 - else it would be among the faults
    assert label is not None  # noqa: S101
    faults = [
        *_row_faults(text, columns.row_id, ids, ids == b"", "a file name"),
        *_row_faults(text, columns.row_id, ids, _repeated(ids), "each name once"),
        *_row_faults(text, columns.label, label, ~np.isin(label, [b"0", b"1"]), f"0 ({columns.negative}) or 1"),
    ]
    if usage is not None:
        wrong = ~np.isin(usage, [name.encode() for name in USAGES])
        faults += _row_faults(text, USAGE, usage, wrong, ", ".join(USAGES))
    raise_for(path, faults)
    truth = (label == b"1").astype(np.uint8)
    return Solution(path=path, ids=ids, labels=truth, usage=usage, columns=(columns.row_id, columns.label))


def _file_faults(text: CsvText, wanted: list[str]) -> Iterator[str]:
    for code, anomaly in text.anomalies.items():
        if code not in HARMLESS:
            line, seen = anomaly.first[0] if anomaly.first else (0, b"")
            where = f"line {line}: " if line else ""
            yield f"{where}{code}{f', seen {preview(seen)!r}' if seen else ''}"
    if text.header_line:
        for name in wanted:
            if text.header.count(name) != 1:
                yield f"line {text.header_line}: seen {','.join(text.header)!r:.80}, expected one column {name}"


def _repeated(ids: Texts) -> npt.NDArray[np.bool_]:
    """(n,) True for every row whose id stood before."""
    order = np.argsort(ids, kind="stable")
    found = np.zeros(len(ids), np.bool_)
    found[order[1:][ids[order[1:]] == ids[order[:-1]]]] = True
    return found


def _row_faults(text: CsvText, name: str, column: Texts, wrong: npt.NDArray[np.bool_], expected: str) -> Iterator[str]:
    rows = np.flatnonzero(wrong)
    for i in rows[:FIRST].tolist():
        more = f" (the first of {len(rows)} such rows)" if len(rows) > 1 and i == rows[0] else ""
        yield f"line {text.lines[i]}, {name}: seen {preview(column[i])!r}, expected {expected}{more}"


def read_solution_for(path: Path, challenge: Challenge, ids: Texts) -> Solution:
    """The solution's rows with one of `ids` (n,), in the solution's own order. Raises DataError if it lacks some."""
    solution = read_solution(path, challenge)
    raise_if_sample(solution, challenge)
    wanted = set(ids.tolist())
    rows = np.array([row in wanted for row in solution.ids.tolist()])  # (n_solution,)
    if rows.sum() < len(wanted):
        missing = sorted(wanted.difference(solution.ids.tolist()))
        lacking = f"{len(missing)} of {plural(len(ids), 'row')}, first: {b', '.join(missing[:3]).decode()}"
        raise DataError(
            f"{solution.path} lacks {lacking}.",
            hint="Name the solution that belongs to the data: --solution PATH",
        )
    usage = None if solution.usage is None else solution.usage[rows]
    return replace(solution, ids=solution.ids[rows], labels=solution.labels[rows], usage=usage)


def labels_in_order(solution: Solution, ids: Texts) -> npt.NDArray[np.uint8]:
    """The truth (n,) of `ids` (n,), which the solution has all."""
    place = {row: at for at, row in enumerate(solution.ids.tolist())}
    return solution.labels[[place[row] for row in ids.tolist()]]
