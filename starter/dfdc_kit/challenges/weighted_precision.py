"""Weighted precision of the preview data set of the DFDC: higher is better, 0 is the best (arXiv 1910.08854).

    wP = TP / (TP + alpha * FP)      alpha = 100: real videos are far more frequent outside of a test set

The score is ln(wP) at the highest threshold that finds at least half of the fakes. Equal predictions are on the same
side of the threshold, so a constant submission finds every fake and every real video. `ln_weighted_precision` computes
it at other recalls; the paper reports 0.1, 0.5 and 0.9.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

ALPHA = 100
RECALL = 0.5
LABEL = "fake_probability"


class ParticipantVisibleError(Exception):
    """The submission is at fault."""


def score(solution: pd.DataFrame, submission: pd.DataFrame, row_id_column_name: str) -> float:
    """ln(wP) at recall 0.5; rows are matched by id. Raises ParticipantVisibleError, ValueError for a broken solution.

    >>> labels = pd.DataFrame({"video": ["a", "b", "c", "d"], LABEL: [1, 1, 0, 0]})
    >>> score(labels, labels.assign(fake_probability=[0.9, 0.2, 0.3, 0.1]), "video") == 0  # one fake, no real video
    True
    >>> round(score(labels, labels.assign(fake_probability=0.5), "video"), 3)
    -4.615
    """
    predicted = submission.set_index(row_id_column_name)[LABEL].reindex(solution[row_id_column_name])
    values = pd.to_numeric(predicted, errors="coerce").to_numpy(np.float64)  # (n_videos,)
    if len(submission) != len(solution) or not ((values >= 0) & (values <= 1)).all():
        raise ParticipantVisibleError(f"Expected one {LABEL} from 0 to 1 for each of the {len(solution)} videos.")
    return ln_weighted_precision(solution[LABEL].to_numpy(), values, RECALL)


def score_arrays(labels: npt.NDArray[np.uint8], predicted: npt.NDArray[np.float64]) -> float:
    """`score` of matched arrays (n,), for resampling: without tables."""
    return ln_weighted_precision(labels, predicted, RECALL)


def ln_weighted_precision(labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.float64], recall: float) -> float:
    """ln(wP) at the highest threshold with at least `recall` (0 to 1); labels (n,) of 0 and 1, predicted (n,)."""
    fakes = np.sort(predicted[labels == 1])[::-1]
    if not len(fakes):
        raise ValueError("the solution has no fake: recall is undefined")
    threshold = fakes[max(math.ceil(recall * len(fakes) - 1e-9), 1) - 1]
    found = int((fakes >= threshold).sum())
    wrong = int((predicted[labels != 1] >= threshold).sum())
    return math.log(found / (found + ALPHA * wrong))
