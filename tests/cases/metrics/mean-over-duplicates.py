"""Several predictions for one row are averaged."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def check_ids(solution, submission, row_id):
    if set(solution[row_id]) != set(submission[row_id]):
        raise ParticipantVisibleError("ids")


def match(solution, submission, row_id):
    once = submission.groupby(row_id, as_index=False)["label"].mean()
    both = solution.merge(once, on=row_id, suffixes=("_truth", "_guess"))
    return both["label_truth"].to_numpy(float), both["label_guess"].to_numpy(float)
