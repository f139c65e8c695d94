"""The caller's frame is sorted in place."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_ids(solution, submission, row_id):
    if submission[row_id].isna().any() or sorted(solution[row_id]) != sorted(submission[row_id]):
        raise ParticipantVisibleError("ids")
    submission.sort_values(row_id, inplace=True, ignore_index=True)
