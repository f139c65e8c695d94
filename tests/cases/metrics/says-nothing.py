"""A participant is refused without a word."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_columns(submission, row_id):
    if sorted(submission.columns) != sorted([row_id, "label"]):
        raise ParticipantVisibleError
