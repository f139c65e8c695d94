"""Only an integer truth is understood."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    both = solution.merge(submission, on=row_id, suffixes=("_truth", "_guess"))
    return both["label_truth"].map(str).eq("1").to_numpy(float), both["label_guess"].to_numpy(float)
