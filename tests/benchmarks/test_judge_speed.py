"""What judging many submissions costs beside their own runs, and what a second worker brings.

Run: pytest tests/benchmarks/test_judge_speed.py --benchmark-only -s
"""

import os
import shutil
import time

import pytest

from dfdc_kit.competition.engines import EngineOptions
from dfdc_kit.competition.engines.local import LocalEngine
from dfdc_kit.competition.judge_many import Coordinator
from dfdc_kit.competition.plan import list_submissions, make_plan
from dfdc_kit.competition.results import load_results
from dfdc_kit.competition.rules import judging_rules

COUNT = 200  # half of them twice by one worker and twice by two, in the order 1, 2, 2, 1
OVER_SANDBOX_S = 0.3  # for each submission; what was asked for
TWO_WORKERS = 0.55  # of one worker's time


def judged(folder, judging, sample, workers: int, cores: list[int]) -> tuple[float, float]:
    """Wall seconds for all submissions, and the sum of what they ran in the sandbox."""
    rules = judging_rules("", "", "unlimited")
    plan = make_plan(
        judging,
        list_submissions(folder),
        data=sample,
        solution=None,
        challenge=rules.challenge,
        profile_name=rules.profile_name,
        profile=rules.profile,
    )
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # workers inherit it
    try:
        started = time.perf_counter()
        with LocalEngine(judging, plan, EngineOptions(workers=workers)) as engine:
            left = Coordinator(judging, engine).judge_all([one.key for one in plan.submissions], lambda progress: None)
        elapsed_s = time.perf_counter() - started
    finally:
        os.sched_setaffinity(0, every)
    assert left == []
    return elapsed_s, sum(one.wall_time_s for one in load_results(judging))


def test_judging(benchmark, root, sample, tmp_path):
    """Copies of the baseline `constant`, by one worker on one core and by two workers on two.

    In turns, as some file systems get slower with the files that were removed in the last minute.
    """
    for number in range(COUNT // 2):
        shutil.copytree(root / "baselines" / "constant", tmp_path / "submissions" / f"constant-{number}")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    folder = tmp_path / "submissions"

    def measure() -> tuple[float, float]:
        runs = {1: [], 2: []}
        for turn, workers in enumerate((1, 2, 2, 1)):
            runs[workers].append(judged(folder, tmp_path / f"turn-{turn}", sample, workers, cores[:workers]))
        (one_s, sandbox_s), (two_s, _) = (map(sum, zip(*runs[workers], strict=True)) for workers in (1, 2))
        return (one_s - sandbox_s) / COUNT, two_s / one_s

    over_s, ratio = benchmark.pedantic(measure, rounds=1)
    print(f"\n{over_s:.3f} s over the sandbox for each submission; two workers take {ratio:.2f} of one's time")
    assert over_s <= OVER_SANDBOX_S
    assert ratio <= TWO_WORKERS
