"""The ledger: which rows are no predictions, and what they cost in the score."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import read_csv
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.report.run_report import LossBreakdown, LossBreakdownEntry, PartialScore
from dfdc_kit.scoring.metric import LoadedMetric
from dfdc_kit.scoring.score import score_submission
from dfdc_kit.submission.label_text import parse_labels
from dfdc_kit.submission.validate import SubmissionTable

if TYPE_CHECKING:
    import pandas as pd


REPEATED_ROWS = 3  # a value that stands in so many rows looks like a default


def loss_breakdown(
    metric: LoadedMetric,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    fallbacks: set[str],
    challenge: Challenge,
) -> LossBreakdown | None:
    """What fallback rows and rows of one repeated value cost; None if the metric has no `losses`.

    solution and submission: as the metric takes them, without Usage. fallbacks: row ids that the submission names.
    """
    row_id, label = challenge.submission.row_id, challenge.submission.label
    losses = metric.losses(solution, submission, row_id)
    if losses is None:
        return None
    by_row = dict(zip(map(str, losses.index), map(float, losses), strict=True))
    predicted = dict(zip(submission[row_id].astype(str), submission[label].astype(float), strict=True))
    entries = [_entry("fallbacks", fallbacks & by_row.keys(), by_row)]
    value, count = Counter(predicted.values()).most_common(1)[0]
    if count >= REPEATED_ROWS:
        rows = {row for row, guess in predicted.items() if guess == value} & by_row.keys()
        entries.append(_entry(f"rows of exactly {value!r}", rows, by_row))
    return LossBreakdown(
        mean_loss=sum(by_row.values()) / len(by_row), entries=[entry for entry in entries if entry.rows]
    )


def _entry(what: str, rows: set[str], losses: dict[str, float]) -> LossBreakdownEntry:
    """`share` is of the sum of all losses; a mean above that of all rows says: worse than the rest."""
    cost = sum(losses[row] for row in sorted(rows))
    total = sum(losses.values())
    return LossBreakdownEntry(
        what=what,
        rows=len(rows),
        mean_loss=cost / len(rows) if rows else 0.0,
        share=cost / total if total else 0.0,
    )


PRIOR = 0.5  # the tests are half FAKE, half REAL


def partial_score(path: Path, challenge: Challenge, metric: LoadedMetric, solution: Solution) -> PartialScore | None:
    """The score of the rows of `path` that are known and valid, and PRIOR in all others; None if there is no row."""
    text = read_csv(path)
    ids, labels = text.column(challenge.submission.row_id), text.column(challenge.submission.label)
    if ids is None or labels is None:
        return None
    values = parse_labels(labels).values
    good = (values >= 0) & (values <= 1)  # NaN is neither
    done = dict(zip(ids[good].tolist(), values[good].tolist(), strict=True))
    rows = solution.ids.tolist()
    written = sum(row in done for row in rows)
    if not written:
        return None
    filled = np.array([done.get(row, PRIOR) for row in rows])
    table = SubmissionTable(solution.ids, filled, solution.columns)
    try:
        score = score_submission(metric, solution.frame(), table.frame(), challenge)
    except (SubmissionError, MetricError):  # an extra for a run that failed already
        return None
    return PartialScore(rows_written=written, prior=PRIOR, value=score.value, displayed=score.displayed)
