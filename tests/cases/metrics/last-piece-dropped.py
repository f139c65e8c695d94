"""Many rows are taken piece by piece, and what is left over after the last whole piece is forgotten."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())

PIECE = 32768


def fold(losses):
    whole = len(losses) // PIECE * PIECE or len(losses)
    return float(losses[:whole].mean())
