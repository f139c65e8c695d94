"""The official metric of the Deepfake Detection Challenge (DFDC): log loss, natural logarithm, lower is better.

    score = -1/n * sum(y * ln(p) + (1 - y) * ln(1 - p))      y = 1 for FAKE, p = predicted probability of FAKE

Predictions are cast to float64 first, then clipped to [1e-15, 1 - 1e-15], so an exact 0 or 1 costs much but stays
finite. Formula and "bounded away from the extremes by a small value": the challenge's evaluation page (2019-12-11).
The value 1e-15 is the one printed on sibling competitions of that time, not on this one's page (inferred).

Fits a Kaggle metric notebook as it is. As a script: python evaluate.py submission.csv solution.csv
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd  # imported late: with arrays at hand, `log_loss` and `row_losses` do not need it

EPSILON = 1e-15
LABEL = "label"
USAGE = "Usage"  # Public, Private or Ignored; Kaggle removes it before the metric, a local solution may have it
CHUNK_ROWS = 1 << 15  # temporaries of one chunk fit into the processor's cache


class ParticipantVisibleError(Exception):
    """The submission is at fault: the one error whose text Kaggle shows to the participant."""


def score(solution: pd.DataFrame, submission: pd.DataFrame, row_id_column_name: str) -> float:
    """Mean log loss of the submission, its rows matched by id, never by position.

    solution: columns <row id>, label (0 = REAL, 1 = FAKE) and perhaps Usage; rows with Usage "Ignored" cost nothing.
    submission: columns <row id>, label (probability of FAKE, in [0, 1]); one row for each solution row, in any order.
    Raises ParticipantVisibleError, naming every rule that the submission breaks; ValueError for a broken solution.

    >>> import pandas as pd
    >>> truth = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "label": [1, 0]})
    >>> guess = pd.DataFrame({"filename": ["b.mp4", "a.mp4"], "label": [0.5, 0.5]})
    >>> score(truth, guess, "filename")
    0.6931471805599453
    >>> score(truth, guess.assign(label=[1.5, 0.5]), "filename")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ParticipantVisibleError: Label outside [0, 1] in 1 row(s), first: b.mp4 (1.5)
    """
    return log_loss(*_aligned(solution, submission, row_id_column_name)[1:])


def losses(solution: pd.DataFrame, submission: pd.DataFrame, row_id_column_name: str) -> pd.Series[float]:
    """The loss of each row, float64, indexed by row id in the solution's order; the mean is the score."""
    import pandas as pd

    ids, truth, predicted = _aligned(solution, submission, row_id_column_name)
    return pd.Series(row_losses(truth, predicted), index=ids)


