"""Faults of the submission are asserted."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_ids(solution, submission, row_id):
    assert sorted(solution[row_id]) == sorted(submission[row_id])
