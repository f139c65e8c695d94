"""Load a metric: any Python file with `score(solution, submission, row_id_column_name) -> float`."""

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import DataMissingError, MetricError
from dfdc_kit.files import bundled, file_sha256, translate_read_errors
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LoadedMetric:
    """A metric file, executed: its `score`, and `losses` (loss of each row) if it has that function.

    is_official: the file has the same bytes as the bundled evaluate.py, whose array functions may then be used.
    """

    path: Path
    module: ModuleType
    sha256: str
    is_official: bool

    def score(self, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str) -> float:
        """The file's own score; its exceptions pass through unchanged."""
        return float(self.module.score(solution, submission, row_id))

    def losses(self, solution: "pd.DataFrame", submission: "pd.DataFrame", row_id: str) -> "pd.Series[float] | None":
        """The loss of each row, indexed by row id; None where the file has no `losses`."""
        function = getattr(self.module, "losses", None)
        return None if function is None else function(solution, submission, row_id)

    def blames_participant(self, error: Exception) -> bool:
        """Whether `error` is the file's ParticipantVisibleError: the submission's fault, and shown to its author."""
        visible = getattr(self.module, "ParticipantVisibleError", None)
        return isinstance(visible, type) and isinstance(error, visible)


def load_metric(path: Path) -> LoadedMetric:
    """Execute the metric file at `path`, under a private module name. Raises DataMissingError or MetricError."""
    with translate_read_errors():
        if not path.is_file():
            raise DataMissingError(f"File or folder not found: {path}", hint="Expected: a metric file.")
        sha256 = file_sha256(path)
    name = f"_dfdc_metric_{path.stem}_{abs(hash(path.resolve())):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MetricError(f"{path} is not a Python file.", hint="Expected: a .py file with a function `score`.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the file need it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a metric file may raise anything
        del sys.modules[name]
        raise MetricError(f"{path} cannot be executed: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "score", None)):
        raise MetricError(
            f"{path} has no function `score`.",
            hint="Expected: score(solution, submission, row_id_column_name) -> float",
        )
    return LoadedMetric(path, module, sha256, sha256 == file_sha256(bundled("evaluate.py")))


class RowScorer:
    """Scores submissions on any of their rows by the metric file itself, where the score is no mean over rows.

    A metric file may have `score_arrays(labels, predicted) -> float`, the value of `score` for matched arrays (n,): the
    same scores some 20 times as fast.
    """

    def __init__(self, metric: LoadedMetric, labels: Labels, predicted: Floats, columns: tuple[str, str]) -> None:
        """labels (n,) 0 or 1; predicted (n, k); columns: the names of row id and label. Raises MetricError."""
        self._metric, self._labels, self._predicted, self._columns = metric, labels, predicted, columns
        self._ids = [f"{i}.mp4" for i in range(len(labels))]  # drawn rows repeat: each place has an id of its own
        name = "log_loss" if metric.is_official else "score_arrays"
        self._arrays: Callable[[Labels, Floats], float] | None = getattr(metric.module, name, None)
        if self._arrays and not metric.is_official and predicted.size:
            self._check_arrays()

    @property
    def rows(self) -> int:
        """How many rows there are to draw from."""
        return len(self._labels)

    @property
    def is_fast(self) -> bool:
        """Whether scores come from arrays, without tables."""
        return self._arrays is not None

    def __call__(self, rows: Ints) -> Floats:
        """The scores (k,) on these rows, indices that may repeat. Raises MetricError."""
        labels, predicted = self._labels[rows], self._predicted[rows].T
        try:
            if self._arrays is not None:
                return np.array([self._arrays(labels, column) for column in predicted], np.float64)
            return np.array([self._by_table(labels, column) for column in predicted], np.float64)
        except Exception as error:  # a metric file may raise anything
            raise MetricError(
                f"{self._metric.path.name} failed on {plural(len(rows), 'row')}: {type(error).__name__}: {error}",
                hint="Do these rows have both classes?",
            ) from error

    def _by_table(self, labels: Labels, predicted: Floats) -> float:
        import pandas as pd

        (row_id, label), ids = self._columns, self._ids[: len(labels)]
        solution = pd.DataFrame({row_id: ids, label: labels.astype(np.int64)})
        return self._metric.score(solution, pd.DataFrame({row_id: ids, label: predicted}), row_id)

    def _check_arrays(self) -> None:
        rows = np.arange(len(self._labels))
        by_arrays, by_table = float(self(rows)[0]), self._by_table(self._labels, self._predicted[:, 0])
        if not math.isclose(by_arrays, by_table, rel_tol=1e-9, abs_tol=1e-12):
            raise MetricError(
                f"{self._metric.path.name}: `score_arrays` gives {by_arrays!r}, `score` gives {by_table!r}.",
                hint="Correct the metric file: the two must agree.",
            )


def array_losses(metric: LoadedMetric, labels: Labels, predicted: Floats, columns: tuple[str, str]) -> Floats:
    """The losses (n,) of labels and predictions (n,) by a metric that has them; columns: names of row id and label."""
    if metric.is_official:
        return np.asarray(metric.module.row_losses(labels, predicted), np.float64)
    import pandas as pd

    row_id, label = columns
    ids = [f"{i}.mp4" for i in range(len(labels))]
    solution = pd.DataFrame({row_id: ids, label: labels.astype(np.int64)})
    found = metric.losses(solution, solution.assign(**{label: predicted}), row_id)
    return np.asarray(pd.Series(found).loc[ids], np.float64)


def is_mean(losses: Floats, score: float) -> bool:
    """Whether `score` is the mean of losses (n,), so that losses may be resampled in its place."""
    return math.isclose(float(losses.mean()), score, rel_tol=1e-9, abs_tol=1e-12)


def displayed(value: float, decimals: int = 5) -> str:
    """A score or a loss as the leaderboard shows it: truncated, not rounded. Differences are rounded.

    >>> displayed(0.6931471805599453)
    '0.69314'
    """
    enough = Context(prec=400)  # digits: a float has at most 309 before the point
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN, enough))
