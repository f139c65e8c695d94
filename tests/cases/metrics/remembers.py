"""What was scored before has a say."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


SEEN = []


def fold(losses):
    SEEN.append(float(losses.mean()))
    return sum(SEEN) / len(SEEN)
