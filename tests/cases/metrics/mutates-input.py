"""The caller's frame is clipped in place."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    submission["label"] = clip(submission["label"].astype(float))
    both = solution.merge(submission, on=row_id, suffixes=("_truth", "_guess"))
    return both["label_truth"].to_numpy(float), both["label_guess"].to_numpy(float)
