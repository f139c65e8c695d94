"""The value loses half of its digits on the way out."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return np.float32(losses.mean())
