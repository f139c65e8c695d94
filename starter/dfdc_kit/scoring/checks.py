"""Call a metric file whatever it does, and write down what was seen beside what was expected."""

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dfdc_kit.challenge import SubmissionFile
from dfdc_kit.scoring.metric import LoadedMetric

if TYPE_CHECKING:
    import pandas as pd

RELATIVE = Decimal("1e-13")  # what summing in another order may change, for as many rows as are tried here
ABSOLUTE = Decimal(2) ** -52  # what rounding 1 - p to float64 may change


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the proof."""

    group: str
    name: str
    expected: str
    seen: str
    difference: float | None = None  # seen - expected, where both are numbers
    ok: bool | None  # None: nothing is demanded, the line informs
    why: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a call returned or raised."""

    value: object = None
    error: BaseException | None = None

    @property
    def number(self) -> float | None:
        """The value, if it is what a metric must return: one finite float."""
        good = isinstance(self.value, (float, int))
        return float(self.value) if good and math.isfinite(self.value) else None  # type: ignore[arg-type]

    def __str__(self) -> str:
        """In one short line."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}".splitlines()[0][:200]
        plain = isinstance(self.value, float)
        return repr(float(self.value)) if plain else f"{type(self.value).__name__} {self.value!r}"[:200]  # type: ignore[arg-type]


def call(metric: LoadedMetric, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str) -> Outcome:
    """Call the file's own `score`; its prints and warnings are dropped, what it raises is an outcome."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            return Outcome(value=metric.module.score(solution, submission, row_id))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's file may raise anything
            return Outcome(error=error)


def frames(
    truth: Sequence[int], predicted: Sequence[float], columns: SubmissionFile, dtype: str = "float64"
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Solution and submission with the same rows in the same order, as they would be read from CSV files."""
    import pandas as pd

    names = [f"{i:05d}.mp4" for i in range(len(truth))]
    solution = pd.DataFrame({columns.row_id: names, columns.label: list(truth)})
    return solution, pd.DataFrame({columns.row_id: names, columns.label: pd.Series(list(predicted), dtype=dtype)})


def value_check(group: str, name: str, outcome: Outcome, expected: Decimal, why: str = "") -> Check:
    """The outcome must be the number `expected`, but for the rounding of float64."""
    seen = outcome.number
    difference = None if seen is None else Decimal(seen) - expected
    return Check(
        group=group,
        name=name,
        expected=str(expected),
        seen=str(outcome),
        difference=None if difference is None else float(difference),
        ok=difference is not None and abs(difference) <= ABSOLUTE + RELATIVE * abs(expected),
        why=why,
    )