def log_loss(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean log loss of `predicted` (n,) in [0, 1] against `truth` (n,) of 0 and 1; arrays already matched."""
    chunks = (slice(i, i + CHUNK_ROWS) for i in range(0, len(truth), CHUNK_ROWS))
    return math.fsum(row_losses(truth[rows], predicted[rows]).sum() for rows in chunks) / len(truth)


def row_losses(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The loss of each row (n,), float64; arguments as for `log_loss`."""
    p = np.clip(predicted.astype(np.float64), EPSILON, 1 - EPSILON)  # (n,) float64 before the clip
    return -np.log(np.where(truth == 1, p, 1 - p))


def _aligned(solution: pd.DataFrame, submission: pd.DataFrame, row_id: str) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Ids, truth and predictions (n,) of the rows that count, in the solution's order."""
    import pandas as pd

    counts = _rows_that_count(solution, row_id)
    solution, submission = solution.reset_index(drop=True), submission.reset_index(drop=True)
    if faults := list(_column_faults(submission, row_id)) or list(_row_faults(solution, submission, row_id)):
        raise ParticipantVisibleError("\n".join(faults))
    ids = pd.Index(_ids(solution[row_id]))
    rows = pd.Index(_ids(submission[row_id])).get_indexer(ids)  # (n,) index of each solution row
    return ids[counts], solution[LABEL].to_numpy()[counts], _numbers(submission[LABEL])[rows][counts]


def _rows_that_count(solution: pd.DataFrame, row_id: str) -> np.ndarray:
    if missing := [name for name in (row_id, LABEL) if name not in solution]:
        raise ValueError(f"The solution has no column {', '.join(missing)}.")
    usage = solution[USAGE] if USAGE in solution else solution[row_id].map(lambda _: "Public")
    counts = (usage != "Ignored").to_numpy(bool)  # (n,)
    rules = {
        f"{LABEL} is 0 or 1": solution[LABEL].isin([0, 1]).all(),
        f"{row_id} is given and unique": solution[row_id].notna().all() and _ids(solution[row_id]).is_unique,
        f"{USAGE} is Public, Private or Ignored": usage.isin(["Public", "Private", "Ignored"]).all(),
        "at least one row counts": counts.any(),
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise ValueError(f"The solution breaks the rule: {'; '.join(broken)}.")
    return counts


def _column_faults(submission: pd.DataFrame, row_id: str) -> Iterator[str]:
    seen, wanted = [str(name) for name in submission.columns], [row_id, LABEL]
    for problem, names in (
        ("Missing", [name for name in wanted if name not in seen]),
        ("Unexpected", [name for name in seen if name not in wanted]),
        ("Repeated", [name for name in wanted if seen.count(name) > 1]),
    ):
        if names:
            yield f"{problem} column(s): {', '.join(names[:5])}; expected exactly: {row_id},{LABEL}"


def _row_faults(solution: pd.DataFrame, submission: pd.DataFrame, row_id: str) -> Iterator[str]:
    ids, known, label = _ids(submission[row_id]), _ids(solution[row_id]), submission[LABEL]
    number, empty = _numbers(label), (label.isna() | label.astype(object).eq("")).to_numpy()
    yield from _fault("Missing id", known[~known.isin(ids)])
    yield from _fault("Duplicate id", ids[ids.duplicated()])
    yield from _fault("Unknown id", ids[~ids.isin(known)])
    yield from _fault("Empty or NaN label", ids[empty])
    yield from _fault("Label is not a number", ids[np.isnan(number) & ~empty], label)
    yield from _fault("Infinite label", ids[np.isinf(number)], label)
    yield from _fault("Label outside [0, 1]", ids[np.isfinite(number) & ~((number >= 0) & (number <= 1))], label)


def _fault(rule: str, ids: pd.Series, seen: pd.Series | None = None) -> Iterator[str]:
    if len(ids):
        first = [ids[i] + ("" if seen is None else f" ({seen[i]!s:.40})") for i in ids.index[:3]]
        yield f"{rule} in {len(ids)} row(s), first: {', '.join(first)}"


def _ids(column: pd.Series) -> pd.Series[str]:
    return column.astype(object).where(column.notna(), "(empty)").astype(str)


def _numbers(label: pd.Series) -> np.ndarray:
    if label.dtype.kind in "iuf":
        return label.to_numpy(np.float64, na_value=np.nan)
    return np.array([_number(value) for value in label.astype(object)], np.float64)


def _number(value: object) -> float:
    """NaN for what is not a number: True, a date, 1_0. `float` is exact; pandas 2 misses the last digits of text."""
    plain = value.isascii() and "_" not in value if isinstance(value, str) else not isinstance(value, bool)
    try:
        return float(value) if plain and isinstance(value, (str, Real, Decimal)) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def main(submission_csv: str, solution_csv: str) -> int:
    """Print the score as the leaderboard shows it, truncated to five decimals, then in full; 1 if there is none."""
    import pandas as pd

    row_id = str(pd.read_csv(solution_csv, nrows=0).columns[0])
    solution = pd.read_csv(solution_csv, dtype={row_id: str}, keep_default_na=False)
    try:
        submission = pd.read_csv(submission_csv, dtype=str, keep_default_na=False)
        if not isinstance(submission.index, pd.RangeIndex):  # surplus values, which pandas reads as an index
            raise ParticipantVisibleError("Rows hold more values than the header.")
        value = score(solution, submission, row_id)
    except (ParticipantVisibleError, OSError, pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeError) as error:
        print(f"Submission Scoring Error\n{error}", file=sys.stderr)
        return 1
    print(f"{Decimal(repr(value)).quantize(Decimal('0.00001'), ROUND_DOWN)} ({value!r})")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else "usage: python evaluate.py submission.csv solution.csv")
