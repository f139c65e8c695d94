"""The contract of a metric file besides its values: rows matched by id, the right errors, no side effects."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from dfdc_kit.challenge import Challenge, SubmissionFile
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.golden_vectors import reference
from dfdc_kit.scoring.metric import LoadedMetric

if TYPE_CHECKING:
    import pandas as pd


RELATIVE = Decimal("1e-13")  # tolerance for summing in another order, for as many rows as are tested here
ABSOLUTE = Decimal(2) ** -52  # tolerance for rounding 1 - p to float64


class MetricCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the parity report."""

    group: str
    name: str
    expected: str
    seen: str
    difference: float | None = None  # seen - expected, where both are numbers
    ok: bool | None  # None: for information only
    why: str = ""


class MetricCall(msgspec.Struct, frozen=True):
    """What a call of a metric returned or raised."""

    value: object = None
    error: BaseException | None = None

    @property
    def number(self) -> float | None:
        """The value, if it is what a metric must return: a finite float."""
        good = isinstance(self.value, (float, int))
        return float(self.value) if good and math.isfinite(self.value) else None  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The value or the error in one short line."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}".splitlines()[0][:200]
        plain = isinstance(self.value, float)
        return repr(float(self.value)) if plain else f"{type(self.value).__name__} {self.value!r}"[:200]  # type: ignore[arg-type]


def call(metric: LoadedMetric, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str) -> MetricCall:
    """Call the file's own `score`; its output and warnings are dropped, its exceptions are returned."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            return MetricCall(value=metric.module.score(solution, submission, row_id))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a metric file may raise anything
            return MetricCall(error=error)


def frames(
    labels: Sequence[int], predicted: Sequence[float], columns: SubmissionFile, dtype: str = "float64"
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Solution and submission with the same rows in the same order, as read from CSV files."""
    import pandas as pd

    names = [f"{i:05d}.mp4" for i in range(len(labels))]
    solution = pd.DataFrame({columns.row_id: names, columns.label: list(labels)})
    return solution, pd.DataFrame({columns.row_id: names, columns.label: pd.Series(list(predicted), dtype=dtype)})


def value_check(group: str, name: str, result: MetricCall, expected: Decimal, why: str = "") -> MetricCheck:
    """The result must be the number `expected`, within the rounding of float64."""
    seen = result.number
    difference = None if seen is None else Decimal(seen) - expected
    return MetricCheck(
        group=group,
        name=name,
        expected=str(expected),
        seen=str(result),
        difference=None if difference is None else float(difference),
        ok=difference is not None and abs(difference) <= ABSOLUTE + RELATIVE * abs(expected),
        why=why,
    )


LABELS, PREDICTIONS = (
    (1, 0, 1, 1, 0),
    (0.875, 0.125, 0.75, 0.5, 0.25),
)  # exact in float32, every loss differs


def check_row_matching(metric: LoadedMetric, challenge: Challenge) -> Iterator[MetricCheck]:
    """The same rows in another form must score the same."""
    columns, expected = challenge.submission, reference(LABELS, PREDICTIONS)
    solution, submission = frames(LABELS, PREDICTIONS, columns)
    for name, (changed_solution, changed_submission) in _variants(solution, submission, columns).items():
        result = call(metric, changed_solution, changed_submission, columns.row_id)
        yield value_check("Row matching", name, result, expected, "rows are matched by id only")
    renamed = [frame.rename(columns={columns.row_id: "another_id"}) for frame in (solution, submission)]
    result = call(metric, renamed[0], renamed[1], "another_id")
    yield value_check("Row matching", "row id column of another name", result, expected, "the name is an argument")
    shared = solution.assign(Usage=["Public", "Private", "Public", "Private", "Public"])
    result = call(metric, shared, submission.copy(), columns.row_id)
    yield value_check("Row matching", "solution with a column Usage", result, expected, "both parts count in one call")
    ignored = solution.assign(Usage=["Public", "Private", "Public", "Ignored", "Public"])
    result = call(metric, ignored, submission.copy(), columns.row_id)
    counted = reference([*LABELS[:3], LABELS[4]], [*PREDICTIONS[:3], PREDICTIONS[4]])
    check = value_check("Row matching", "solution with an Ignored row", result, counted, "")
    yield replace(check, ok=None, why="dfdc leaves such rows out itself; a file that is run by hand should, too")


