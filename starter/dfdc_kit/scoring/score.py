"""Score a submission: the official value, by part of the leaderboard, by class, and the rows that cost the most."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.files import file_sha256
from dfdc_kit.scoring.metric import LoadedMetric, displayed

if TYPE_CHECKING:
    import pandas as pd

USAGE, PARTS, IGNORED = "Usage", ("Public", "Private"), "Ignored"
COSTLIEST = 10
HISTOGRAM_PARTS = 20
CONSTANT = 0.5  # what everybody can reach who has looked at nothing

Result = TypeVar("Result")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The mean over some of the rows."""

    value: float
    displayed: str
    rows: int


class CostlyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row, and what it adds to the sum whose mean is the score."""

    row_id: str
    label: str  # the truth, in the challenge's words
    predicted: float
    loss: float
    share: float  # of the sum over all rows, 0 to 1


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission scored, and why."""

    value: float
    displayed: str  # as the leaderboard shows it: truncated
    rows: int  # that count; Ignored ones do not
    parts: dict[str, Part]  # Public, Private; empty if the solution has no Usage
    per_class: dict[str, Part] | None  # mean loss by true class; None: the metric file has no `losses`
    costliest: list[CostlyRow] | None  # highest loss first; None: the same
    histogram: dict[str, list[int]] | None  # by true class: rows in equal parts of 0 to 1 by prediction; None: the same
    metric: str  # file name
    metric_sha256: str


def score_submission(
    metric: LoadedMetric, solution: "pd.DataFrame", submission: "pd.DataFrame", challenge: Challenge
) -> Score:
    """Score `submission` (row id, label) against `solution` (row id, label, perhaps Usage), both left as they are.

    The metric never sees Usage, as on Kaggle: each part is scored by a call with the rows of that part alone.
    Raises SubmissionError with the metric's own words where they blame the submission, else MetricError.
    """
    columns = challenge.submission
    usage = solution.get(USAGE)
    truth = solution[[column for column in solution if column != USAGE]]

    def score(truth: "pd.DataFrame", guess: "pd.DataFrame") -> Part:
        value = _call(metric, lambda: metric.score(truth.copy(), guess.copy(), columns.row_id))
        if not math.isfinite(value):
            raise MetricError(f"{metric.path.name} returned {value}, not a finite number.")
        return Part(value=value, displayed=displayed(value, challenge.metric.displayed_decimals), rows=len(truth))

    if usage is not None and (usage == IGNORED).any():
        score(truth, submission)  # for its faults only: ignored rows must be there and be valid, too
        submission = submission[~_among(submission, truth[usage == IGNORED], columns.row_id)]
        truth, usage = truth[usage != IGNORED], usage[usage != IGNORED]
    whole = score(truth, submission)
    named = {} if usage is None else {name: truth[usage == name] for name in PARTS if (usage == name).any()}
    parts = {name: score(rows, submission[_among(submission, rows, columns.row_id)]) for name, rows in named.items()}
    table = _row_table(metric, truth, submission, challenge)
    return Score(
        value=whole.value,
        displayed=whole.displayed,
        rows=whole.rows,
        parts=parts,
        per_class=None if table is None else _per_class(table, challenge),
        costliest=None if table is None else _costliest(table),
        histogram=None if table is None else _histogram(table, challenge),
        metric=metric.path.name,
        metric_sha256=file_sha256(metric.path),
    )


def constant_score(metric: LoadedMetric, solution: "pd.DataFrame", challenge: Challenge) -> Score:
    """What a submission with `CONSTANT` in every row would score. Raises MetricError."""
    columns = challenge.submission
    return score_submission(metric, solution, solution[[columns.row_id]].assign(**{columns.label: CONSTANT}), challenge)


def _call(metric: LoadedMetric, function: Callable[[], Result]) -> Result:
    """Call into the metric file; its participant errors become SubmissionError, everything else is its own fault."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and metric.blames_participant(error):
            raise SubmissionError(str(error)) from error
        raise MetricError(
            f"{metric.path.name} failed: {type(error).__name__}: {error}",
            hint="This is no fault of the submission. Check the metric file: dfdc parity --metric FILE",
        ) from error


def _among(submission: "pd.DataFrame", rows: "pd.DataFrame", row_id: str) -> "pd.Series[bool]":
    """Which rows of the submission belong to `rows`, by id as text."""
    return submission[row_id].astype(str).isin(rows[row_id].astype(str))


def _row_table(
    metric: LoadedMetric, truth: "pd.DataFrame", submission: "pd.DataFrame", challenge: Challenge
) -> "pd.DataFrame | None":
    """Columns label (class name), predicted and loss, by row id as text; None if the metric has no `losses`."""
    import pandas as pd

    columns = challenge.submission
    losses = _call(metric, lambda: metric.losses(truth.copy(), submission.copy(), columns.row_id))
    if losses is None:
        return None
    labels = truth.set_index(truth[columns.row_id].astype(str))[columns.label]
    predicted = submission.set_index(submission[columns.row_id].astype(str))[columns.label].astype(float)
    losses = _call(metric, lambda: pd.Series(losses).rename(index=str).astype(float))
    if set(losses.index) != set(labels.index) or len(losses) != len(labels) or not losses.map(math.isfinite).all():
        raise MetricError(f"{metric.path.name}: `losses` must return one finite number for each row of the solution.")
    names = labels.eq(1).map({True: columns.positive, False: columns.negative})
    return pd.DataFrame(
        {"label": names, "predicted": predicted.reindex(names.index), "loss": losses.reindex(names.index)}
    )


def _per_class(table: "pd.DataFrame", challenge: Challenge) -> dict[str, Part]:
    columns, decimals = challenge.submission, challenge.metric.displayed_decimals
    found = {}
    for name in (columns.positive, columns.negative):
        losses = table.loc[table["label"] == name, "loss"]
        if len(losses):
            value = math.fsum(losses) / len(losses)
            found[name] = Part(value=value, displayed=displayed(value, decimals), rows=len(losses))
    return found


def _histogram(table: "pd.DataFrame", challenge: Challenge) -> dict[str, list[int]]:
    import numpy as np

    columns = challenge.submission
    predicted = {name: table.loc[table["label"] == name, "predicted"] for name in (columns.positive, columns.negative)}
    return {name: np.histogram(values, HISTOGRAM_PARTS, (0, 1))[0].tolist() for name, values in predicted.items()}


def _costliest(table: "pd.DataFrame") -> list[CostlyRow]:
    """The rows with the highest loss; equal ones by name."""
    total = math.fsum(table["loss"])
    first = table.sort_index().sort_values("loss", ascending=False, kind="stable").head(COSTLIEST)
    return [
        CostlyRow(
            row_id=str(row_id),
            label=str(label),
            predicted=float(predicted),
            loss=float(loss),
            share=float(loss) / total if total else 0.0,
        )
        for row_id, label, predicted, loss in first.itertuples(name=None)
    ]
