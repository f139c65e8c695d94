"""No clip: one confident miss is infinite."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def clip(p):
    return p