def _variants(
    solution: "pd.DataFrame", submission: "pd.DataFrame", columns: SubmissionFile
) -> "dict[str, tuple[pd.DataFrame, pd.DataFrame]]":
    shuffled, label = [3, 0, 4, 2, 1], columns.label
    numbered = [frame.assign(**{columns.row_id: [40, 7, 19, 3, 25]}) for frame in (solution, submission)]
    return {
        "submission reversed": (solution, submission[::-1]),
        "submission shuffled, index kept": (solution, submission.iloc[shuffled]),
        "submission shuffled, index new": (solution, submission.iloc[shuffled].reset_index(drop=True)),
        "solution shuffled, index new": (solution.iloc[shuffled].reset_index(drop=True), submission),
        "index of repeated numbers": (solution.set_axis([7] * 5), submission.set_axis([1, 1, 2, 2, 3])),
        "index of ids, rows shuffled": (
            solution,
            submission.iloc[shuffled].set_index(columns.row_id, drop=False).rename_axis(None),
        ),
        "columns in another order": (solution, submission[[label, columns.row_id]]),
        "ids that are numbers, shuffled": (numbered[0], numbered[1].iloc[shuffled]),
        "labels as float32": (solution, submission.astype({label: "float32"})),
        "labels as Float64, nullable": (solution, submission.astype({label: "Float64"})),
        "labels as Python objects": (solution, submission.astype({label: object})),
        "solution as float64": (solution.astype({label: "float64"}), submission),
        "solution as int8": (solution.astype({label: "int8"}), submission),
    }


def check_rejections(metric: LoadedMetric, challenge: Challenge) -> Iterator[MetricCheck]:
    """An invalid submission must be refused with an error shown to its author, a broken solution with another."""
    import pandas as pd

    columns = challenge.submission
    solution, submission = frames(LABELS, PREDICTIONS, columns)
    for name, broken in _broken(submission, columns).items():
        result = call(metric, solution.copy(), broken, columns.row_id)
        yield _error_check(metric, name, result)
    wrong_label = solution.assign(**{columns.label: [1, 0, 1, 2, 0]})
    yield _host_check(metric, "a solution with a label of 2", wrong_label, submission, columns.row_id, required=True)
    twice = pd.concat([solution, solution[:1]], ignore_index=True)
    yield _host_check(metric, "a solution with a row twice", twice, submission, columns.row_id, required=False)


def _host_check(
    metric: LoadedMetric,
    name: str,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    row_id: str,
    *,
    required: bool,
) -> MetricCheck:
    """A broken solution is the host's error; a metric need not detect those that are not `required`."""
    result = call(metric, solution, submission, row_id)
    blamed = isinstance(result.error, Exception) and metric.blames_participant(result.error)
    return MetricCheck(
        group="Rejections",
        name=name,
        expected="another error",
        seen=str(result),
        ok=result.error is not None and not blamed if required else None,
        why="an error in the host's file is not the participant's",
    )


def _broken(submission: "pd.DataFrame", columns: SubmissionFile) -> "dict[str, pd.DataFrame]":
    import numpy as np
    import pandas as pd

    def label(value: object) -> "pd.DataFrame":
        """One label replaced."""
        values = [value, *PREDICTIONS[1:]]
        return submission.assign(
            **{columns.label: pd.Series(values, dtype=None if isinstance(value, float) else object)}
        )

    def named(value: object) -> "pd.DataFrame":
        """One id replaced."""
        return submission.assign(**{columns.row_id: [*submission[columns.row_id][:-1], value]})

    return {
        "a row is missing": submission[1:],
        "no rows at all": submission[:0],
        "a row twice": pd.concat([submission, submission[:1]], ignore_index=True),
        "a row twice, another label": pd.concat([submission, label(0.5)[:1]], ignore_index=True),
        "a row twice, another missing": pd.concat([submission[1:], submission[1:2]], ignore_index=True),
        "an unknown id, nothing missing": pd.concat([submission, named("x.mp4")[-1:]], ignore_index=True),
        "an unknown id, another missing": named("x.mp4"),
        "an empty id": named(None),
        "label is text": label("FAKE"),
        "label is empty": label(None),
        "label is NaN": label(float("nan")),
        "label is infinite": label(float("inf")),
        "label is minus infinity": label(float("-inf")),
        "label above 1": label(1.5),
        "label just above 1": label(float(np.nextafter(1.0, 2.0))),
        "label below 0": label(-0.5),
        "label just below 0": label(-5e-324),
        "no label column": submission[[columns.row_id]],
        "no row id column": submission[[columns.label]],
        "an extra column": submission.assign(comment="mine"),
    }


