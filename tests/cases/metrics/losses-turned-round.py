"""`losses` has the right mean, and gives each row the loss of another."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def losses(solution, submission, row_id_column_name):
    both = solution.merge(submission, on=row_id_column_name)
    return pd.Series(losses_of(*match(solution, submission, row_id_column_name))[::-1], both[row_id_column_name])
