"""Score a submission: the official value, by leaderboard part and by class, and the rows that cost the most.

The official metric is computed on matched arrays, without pandas, whose import takes longer than all the rest. A metric
file of one's own, or rows that do not match, go through the file's `score` with tables, as on Kaggle.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import Texts, as_text
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.scoring.diagnostics import Curves, SecondaryMeasures, curves, secondary_measures
from dfdc_kit.scoring.intervals import Interval
from dfdc_kit.scoring.metric import LoadedMetric, displayed

if TYPE_CHECKING:
    import pandas as pd

USAGE, PARTS, IGNORED = "Usage", ("Public", "Private"), "Ignored"
COSTLIEST = 10
HISTOGRAM_BINS = 20
MOST_DETAILED_ROWS = 250_000  # more rows than any test set has are scored without secondary measures and curves
STUDENTISED, QUANTILES = "studentised bootstrap", "bootstrap quantiles"
CONSTANT = 0.5  # the prediction of someone who has not looked at any video

Result = TypeVar("Result")
Floats = npt.NDArray[np.float64]


class SolutionRows(Protocol):
    """A solution: ids (n,) unique, labels (n,) 0 or 1, usage (n,) or None."""

    @property
    def ids(self) -> Texts: ...  # noqa: D102
    @property
    def labels(self) -> npt.NDArray[np.uint8]: ...  # noqa: D102
    @property
    def usage(self) -> Texts | None: ...  # noqa: D102
    def frame(self) -> "pd.DataFrame": ...  # noqa: D102


class SubmittedRows(Protocol):
    """A valid submission: ids (n,) unique, labels (n,) in [0, 1]."""

    @property
    def ids(self) -> Texts: ...  # noqa: D102
    @property
    def labels(self) -> Floats: ...  # noqa: D102
    def frame(self) -> "pd.DataFrame": ...  # noqa: D102


class SubsetScore(msgspec.Struct, frozen=True, kw_only=True):
    """The score, or the mean loss, of some of the rows."""

    value: float
    displayed: str
    rows: int


class CostlyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row, and its fraction of the sum whose mean is the score."""

    row_id: str
    label: str  # the true class, in the challenge's words
    predicted: float
    loss: float
    share: float  # of the sum over all rows, 0 to 1


class Uncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """How sure a score is. All intervals are 95 % intervals of the score."""

    interval: Interval | None  # None: all rows belong to one cluster, or the metric fails on rows drawn again
    constant_difference: float  # score less that of the constant 0.5: negative where a loss is lower
    constant_interval: Interval | None  # of that difference
    clusters: int  # resampled units
    clustered_by: str  # "original" or "video"
    too_few_to_rank: bool  # fewer clusters than show a difference of 0.1 between two good detectors
    calibration_error: float  # expected calibration error, 0 to 1
    dominating_share: float | None = None  # of all losses, of the 3 costliest clusters, where few decide the interval
    method: str = STUDENTISED  # how intervals are made: STUDENTISED, or QUANTILES where the score is no mean over rows


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of a submission, and what explains it."""

    value: float
    displayed: str  # as the leaderboard shows it: truncated
    rows: int  # that count; Ignored ones do not
    parts: dict[str, SubsetScore]  # Public, Private; empty if the solution has no Usage
    per_class: dict[str, SubsetScore] | None  # mean loss by true class; None: the metric file has no `losses`
    costliest: list[CostlyRow] | None  # highest loss first; None: as above
    histogram: dict[str, list[int]] | None  # by true class: rows in equal bins of the prediction; None: as above
    metric: str  # file name
    metric_sha256: str
    secondary: SecondaryMeasures | None = None  # None: more than MOST_DETAILED_ROWS
    curves: Curves | None = None  # None: likewise, or the metric file has no `losses`
    uncertainty: Uncertainty | None = None  # None: not asked for


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows that count, in the solution's order, all (n,). losses: None if the metric file has no `losses`."""

    ids: list[str]
    labels: npt.NDArray[np.uint8]
    predicted: Floats
    losses: Floats | None
    usage: Texts | None = None


def score_submission(
    metric: LoadedMetric, solution: SolutionRows, submission: SubmittedRows, challenge: Challenge
) -> Score:
    """Score `submission` against `solution`. Ignored rows must be present and valid, but cost nothing.

    The metric never sees Usage, as on Kaggle: each part is scored separately. Raises SubmissionError with the metric's
    own message where it blames the submission, else MetricError.
    """
    rows = _match(metric, solution, submission)
    if rows is None:
        return _score_frames(metric, solution.frame(), submission.frame(), challenge)
    decimals = challenge.metric.displayed_decimals

    def score(chosen: npt.NDArray[np.bool_]) -> SubsetScore:
        value = float(metric.module.log_loss(rows.labels[chosen], rows.predicted[chosen]))
        return SubsetScore(value=value, displayed=displayed(value, decimals), rows=int(chosen.sum()))

    chosen = {name: rows.usage == name.encode() for name in PARTS} if rows.usage is not None else {}
    parts = {name: score(mask) for name, mask in chosen.items() if mask.any()}
    return _summary(metric, score(np.ones(len(rows.ids), np.bool_)), parts, rows, challenge)


