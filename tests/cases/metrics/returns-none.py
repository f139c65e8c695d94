"""Somebody forgot the return."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def fold(losses):
    float(losses.mean())
