"""Rows of unknown videos are passed over."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_ids(solution, submission, row_id):
    ids = submission[row_id]
    if ids.isna().any() or ids.duplicated().any() or not solution[row_id].isin(ids).all():
        raise ParticipantVisibleError("ids")
