"""The value as text."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    return str(losses.mean())
