"""A rerun is compared with the first result, entered once, and counts only where the organizer says so."""

import shutil

import msgspec
import pytest

from dfdc_kit.competition.judge import Judge
from dfdc_kit.competition.ledger import enter_rerun, read_ledger, rerun_tasks
from dfdc_kit.competition.results import load_results
from dfdc_kit.errors import DataError, UsageError


def add_result(judging, first, task: str, value: float, **changes) -> None:
    """A result folder with the same prediction in two rows."""
    folder = judging / ("reruns" if ".r" in task else "results") / task
    folder.mkdir(parents=True)
    result = msgspec.structs.replace(first, predictions="predictions.csv", verdict="complete", **changes)
    (folder / "result.json").write_bytes(msgspec.json.encode(result))
    (folder / "predictions.csv").write_text(f"filename,label\nNA,{value}\nb.mp4,0.5\n")


@pytest.fixture
def judged(submissions, planned):
    """A judging folder with results of a (score 0.5) and b (0.45), and the plan."""
    folder = submissions(a="", b="")
    for name in "ab":
        (folder / name / "submission.toml").write_text("nonsense")
    judging, plan = planned(folder)
    for one in plan.submissions:
        Judge(judging, plan, "test").judge(one.key)
    for first, score in zip(load_results(judging), (0.5, 0.45), strict=True):
        shutil.rmtree(judging / "results" / first.key)
        add_result(judging, first, first.key, 0.25, score=score, machine="one")
    return judging, plan


def enter(judging, plan, *, replace=False, **changes):
    [task] = rerun_tasks(judging, plan, ["a"])
    first = load_results(judging)[0]
    add_result(judging, first, task, 0.375, **{"score": 0.44, "machine": "two", **changes})
    return enter_rerun(judging, task, "check", lower_is_better=True, replace=replace)


def test_rerun_reports_drift_and_its_effect_on_the_rank(judged):
    judging, plan = judged
    entry = enter(judging, plan)
    assert (entry.drift.largest, entry.drift.rows) == (0.125, 1)
    assert entry.drift.score == pytest.approx(-0.06)
    assert (entry.drift.rank_before, entry.drift.rank_after) == (2, 1)
    assert (entry.first_machine, entry.machine, entry.why, entry.replaced) == ("one", "two", "check", False)
    assert load_results(judging)[0].score == 0.5  # the first result stands
    assert read_ledger(judging) == [entry]


def test_rerun_that_replaces_counts_from_then_on_with_its_own_files(judged):
    judging, plan = judged
    enter(judging, plan, replace=True)
    result = load_results(judging)[0]
    assert (result.score, result.machine) == (0.44, "two")
    assert "0.375" in (judging / "results" / result.key / result.predictions).read_text()


def test_rerun_without_predictions_has_no_drift_of_them(judged):
    judging, plan = judged
    entry = enter(judging, plan, score=None)
    assert (entry.drift.score, entry.drift.rank_after) == (None, None)


def test_next_rerun_is_the_first_without_a_line(judged):
    judging, plan = judged
    [first] = rerun_tasks(judging, plan, ["a/a"])
    enter(judging, plan)
    assert rerun_tasks(judging, plan, ["a"]) == [first.replace(".r1", ".r2")]


def test_torn_last_line_is_dropped_and_a_damaged_one_is_named(judged):
    judging, plan = judged
    first = enter(judging, plan)
    path = judging / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"who": "' + b"x" * 10_000)
    with pytest.raises(DataError, match="line 2"):
        read_ledger(judging)
    entry = enter_rerun(judging, first.task, "again", lower_is_better=True, replace=False)
    assert read_ledger(judging) == [first, entry]


def test_rerun_of_an_unknown_or_unjudged_submission_is_wrong_usage(judged):
    judging, plan = judged
    with pytest.raises(UsageError, match="There is no submission 'c'"):
        rerun_tasks(judging, plan, ["c"])
    key = next(one.key for one in plan.submissions if one.name == "b")
    shutil.rmtree(judging / "results" / key)
    with pytest.raises(UsageError, match="has not been judged yet"):
        rerun_tasks(judging, plan, ["b"])
