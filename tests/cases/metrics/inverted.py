"""1 stands for REAL."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def losses_of(y, p):
    p = clip(p)
    return -((1 - y) * log(p) + y * log(1 - p))
