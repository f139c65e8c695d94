"""The first row of one file belongs to the first row of the other."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    return solution["label"].to_numpy(np.float64), submission["label"].to_numpy(np.float64)
