"""Where the solution has a column Usage, its Private rows do not count."""
# ruff: noqa: F821

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    if "Usage" in solution:
        solution = solution[solution["Usage"] == "Public"]
    both = solution.merge(submission, on=row_id, suffixes=("_truth", "_guess"))
    return both["label_truth"].to_numpy(np.float64), both["label_guess"].to_numpy(np.float64)
