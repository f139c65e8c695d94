"""Only the submission is sorted."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    return solution["label"].to_numpy(np.float64), submission.sort_values(row_id)["label"].to_numpy(np.float64)
