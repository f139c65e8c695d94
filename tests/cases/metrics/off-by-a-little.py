"""Wrong in the eleventh digit."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return float(losses.mean()) * (1 + 1e-11)
