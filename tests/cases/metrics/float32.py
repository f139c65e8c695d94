"""The cast to float64 is forgotten."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def clip(p):
    p = p.astype(np.float32)
    return np.clip(p, np.float32(1e-15), np.float32(1 - 1e-15))
