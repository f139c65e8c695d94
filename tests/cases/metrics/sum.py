"""The sum instead of the mean."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return float(losses.sum())
