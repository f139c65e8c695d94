"""The displayed value instead of the full one."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return round(float(losses.mean()), 5)
