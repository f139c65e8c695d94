"""1.5 and infinity are taken for 1."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def check_labels(submission):
    if pd.to_numeric(submission["label"], errors="coerce").isna().any():
        raise ParticipantVisibleError("labels")
