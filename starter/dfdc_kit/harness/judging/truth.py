"""The truth about the rows that a run must have, and about no others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_kit.amounts import counted
from dfdc_kit.challenge import Challenge
from dfdc_kit.csvtext import Texts
from dfdc_kit.data.solution import Solution, raise_if_sample, read_solution
from dfdc_kit.errors import BadData


def read_truth(path: Path, challenge: Challenge, ids: Texts) -> Solution:
    """The solution's rows with one of `ids` (n,), in the solution's own order. Raises BadData if it lacks some."""
    solution = read_solution(path, challenge)
    raise_if_sample(solution, challenge)
    wanted = set(ids.tolist())
    rows = np.array([row in wanted for row in solution.ids.tolist()])  # (n_solution,)
    if rows.sum() < len(wanted):
        missing = sorted(wanted.difference(solution.ids.tolist()))
        lacking = f"{len(missing)} of {counted(len(ids), 'row')}, first: {b', '.join(missing[:3]).decode()}"
        raise BadData(
            f"{solution.path} lacks {lacking}.",
            hint="Name the solution that belongs to the data: --solution PATH",
        )
    usage = None if solution.usage is None else solution.usage[rows]
    return replace(solution, ids=solution.ids[rows], truth=solution.truth[rows], usage=usage)


def in_order(solution: Solution, ids: Texts) -> npt.NDArray[np.uint8]:
    """The truth (n,) of `ids` (n,), which the solution has all."""
    place = {row: at for at, row in enumerate(solution.ids.tolist())}
    return solution.truth[[place[row] for row in ids.tolist()]]
