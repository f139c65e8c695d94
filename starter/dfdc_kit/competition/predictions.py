"""All submissions of a competition on the same rows: their predictions and losses as matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.labels import IGNORED, read_label_rows
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import DataError
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.intervals import LEVEL, mean_intervals, resampled_means, resampled_scores, within_range
from dfdc_kit.scoring.metric import LoadedMetric, RowScorer, is_mean
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import validate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """m submissions on the n rows that count.

    predicted (n, m); losses (n, m), or None where the metric gives no loss of a row. Originals of the solution, where
    they are known, are resampled as a whole.
    """

    solution: Solution
    metric: LoadedMetric
    names: list[str]  # (m,) for people
    predicted: Floats
    losses: Floats | None

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Predictions":
        """The same submissions on some of the rows: a mask (n,) or indices."""
        losses = None if self.losses is None else self.losses[rows]
        return replace(self, solution=self.solution.take(rows), predicted=self.predicted[rows], losses=losses)

    def part(self, usage: str) -> "Predictions":
        """The Public or the Private rows; all rows where the solution has no column Usage. Raises DataError if none."""
        if self.solution.usage is None:
            return self
        rows = self.solution.usage == usage.encode()
        if not rows.any():
            raise DataError(
                f"{self.solution.path} has no {usage} row.",
                hint="Write one with both parts: dfdc competition check ... --split FILE",
            )
        return self.take(rows)

    def scores(self) -> Floats:
        """The official score (m,) of each submission."""
        return self.scorer()(np.arange(len(self.predicted)))

    def resampled(self, resamples: int, seed: int) -> Floats:
        """The scores (at most resamples, m) on rows drawn again, whole originals at a time.

        Draws with one class only are left out where the metric is no mean over rows: recall, for one, is undefined.
        """
        clusters = self.solution.originals
        if not self.names:
            return np.empty((resamples, 0))
        if self.losses is not None:
            return resampled_means(self.losses, clusters, resamples, seed)
        return resampled_scores(self.scorer(), self.solution.labels, clusters, resamples, seed)

    def intervals(self, resampled: Floats, seed: int) -> list[tuple[float, float]]:
        """The 95 % interval of each score (m,), as `dfdc score` prints it; resampled (resamples, m).

        Quantiles of the resampled scores where the metric is no mean over rows, or all rows have one original.
        """
        if not self.names:
            return []
        if self.losses is not None:
            found = mean_intervals(self.losses, self.solution.originals, resamples=len(resampled), seed=seed)
            found = [within_range(one, column) for one, column in zip(found, self.losses.T, strict=True)]
            if known := [(one.low, one.high) for one in found if one is not None]:
                return known
        edges = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return list(zip(*edges.tolist(), strict=True))

    def scorer(self) -> RowScorer:
        """The official scores (m,) of any rows."""
        return RowScorer(self.metric, self.solution.labels, self.predicted, self.solution.columns)


def read_predictions(
    files: Sequence[tuple[str, Path]], solution: Solution, metric: LoadedMetric, challenge: Challenge
) -> tuple[Predictions, dict[int, str]]:
    """Read prediction files, (name, path) each; and why some of them, by index, are left out.

    Ignored rows are dropped after their check.
    """
    expected = ExpectedRows.from_solution(solution.ids, solution.labels, f"the solution {solution.path}")
    order = np.argsort(solution.ids, kind="stable")
    columns, names, left_out = [], [], {}
    for index, (name, path) in enumerate(files):
        validation, table = validate(path, challenge, expected)
        if table is None:
            message = validation.errors[0].message.replace(str(path), path.name)  # boards are published
            left_out[index] = f"invalid predictions: {message}"
            continue
        column = table.labels
        if not (table.ids == solution.ids).all():
            column = np.empty(len(order))
            column[order] = table.labels[np.argsort(table.ids, kind="stable")]
        columns.append(column)
        names.append(name)
    predicted = np.column_stack(columns) if columns else np.empty((len(solution.ids), 0))
    predictions = Predictions(solution, metric, names, predicted, None)
    if solution.usage is not None:
        predictions = predictions.take(solution.usage != IGNORED)
    return replace(predictions, losses=_losses(predictions)), left_out


def _losses(predictions: Predictions) -> Floats | None:
    """The loss (n, m) of each row and submission; None if the metric has none, or its score is not their mean."""
    metric, solution = predictions.metric, predictions.solution
    if metric.is_official:
        rows = [metric.module.row_losses(solution.labels, column) for column in predictions.predicted.T]
        return np.column_stack(rows) if rows else np.empty_like(predictions.predicted)
    if not hasattr(metric.module, "losses"):
        return None
    row_id, label = solution.columns
    labelled = solution.frame()[[row_id, label]]
    found = [metric.losses(labelled, labelled.assign(**{label: column}), row_id) for column in predictions.predicted.T]
    texts = as_text(solution.ids)
    columns: list[Floats] = [np.asarray(one.loc[texts], np.float64) for one in found if one is not None]
    if not all(is_mean(column, score) for column, score in zip(columns, predictions.scores().tolist(), strict=True)):
        return None
    return np.asarray(np.column_stack(columns)) if columns else np.empty_like(predictions.predicted)


def with_originals(solution: Solution, path: Path, challenge: Challenge) -> Solution:
    """The solution with the originals that the labels `path` name; a video without one is its own.

    Raises DataError if they name none of its videos, or no original.
    """
    rows = read_label_rows(path, challenge)
    known = {
        row: original for row, original in zip(rows.ids.tolist(), rows.originals.tolist(), strict=True) if original
    }
    names = solution.ids.tolist()
    if not known.keys() & set(names):
        raise DataError(
            f"{path} names no original of these {plural(len(names), 'video')}.",
            hint=f"Expected: a {challenge.data.metadata} with `original`.",
        )
    return replace(solution, originals=np.array([known.get(name, name) for name in names], np.bytes_))
