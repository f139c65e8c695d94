"""Faults of the submission are raised as any error."""

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def check_labels(submission):
    if not pd.to_numeric(submission["label"], errors="coerce").between(0, 1).all():
        raise ValueError("labels")
