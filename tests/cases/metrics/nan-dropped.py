"""Rows without a prediction are left out of the mean."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def check_labels(submission):
    labels = pd.to_numeric(submission["label"], errors="coerce").dropna()
    if not labels.between(0, 1).all():
        raise ParticipantVisibleError("labels")


def match(solution, submission, row_id):
    both = solution.merge(submission, on=row_id, suffixes=("_truth", "_guess"))
    guess = pd.to_numeric(both["label_guess"], errors="coerce")
    return both["label_truth"][guess.notna()].to_numpy(float), guess.dropna().to_numpy(float)
