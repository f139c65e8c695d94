"""The score of a run, and what explains it: the cost of fallback predictions, and the score of an unfinished file."""

from collections import Counter
from pathlib import Path

import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.harness.preflight import RunInputs
from dfdc_kit.report.run_report import LossBreakdown, LossBreakdownEntry, Observation, PartialScore, Scoring
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.scoring.score import constant_score, row_losses, score_submission
from dfdc_kit.scoring.uncertainty import with_uncertainty
from dfdc_kit.submission.label_text import parse_labels
from dfdc_kit.submission.validate import SubmissionTable

REPEATED_ROWS = 3  # a value in at least this many rows looks like a default
FILL_VALUE = 0.5  # for rows that an unfinished run had not written: half of the test videos are FAKE


def score_run(
    observation: Observation, table: SubmissionTable | None, inputs: RunInputs, challenge: Challenge
) -> Scoring:
    """Score a run that exited 0 with a valid file; of any other, and where no solution is known, there is no score.

    table: the valid rows of its submission file; None if it is invalid or missing.
    """
    outcome = observation.outcome
    finished = outcome.ending is Ending.EXIT and outcome.exit_code == 0
    if inputs.solution is None or table is None or not finished:
        return Scoring()
    try:
        score = score_submission(inputs.metric, inputs.solution, table, challenge)
        solution = inputs.solution
        return Scoring(score=with_uncertainty(score, inputs.metric, solution, table, challenge, solution.originals))
    except SubmissionError as error:
        return Scoring(rejection=str(error))
    except MetricError as error:
        return Scoring(error=str(error))


def baseline_score(scoring: Scoring, inputs: RunInputs, challenge: Challenge) -> float | None:
    """The score of the same prediction in every row, to compare with; None without a score or ground truth."""
    if scoring.score is None or inputs.solution is None:
        return None
    try:
        return constant_score(inputs.metric, inputs.solution, challenge).value
    except MetricError:  # only an addition to a score
        return None


def loss_breakdown(
    scoring: Scoring, table: SubmissionTable | None, fallbacks: set[str], inputs: RunInputs, challenge: Challenge
) -> LossBreakdown | None:
    """What fallback rows and rows of one repeated value cost; None without a score, or if the metric has no `losses`.

    fallbacks: row ids that the submission reports as fallback predictions.
    """
    if scoring.score is None or table is None or inputs.solution is None:
        return None
    by_row = row_losses(inputs.metric, inputs.solution, table, challenge)
    if by_row is None:
        return None
    predicted = dict(zip(as_text(table.ids), table.labels.tolist(), strict=True))
    entries = [_entry("fallbacks", fallbacks & by_row.keys(), by_row)]
    value, count = Counter(predicted.values()).most_common(1)[0]
    if count >= REPEATED_ROWS:
        rows = {row for row, prediction in predicted.items() if prediction == value} & by_row.keys()
        entries.append(_entry(f"rows of exactly {value!r}", rows, by_row))
    return LossBreakdown(
        mean_loss=sum(by_row.values()) / len(by_row), entries=[entry for entry in entries if entry.rows]
    )


def _entry(what: str, rows: set[str], losses: dict[str, float]) -> LossBreakdownEntry:
    cost = sum(losses[row] for row in sorted(rows))
    total = sum(losses.values())
    return LossBreakdownEntry(
        what=what,
        rows=len(rows),
        mean_loss=cost / len(rows) if rows else 0.0,
        share=cost / total if total else 0.0,
    )


def partial_score(
    observation: Observation, table: SubmissionTable | None, path: Path, inputs: RunInputs, challenge: Challenge
) -> PartialScore | None:
    """The score of the known and valid rows of an invalid file, with FILL_VALUE in all others.

    None for a valid file, without a solution, or if no row is usable.
    """
    if table is not None or inputs.solution is None or observation.csv_status != "collected":
        return None
    text = read_csv(path)
    ids, labels = text.column(challenge.submission.row_id), text.column(challenge.submission.label)
    if ids is None or labels is None:
        return None
    values = parse_labels(labels).values
    valid = (values >= 0) & (values <= 1)  # NaN is neither
    written = dict(zip(ids[valid].tolist(), values[valid].tolist(), strict=True))
    solution = inputs.solution
    rows = solution.ids.tolist()
    count = sum(row in written for row in rows)
    if not count:
        return None
    filled = np.array([written.get(row, FILL_VALUE) for row in rows])  # (n_rows,)
    try:
        score = score_submission(
            inputs.metric,
            solution,
            SubmissionTable(solution.ids, filled, solution.columns),
            challenge,
        )
    except (SubmissionError, MetricError):  # only an extra for a run that failed anyway
        return None
    return PartialScore(rows_written=count, fill_value=FILL_VALUE, value=score.value, displayed=score.displayed)
