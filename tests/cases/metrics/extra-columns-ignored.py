"""An extra column is ignored."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_columns(submission, row_id):
    if not {row_id, "label"} <= set(submission.columns):
        raise ParticipantVisibleError("columns")
