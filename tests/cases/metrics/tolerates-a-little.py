"""Just outside [0, 1] is let through."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def check_labels(submission):
    if not pd.to_numeric(submission["label"], errors="coerce").between(-1e-9, 1 + 1e-9).all():
        raise ParticipantVisibleError("labels")
