"""p and 1 - p are clipped apart, so that both ends cost the same."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def losses_of(y, p):
    return -np.log(np.clip(np.where(y == 1, p, 1 - p), 1e-15, 1))
