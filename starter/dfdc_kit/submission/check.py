"""Validate a submission file: read once as text, all rules at once, and numbers only if it breaks none of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csvtext import Texts, as_text, read_csv
from dfdc_kit.submission.case import Case
from dfdc_kit.submission.expected import Expected
from dfdc_kit.submission.rules import Validation, violations

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SubmissionTable:
    """The rows of a valid submission, in the file's order: ids (n,), labels (n,) float64 in [0, 1]."""

    ids: Texts
    labels: npt.NDArray[np.float64]
    columns: tuple[str, str]  # names of the id and the label column

    def frame(self) -> "pd.DataFrame":
        """A table with the id as text and the label as float64, as a metric wants it."""
        import pandas as pd

        row_id, label = self.columns
        return pd.DataFrame({row_id: pd.Series(as_text(self.ids), dtype=str), label: self.labels})


def validate(
    path: Path, challenge: Challenge, expected: Expected | None = None
) -> tuple[Validation, SubmissionTable | None]:
    """Everything that is wrong with the submission file `path`, and its rows if it is valid.

    Without `expected`, only the format is checked. Whatever the file holds is a finding, never an exception; raises
    MissingData only if the machine does not let us read a file that is there.
    """
    validation, case = examine(path, challenge, expected)
    if not validation.valid or case.ids is None or case.labels is None:
        return validation, None
    return validation, SubmissionTable(case.ids, case.labels.values, case.wanted)


def examine(path: Path, challenge: Challenge, expected: Expected | None) -> tuple[Validation, Case]:
    """What `validate` finds, and the file's text with all that was worked out on the way."""
    case = Case(read_csv(path), challenge, expected)
    found = list(violations(case))
    validation = Validation(
        file=str(path),
        rows=len(case.text.lines),
        valid=not any(violation.severity == "error" for violation in found),
        ids_checked=expected is not None,
        against="" if expected is None else expected.origin,
        violations=found,
    )
    return validation, case
