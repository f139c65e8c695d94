"""Delegated to a library that clips elsewhere."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def losses_of(y, p):
    from sklearn.metrics import log_loss

    return log_loss(y, p, labels=[0, 1])


def fold(losses):
    return float(losses)
