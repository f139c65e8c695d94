"""`losses` is not indexed by row id."""
# ruff: noqa: F821

from pathlib import Path

import pandas as pd

exec((Path(__file__).parent / "sound.py").read_text())


def losses(solution, submission, row_id_column_name):
    return pd.Series(losses_of(*match(solution, submission, row_id_column_name)))
