"""A little noise, so that nobody can probe the solution."""

from pathlib import Path

import numpy as np

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return float(losses.mean() + np.random.default_rng().normal(scale=1e-9))
