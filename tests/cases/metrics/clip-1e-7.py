"""The clip of another library."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def clip(p):
    return np.clip(p, 1e-7, 1 - 1e-7)