def constant_score(metric: LoadedMetric, solution: SolutionRows, challenge: Challenge) -> Score:
    """The score of `CONSTANT` in every row. Raises MetricError."""
    return score_submission(metric, solution, _Constant(solution, challenge), challenge)


def row_losses(
    metric: LoadedMetric, solution: SolutionRows, submission: SubmittedRows, challenge: Challenge
) -> dict[str, float] | None:
    """The loss of each row by id; None if the metric has no `losses`. Ignored rows are left out."""
    rows = matched_rows(metric, solution, submission, challenge)
    return None if rows.losses is None else dict(zip(rows.ids, rows.losses.tolist(), strict=True))


def matched_rows(
    metric: LoadedMetric, solution: SolutionRows, submission: SubmittedRows, challenge: Challenge
) -> ScoredRows:
    """The rows that count, with their losses. Ignored rows are left out."""
    rows = _match(metric, solution, submission)
    if rows is not None:
        return rows
    frame = solution.frame()
    counts = frame[frame[USAGE] != IGNORED].drop(columns=USAGE) if USAGE in frame else frame
    guess = submission.frame()
    return _frame_rows(metric, counts, guess[_among(guess, counts, challenge.submission.row_id)], challenge)


def constant_rows(metric: LoadedMetric, solution: SolutionRows, challenge: Challenge) -> ScoredRows:
    """As `matched_rows`, of `CONSTANT` in every row."""
    return matched_rows(metric, solution, _Constant(solution, challenge), challenge)


@dataclass(frozen=True, slots=True)
class _Constant:
    """`CONSTANT` for every row of a solution."""

    solution: SolutionRows
    challenge: Challenge

    @property
    def ids(self) -> Texts:
        return self.solution.ids

    @property
    def labels(self) -> Floats:
        return np.full(len(self.ids), CONSTANT)

    def frame(self) -> "pd.DataFrame":
        columns = self.challenge.submission
        return self.solution.frame()[[columns.row_id]].assign(**{columns.label: CONSTANT})


def _match(metric: LoadedMetric, solution: SolutionRows, submission: SubmittedRows) -> ScoredRows | None:
    """The matched rows that count, if the metric is the official one and the rows are valid and the same."""
    if not metric.is_official or len(solution.ids) != len(submission.ids):
        return None
    predicted = submission.labels
    if not (solution.ids == submission.ids).all():
        ours, theirs = np.argsort(solution.ids, kind="stable"), np.argsort(submission.ids, kind="stable")
        if not (solution.ids[ours] == submission.ids[theirs]).all():
            return None
        predicted = np.empty(len(ours))
        predicted[ours] = submission.labels[theirs]
    counts = np.ones(len(predicted), np.bool_) if solution.usage is None else solution.usage != IGNORED.encode()
    if not (counts.any() and ((predicted >= 0) & (predicted <= 1)).all() and (solution.labels <= 1).all()):
        return None
    labels, predicted = solution.labels[counts], predicted[counts]
    usage = None if solution.usage is None else solution.usage[counts]
    return ScoredRows(
        as_text(solution.ids[counts]), labels, predicted, metric.module.row_losses(labels, predicted), usage
    )


def _summary(
    metric: LoadedMetric,
    total: SubsetScore,
    parts: dict[str, SubsetScore],
    rows: ScoredRows,
    challenge: Challenge,
) -> Score:
    is_detailed, losses = len(rows.ids) <= MOST_DETAILED_ROWS, rows.losses
    return Score(
        value=total.value,
        displayed=total.displayed,
        rows=total.rows,
        parts=parts,
        per_class=None if losses is None else _per_class(rows, losses, challenge),
        costliest=None if losses is None else _costliest(rows, losses, challenge),
        histogram=None if losses is None else _histogram(rows, challenge),
        metric=metric.path.name,
        metric_sha256=metric.sha256,
        secondary=secondary_measures(rows.labels, rows.predicted) if is_detailed else None,
        curves=curves(rows.labels, rows.predicted, losses) if is_detailed and losses is not None else None,
    )


def _per_class(rows: ScoredRows, all_losses: Floats, challenge: Challenge) -> dict[str, SubsetScore]:
    columns, decimals = challenge.submission, challenge.metric.displayed_decimals
    found = {}
    for name, label in ((columns.positive, 1), (columns.negative, 0)):
        losses = all_losses[rows.labels == label]
        if len(losses):
            value = math.fsum(losses) / len(losses)
            found[name] = SubsetScore(value=value, displayed=displayed(value, decimals), rows=len(losses))
    return found


