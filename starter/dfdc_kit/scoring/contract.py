"""What a metric must do beside computing: match rows by id, blame only the guilty, leave its inputs as they are."""

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


TRUTH, GUESS = (1, 0, 1, 1, 0), (0.875, 0.125, 0.75, 0.5, 0.25)  # exact in float32, and every row costs differently


def check_row_matching(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """The same rows in another guise must score the same."""
    columns, expected = challenge.submission, reference(TRUTH, GUESS)
    solution, submission = frames(TRUTH, GUESS, columns)
    for name, (changed_solution, changed_submission) in _guises(solution, submission, columns).items():
        outcome = call(metric, changed_solution, changed_submission, columns.row_id)
        yield value_check("Rows", name, outcome, expected, "rows belong together by id, and by nothing else")
    renamed = [frame.rename(columns={columns.row_id: "another_id"}) for frame in (solution, submission)]
    outcome = call(metric, renamed[0], renamed[1], "another_id")
    yield value_check("Rows", "row id column of another name", outcome, expected, "its name is an argument")
    shared = solution.assign(Usage=["Public", "Private", "Public", "Private", "Public"])
    outcome = call(metric, shared, submission.copy(), columns.row_id)
    yield value_check("Rows", "solution with a column Usage", outcome, expected, "both parts count, in one call")
    ignored = solution.assign(Usage=["Public", "Private", "Public", "Ignored", "Public"])
    outcome = call(metric, ignored, submission.copy(), columns.row_id)
    counted = reference([*TRUTH[:3], TRUTH[4]], [*GUESS[:3], GUESS[4]])
    check = value_check("Rows", "solution with an Ignored row", outcome, counted, "")
    yield replace(check, ok=None, why="dfdc leaves it out itself; run by hand, a file should")


def _guises(
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
        "truth as float64": (solution.astype({label: "float64"}), submission),
        "truth as int8": (solution.astype({label: "int8"}), submission),
    }


def check_rejections(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """A submission at fault must be refused, in an error that its author is shown; a faulty solution, in another."""
    import pandas as pd

    columns = challenge.submission
    solution, submission = frames(TRUTH, GUESS, columns)
    for name, broken in _broken(submission, columns).items():
        outcome = call(metric, solution.copy(), broken, columns.row_id)
        yield _error_check(metric, name, outcome)
    wrong_label = solution.assign(**{columns.label: [1, 0, 1, 2, 0]})
    yield _host_check(metric, "a solution with a label of 2", wrong_label, submission, columns.row_id, demanded=True)
    twice = pd.concat([solution, solution[:1]], ignore_index=True)
    yield _host_check(metric, "a solution with a row twice", twice, submission, columns.row_id, demanded=False)


def _host_check(
    metric: LoadedMetric,
    name: str,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    row_id: str,
    *,
    demanded: bool,
) -> Check:
    """A fault of the host's file is not the participant's; those not `demanded` a metric may leave to the host."""
    outcome = call(metric, solution, submission, row_id)
    blamed = isinstance(outcome.error, Exception) and metric.blames_participant(outcome.error)
    return Check(
        group="Faults",
        name=name,
        expected="another error",
        seen=str(outcome),
        ok=outcome.error is not None and not blamed if demanded else None,
        why="a fault of the host's file is not the participant's",
    )


def _broken(submission: "pd.DataFrame", columns: SubmissionFile) -> "dict[str, pd.DataFrame]":
    import numpy as np
    import pandas as pd

    def label(value: object) -> "pd.DataFrame":
        """One label replaced."""
        values = [value, *GUESS[1:]]
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
        "a column too many": submission.assign(comment="mine"),
    }


def _error_check(metric: LoadedMetric, name: str, outcome: Outcome) -> Check:
    visible = isinstance(outcome.error, Exception) and metric.blames_participant(outcome.error)
    message = str(outcome.error).strip()
    return Check(
        group="Faults",
        name=name,
        expected="refused",
        seen=f"refused: {message}" if visible else str(outcome),
        ok=visible and bool(message),
        why="it takes a ParticipantVisibleError with a text; any other error counts as the host's fault",
    )


def check_purity(metric: LoadedMetric, challenge: Challenge) -> Iterator[Check]:
    """Same input, same value; nothing changed; and losses, if there are any, whose mean is the score."""
    columns = challenge.submission
    solution, submission = frames(TRUTH, GUESS, columns)
    seen = dict.fromkeys(str(call(metric, solution.copy(), submission.copy(), columns.row_id)) for _ in range(5))
    yield Check(
        group="Manners",
        name="five calls, one value",
        expected="1 value",
        seen=f"{plural(len(seen), 'value')}: {', '.join(seen)}"[:200],
        ok=len(seen) == 1,
        why="a score must not depend on chance, nor on what was scored before",
    )
    for name, labels in (("good", (1.0, 0.0, *GUESS[2:])), ("integer", (1, 0, 1, 1, 0)), ("broken", (2.0, *GUESS[1:]))):
        given = submission.assign(**{columns.label: labels})[::-1]
        yield _unchanged(metric, f"{name} inputs left unchanged", solution, given, columns.row_id)
    if hasattr(metric.module, "losses"):
        outcome = _mean_loss(metric, solution, submission[::-1], columns)
        why = "what each row costs must add up to the score"
        yield value_check("Manners", "mean of losses", outcome, reference(TRUTH, GUESS), why)
        for at, name in enumerate(solution[columns.row_id]):
            outcome = _mean_loss(metric, solution, submission[::-1], columns, [name])
            why = "the costliest videos are named by it"
            yield value_check("Manners", f"loss of row {at + 1}", outcome, reference([TRUTH[at]], [GUESS[at]]), why)


def _unchanged(
    metric: LoadedMetric, name: str, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str
) -> Check:
    given = {"solution": solution.copy(), "submission": submission.copy()}
    before = {side: frame.copy() for side, frame in given.items()}
    call(metric, given["solution"], given["submission"], row_id)
    changed = [side for side in given if not _same(given[side], before[side])]
    return Check(
        group="Manners",
        name=name,
        expected="unchanged",
        seen=f"changed: {', '.join(changed)}" if changed else "unchanged",
        ok=not changed,
        why="the frames are the caller's, and are used again",
    )


def _same(one: "pd.DataFrame", other: "pd.DataFrame") -> bool:
    """Equal in columns, index, dtypes and values, each in the same order."""
    return bool(one.columns.equals(other.columns) and one.index.equals(other.index) and one.equals(other))


def _mean_loss(
    metric: LoadedMetric,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    columns: SubmissionFile,
    names: Sequence[str] | None = None,
) -> Outcome:
    """The mean of the file's `losses` over the rows `names` (default: all), asked for by row id.

    KeyError in the outcome if they are not indexed by it.
    """
    names = list(solution[columns.row_id]) if names is None else names
    try:
        losses = metric.losses(solution, submission, columns.row_id)
        return Outcome(value=math.fsum(losses[name] for name in names) / len(names))  # type: ignore[index]
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's file may raise anything
        return Outcome(error=error)
