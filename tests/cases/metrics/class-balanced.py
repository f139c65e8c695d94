"""Both classes weigh the same."""
# ruff: noqa: F821

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def losses_of(y, p):
    p = clip(p)
    each = -(y * log(p) + (1 - y) * log(1 - p))
    return np.array([each[y == label].mean() for label in np.unique(y)])
