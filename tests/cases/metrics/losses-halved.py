"""`losses` do not add up to the score."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def losses(solution, submission, row_id_column_name):
    values = losses_of(*match(solution, submission, row_id_column_name))
    return pd.Series(values / 2, index=solution[row_id_column_name])
