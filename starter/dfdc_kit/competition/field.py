"""All submissions of a competition on the same rows: their predictions and losses as matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.competition.results import RESULTS, JudgedSubmission
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.labels import IGNORED, read_label_rows
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import DataError, UsageError
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.intervals import LEVEL, mean_intervals, resampled_means, resampled_scores, within_range
from dfdc_kit.scoring.metric import LoadedMetric, RowScorer, is_mean
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import validate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Field:
    """m submissions on the n rows that count.

    predicted (n, m); losses (n, m), or None where the metric gives no loss of a row. Originals of the solution, where
    they are known, are resampled as a whole.
    """

    solution: Solution
    metric: LoadedMetric
    names: list[str]  # (m,) for people
    predicted: Floats
    losses: Floats | None

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Field":
        """The same submissions on some of the rows: a mask (n,) or indices."""
        losses = None if self.losses is None else self.losses[rows]
        return replace(self, solution=self.solution.take(rows), predicted=self.predicted[rows], losses=losses)

    def part(self, usage: str) -> "Field":
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
        return self._scorer()(np.arange(len(self.predicted)))

    def resampled(self, resamples: int, seed: int) -> Floats:
        """The scores (at most resamples, m) on rows drawn again, whole originals at a time.

        Draws with one class only are left out where the metric is no mean over rows: recall, for one, is undefined.
        """
        clusters = self.solution.originals
        if self.losses is not None:
            return resampled_means(self.losses, clusters, resamples, seed)
        if not self.names:
            return np.empty((resamples, 0))
        return resampled_scores(self._scorer(), self.solution.labels, clusters, resamples, seed)

    def intervals(self, resampled: Floats, seed: int) -> list[tuple[float, float]]:
        """The 95 % interval of each score (m,), as `dfdc score` prints it; resampled (resamples, m): of this field.

        Quantiles of the resampled scores where the metric is no mean over rows, or all rows have one original.
        """
        if self.losses is not None:
            found = mean_intervals(self.losses, self.solution.originals, resamples=len(resampled), seed=seed)
            found = [within_range(one, column) for one, column in zip(found, self.losses.T, strict=True)]
            if known := [(one.low, one.high) for one in found if one is not None]:
                return known
        edges = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return list(zip(*edges.tolist(), strict=True))

    def _scorer(self) -> RowScorer:
        return RowScorer(self.metric, self.solution.labels, self.predicted, self.solution.columns)


def read_field(
    files: Sequence[tuple[str, Path]], solution: Solution, metric: LoadedMetric, challenge: Challenge
) -> tuple[Field, dict[int, str]]:
    """Read prediction files, (name, path) each; and why some of them, by index, are left out.

    Ignored rows are dropped after their check.
    """
    expected = ExpectedRows.from_solution(solution.ids, solution.labels, f"the solution {solution.path}")
    order = np.argsort(solution.ids, kind="stable")
    columns, names, left_out = [], [], {}
    for index, (name, path) in enumerate(files):
        validation, table = validate(path, challenge, expected)
        if table is None:
            left_out[index] = f"invalid predictions: {validation.errors[0].message}"
            continue
        column = table.labels
        if not (table.ids == solution.ids).all():
            column = np.empty(len(order))
            column[order] = table.labels[np.argsort(table.ids, kind="stable")]
        columns.append(column)
        names.append(name)
    predicted = np.column_stack(columns) if columns else np.empty((len(solution.ids), 0))
    field = Field(solution, metric, names, predicted, None)
    if solution.usage is not None:
        field = field.take(solution.usage != IGNORED)
    return replace(field, losses=_losses(field)), left_out


def _losses(field: Field) -> Floats | None:
    """The loss (n, m) of each row and submission; None if the metric has none, or its score is not their mean."""
    metric, solution = field.metric, field.solution
    if metric.is_official:
        rows = [metric.module.row_losses(solution.labels, column) for column in field.predicted.T]
        return np.column_stack(rows) if rows else np.empty_like(field.predicted)
    if not hasattr(metric.module, "losses"):
        return None
    row_id, label = solution.columns
    truth = solution.frame()[[row_id, label]]
    found = [metric.losses(truth, truth.assign(**{label: column}), row_id) for column in field.predicted.T]
    texts = as_text(solution.ids)
    columns: list[Floats] = [np.asarray(one.loc[texts], np.float64) for one in found if one is not None]
    if not all(is_mean(column, score) for column, score in zip(columns, field.scores().tolist(), strict=True)):
        return None
    return np.asarray(np.column_stack(columns)) if columns else np.empty_like(field.predicted)


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


def comparable(
    results: list[JudgedSubmission], profile: str = "", metric: LoadedMetric | None = None
) -> list[JudgedSubmission]:
    """The results of one profile. Raises UsageError, DataError where they differ in profile, data or metric.

    metric: the one that they must have been judged with.
    """
    profiles = sorted({result.profile for result in results})
    if not profile and len(profiles) > 1:
        raise UsageError(
            f"Results of {len(profiles)} runtime profiles: {', '.join(profiles)}.", hint="Choose one: --profile NAME"
        )
    chosen = [result for result in results if not profile or result.profile == profile]
    if not chosen and results:
        raise UsageError(f"No result under the profile {profile!r}.", hint=f"Profiles: {', '.join(profiles)}")
    for what, digests in (
        ("data", {result.data_digest for result in chosen}),
        ("metric", {result.metric_digest for result in chosen}),
    ):
        if len(digests) > 1:
            raise DataError(
                f"Results of {len(digests)} versions of the {what}: scores on them cannot be compared.",
                hint="Judge every submission again with the same data, solution and metric.",
            )
    if metric and chosen and chosen[0].metric_digest != metric.sha256:
        raise DataError(
            f"The results were judged with another metric than {metric.path.name}.",
            hint="Is this the competition that they were judged for?",
        )
    return chosen


def prediction_file(judging: Path, result: JudgedSubmission) -> Path | None:
    """The predictions of a scored result; None for one that has no score."""
    if result.score is None or result.predictions is None:
        return None
    return judging / RESULTS / result.key / result.predictions