def _error_check(metric: LoadedMetric, name: str, result: MetricCall) -> MetricCheck:
    visible = isinstance(result.error, Exception) and metric.blames_participant(result.error)
    message = str(result.error).strip()
    return MetricCheck(
        group="Rejections",
        name=name,
        expected="refused",
        seen=f"refused: {message}" if visible else str(result),
        ok=visible and bool(message),
        why="expected a ParticipantVisibleError with a message; any other error counts as the host's",
    )


def check_purity(metric: LoadedMetric, challenge: Challenge) -> Iterator[MetricCheck]:
    """Same input, same value; inputs unchanged; and losses, if there are any, whose mean is the score."""
    columns = challenge.submission
    solution, submission = frames(LABELS, PREDICTIONS, columns)
    seen = dict.fromkeys(str(call(metric, solution.copy(), submission.copy(), columns.row_id)) for _ in range(5))
    yield MetricCheck(
        group="Purity",
        name="five calls, one value",
        expected="1 value",
        seen=f"{plural(len(seen), 'value')}: {', '.join(seen)}"[:200],
        ok=len(seen) == 1,
        why="a score must not depend on chance or on earlier calls",
    )
    for name, labels in (
        ("good", (1.0, 0.0, *PREDICTIONS[2:])),
        ("integer", (1, 0, 1, 1, 0)),
        ("broken", (2.0, *PREDICTIONS[1:])),
    ):
        given = submission.assign(**{columns.label: labels})[::-1]
        yield _unchanged(metric, f"{name} inputs left unchanged", solution, given, columns.row_id)
    if hasattr(metric.module, "losses"):
        result = _mean_loss(metric, solution, submission[::-1], columns)
        why = "the mean of the losses must be the score"
        yield value_check("Purity", "mean of losses", result, reference(LABELS, PREDICTIONS), why)
        for at, name in enumerate(solution[columns.row_id]):
            result = _mean_loss(metric, solution, submission[::-1], columns, [name])
            why = "the costliest videos are found by it"
            yield value_check(
                "Purity", f"loss of row {at + 1}", result, reference([LABELS[at]], [PREDICTIONS[at]]), why
            )


def _unchanged(
    metric: LoadedMetric, name: str, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str
) -> MetricCheck:
    given = {"solution": solution.copy(), "submission": submission.copy()}
    before = {name: frame.copy() for name, frame in given.items()}
    call(metric, given["solution"], given["submission"], row_id)
    changed = [key for key in given if not _same(given[key], before[key])]
    return MetricCheck(
        group="Purity",
        name=name,
        expected="unchanged",
        seen=f"changed: {', '.join(changed)}" if changed else "unchanged",
        ok=not changed,
        why="the tables belong to the caller and are used again",
    )


def _same(one: "pd.DataFrame", other: "pd.DataFrame") -> bool:
    """Whether columns, index, dtypes and values are equal and in the same order."""
    return bool(one.columns.equals(other.columns) and one.index.equals(other.index) and one.equals(other))


def _mean_loss(
    metric: LoadedMetric,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    columns: SubmissionFile,
    names: Sequence[str] | None = None,
) -> MetricCall:
    """The mean of the file's `losses` over the rows `names` (default: all), looked up by row id.

    The result is a KeyError if they are not indexed by it.
    """
    names = list(solution[columns.row_id]) if names is None else names
    try:
        losses = metric.losses(solution, submission, columns.row_id)
        return MetricCall(value=math.fsum(losses[name] for name in names) / len(names))  # type: ignore[index]
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a metric file may raise anything
        return MetricCall(error=error)
