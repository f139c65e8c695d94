"""Only the rows that were predicted are scored."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_ids(solution, submission, row_id):
    ids = submission[row_id]
    if ids.isna().any() or ids.duplicated().any() or not ids.isin(solution[row_id]).all():
        raise ParticipantVisibleError("ids")
