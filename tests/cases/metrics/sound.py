"""Nothing is wrong here: another way to the same score. Every other file of this folder plants one fault in it."""

import numpy as np
import pandas as pd


class ParticipantVisibleError(Exception):
    pass


def score(solution: pd.DataFrame, submission: pd.DataFrame, row_id_column_name: str) -> float:
    check_solution(solution)
    check_columns(submission, row_id_column_name)
    check_ids(solution, submission, row_id_column_name)
    check_labels(submission)
    y, p = match(solution, submission, row_id_column_name)
    return fold(losses_of(y, p))


def check_solution(solution):
    if not solution["label"].isin([0, 1]).all():
        raise ValueError("labels of the solution")


def check_columns(submission, row_id):
    if sorted(submission.columns) != sorted([row_id, "label"]):
        raise ParticipantVisibleError("columns")


def check_ids(solution, submission, row_id):
    if submission[row_id].isna().any() or sorted(solution[row_id]) != sorted(submission[row_id]):
        raise ParticipantVisibleError("ids")


def check_labels(submission):
    if not pd.to_numeric(submission["label"], errors="coerce").between(0, 1).all():
        raise ParticipantVisibleError("labels")


def match(solution, submission, row_id):
    both = solution.merge(submission, on=row_id, suffixes=("_truth", "_guess"))
    return both["label_truth"].to_numpy(np.float64), both["label_guess"].to_numpy(np.float64)


def losses_of(y, p):
    p = clip(p)
    return -(y * log(p) + (1 - y) * log(1 - p))


def clip(p):
    return np.clip(p, 1e-15, 1 - 1e-15)


def log(p):
    return np.log(p)


def fold(losses):
    return float(losses.mean())
