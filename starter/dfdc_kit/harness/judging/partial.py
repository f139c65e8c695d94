"""What a run that did not finish would have scored, with the prior in the rows that it did not reach."""

from pathlib import Path

import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csvtext import read_csv
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import MetricFault, SubmissionFault
from dfdc_kit.report.run_report import PartialScore
from dfdc_kit.scoring.metric import LoadedMetric
from dfdc_kit.scoring.score import score_submission
from dfdc_kit.submission.check import SubmissionTable
from dfdc_kit.submission.labels import parse_labels

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
    except (SubmissionFault, MetricFault):  # an extra for a run that failed already
        return None
    return PartialScore(rows_written=written, prior=PRIOR, value=score.value, displayed=score.displayed)
