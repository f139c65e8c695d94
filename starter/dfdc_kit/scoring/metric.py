"""Load a metric: any Python file with `score(solution, submission, row_id_column_name) -> float`."""

import importlib.util
import sys
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dfdc_kit.errors import DataMissingError, MetricError
from dfdc_kit.files import bundled, file_sha256, translate_read_errors

if TYPE_CHECKING:
    import pandas as pd


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
    except (Exception, SystemExit) as error:  # somebody else's file may raise anything
        del sys.modules[name]
        raise MetricError(f"{path} cannot be executed: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "score", None)):
        raise MetricError(
            f"{path} has no function `score`.",
            hint="Expected: score(solution, submission, row_id_column_name) -> float",
        )
    return LoadedMetric(path, module, sha256, sha256 == file_sha256(bundled("evaluate.py")))


def displayed(value: float, decimals: int = 5) -> str:
    """A score or a loss as the leaderboard shows it: truncated, not rounded. Differences are rounded.

    >>> displayed(0.6931471805599453)
    '0.69314'
    """
    enough = Context(prec=400)  # digits: a float has at most 309 before the point
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN, enough))
