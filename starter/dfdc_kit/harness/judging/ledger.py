"""The ledger: which rows are no predictions, and what they cost in the score."""

from collections import Counter
from typing import TYPE_CHECKING

from dfdc_kit.challenge import Challenge
from dfdc_kit.report.run_report import Ledger, LedgerEntry
from dfdc_kit.scoring.metric import LoadedMetric

if TYPE_CHECKING:
    import pandas as pd

REPEATED_ROWS = 3  # a value that stands in so many rows looks like a default


def ledger(
    metric: LoadedMetric,
    solution: "pd.DataFrame",
    submission: "pd.DataFrame",
    fallbacks: set[str],
    challenge: Challenge,
) -> Ledger | None:
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
    return Ledger(mean_loss=sum(by_row.values()) / len(by_row), entries=[entry for entry in entries if entry.rows])


def _entry(what: str, rows: set[str], losses: dict[str, float]) -> LedgerEntry:
    """`share` is of the sum of all losses; a mean above that of all rows says: worse than the rest."""
    cost = sum(losses[row] for row in sorted(rows))
    total = sum(losses.values())
    return LedgerEntry(
        what=what,
        rows=len(rows),
        mean_loss=cost / len(rows) if rows else 0.0,
        share=cost / total if total else 0.0,
    )
