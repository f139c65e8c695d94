"""The name of the row id column is written in the code."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    both = solution.merge(submission, on="filename", suffixes=("_truth", "_guess"))
    return both["label_truth"].to_numpy(float), both["label_guess"].to_numpy(float)