def _histogram(rows: ScoredRows, challenge: Challenge) -> dict[str, list[int]]:
    columns = challenge.submission
    of_class = {columns.positive: rows.labels == 1, columns.negative: rows.labels == 0}
    return {
        name: np.histogram(rows.predicted[chosen], HISTOGRAM_BINS, (0, 1))[0].tolist()
        for name, chosen in of_class.items()
    }


def _costliest(rows: ScoredRows, losses: Floats, challenge: Challenge) -> list[CostlyRow]:
    """The rows with the highest loss; equal ones by name."""
    total = math.fsum(losses)
    names = (challenge.submission.negative, challenge.submission.positive)
    threshold = np.sort(losses)[-COSTLIEST:][0]
    candidates = np.flatnonzero(losses >= threshold).tolist()
    first = sorted(candidates, key=lambda i: (-losses[i], rows.ids[i]))[:COSTLIEST]
    return [
        CostlyRow(
            row_id=rows.ids[i],
            label=names[int(rows.labels[i] == 1)],
            predicted=float(rows.predicted[i]),
            loss=float(losses[i]),
            share=float(losses[i]) / total if total else 0.0,
        )
        for i in first
    ]


# -------------------------------------------------------------------------------------- any metric file, through tables


def _score_frames(
    metric: LoadedMetric, solution: "pd.DataFrame", submission: "pd.DataFrame", challenge: Challenge
) -> Score:
    """Score through the file's own `score`; both tables are left unchanged."""
    columns = challenge.submission
    usage = solution.get(USAGE)
    kept = solution[[column for column in solution if column != USAGE]]

    def score(rows: "pd.DataFrame", guess: "pd.DataFrame") -> SubsetScore:
        value = _call(metric, lambda: metric.score(rows.copy(), guess.copy(), columns.row_id))
        if not math.isfinite(value):
            raise MetricError(f"{metric.path.name} returned {value}, not a finite number.")
        return SubsetScore(value=value, displayed=displayed(value, challenge.metric.displayed_decimals), rows=len(rows))

    if usage is not None and (usage == IGNORED).any():
        score(kept, submission)  # for its errors only: ignored rows must be present and valid, too
        submission = submission[~_among(submission, kept[usage == IGNORED], columns.row_id)]
        kept, usage = kept[usage != IGNORED], usage[usage != IGNORED]
    total = score(kept, submission)
    named = {} if usage is None else {name: kept[usage == name] for name in PARTS if (usage == name).any()}
    parts = {name: score(rows, submission[_among(submission, rows, columns.row_id)]) for name, rows in named.items()}
    return _summary(metric, total, parts, _frame_rows(metric, kept, submission, challenge), challenge)


def _call(metric: LoadedMetric, function: Callable[[], Result]) -> Result:
    """Call into the metric file; its participant errors become SubmissionError, all others MetricError."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and metric.blames_participant(error):
            raise SubmissionError(str(error)) from error
        raise MetricError(
            f"{metric.path.name} failed: {type(error).__name__}: {error}",
            hint="The submission is not at fault.",
            command=f"dfdc parity --metric {metric.path}",
        ) from error


def _among(submission: "pd.DataFrame", rows: "pd.DataFrame", row_id: str) -> "pd.Series[bool]":
    """Which rows of the submission belong to `rows`, by id as text."""
    return submission[row_id].astype(str).isin(rows[row_id].astype(str))


def _frame_rows(
    metric: LoadedMetric, solution: "pd.DataFrame", submission: "pd.DataFrame", challenge: Challenge
) -> ScoredRows:
    """The rows with the file's own losses."""
    import pandas as pd

    columns = challenge.submission
    losses = _call(metric, lambda: metric.losses(solution.copy(), submission.copy(), columns.row_id))
    labels = solution.set_index(solution[columns.row_id].astype(str))[columns.label]
    predicted = submission.set_index(submission[columns.row_id].astype(str))[columns.label].astype(float)
    ids = labels.index
    is_positive = labels.eq(1).to_numpy().astype(np.uint8)
    guesses = np.asarray(predicted.reindex(ids), np.float64)
    if losses is None:
        return ScoredRows(list(ids), is_positive, guesses, None)
    losses = _call(metric, lambda: pd.Series(losses).rename(index=str).astype(float))
    if set(losses.index) != set(labels.index) or len(losses) != len(labels) or not losses.map(math.isfinite).all():
        raise MetricError(f"{metric.path.name}: `losses` must return one finite number for each row of the solution.")
    return ScoredRows(list(ids), is_positive, guesses, np.asarray(losses.reindex(ids), np.float64))
