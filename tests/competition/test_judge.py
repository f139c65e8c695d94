"""One submission is judged once, completely or not at all, and never blamed for a fault of the machine."""

import errno
import os
import shutil

import msgspec
import pytest

from dfdc_kit import profiles
from dfdc_kit.competition.judge import Judge
from dfdc_kit.competition.lease import LeaseWatch
from dfdc_kit.competition.results import load_results
from dfdc_kit.harness.request import NullListener

SPY = """
from pathlib import Path
for path in ({paths!r}):
    assert not Path(path).exists(), path
"""


@pytest.fixture
def judge_first(planned):
    """Judge the only submission of a folder in this process: outcome, results and judging folder."""

    def judge(folder, listener=None, prepare=lambda judging, plan: None, **changes):
        judging, plan = planned(folder, **changes)
        prepare(judging, plan)
        outcome = Judge(judging, plan, "test", listener).judge(plan.submissions[0].key)
        return outcome, load_results(judging), judging

    return judge


def left_over(judging) -> list[str]:
    return [str(path) for name in ("work", "leases", "results") for path in (judging / name).glob("*")]


def test_complete_run_leaves_result_predictions_and_report_and_is_not_run_again(judge_first, submissions, tmp_path):
    folder = submissions(team=True)
    other = submissions(other=True) / "other"
    program = (folder / "team" / "main.py").read_text()
    paths = [str(other), str(tmp_path / "judging"), str(tmp_path)]
    submissions(team=SPY.replace("{paths!r}", repr(paths)) + program)
    shutil.rmtree(other)
    outcome, [result], judging = judge_first(folder)
    assert outcome.kind == "judged"
    assert (result.verdict, round(result.score, 5), result.engine) == ("complete", 0.69315, "test"), result.reason
    home = judging / "results" / result.key
    assert (home / result.predictions).read_bytes() == (home / "run" / "submission.csv").read_bytes()
    assert (home / result.report).is_file()
    assert left_over(judging) == [str(home)]
    before = home.stat().st_ino
    assert judge_first(folder)[0].kind == "judged"
    assert home.stat().st_ino == before


def test_folder_that_is_no_submission_gets_a_result_of_its_own(judge_first, submissions):
    folder = submissions(team="")
    (folder / "team" / "submission.toml").write_text("nonsense")
    _, [result], _ = judge_first(folder)
    assert (result.verdict, result.score, result.report) == ("invalid-submission", None, None)
    assert result.reason.startswith("submission.toml")  # without the folder, which is of this machine


def test_program_that_fails_has_a_verdict_and_no_predictions(judge_first, submissions):
    _, [result], judging = judge_first(submissions(team="raise ValueError('no model')"))
    assert (result.verdict, result.score, result.predictions) == ("exception", None, None)
    assert "no model" in result.reason
    assert "video" not in result.reason  # how far it came differs from run to run, and is in its report
    assert (judging / "results" / result.key / result.report).is_file()


def test_reason_of_a_time_out_has_no_measured_time(judge_first, submissions):
    profile = profiles.load("unlimited")
    limits = msgspec.structs.replace(profile.limits, wall_time_s=0.5)
    _, [result], _ = judge_first(
        submissions(team="while True: pass"), profile=msgspec.structs.replace(profile, limits=limits)
    )
    assert (result.verdict, result.reason) == ("timeout", "Stopped at the time limit of 0.5 s.")


def test_code_that_changed_since_the_plan_is_not_judged(judge_first, submissions):
    folder = submissions(team=True)
    outcome, results, judging = judge_first(folder, prepare=lambda *_: submissions(team="print(1)"))
    assert (outcome.kind, results, left_over(judging)) == ("changed", [], [])
    assert "changed after they were listed" in outcome.message


def test_code_that_changes_while_it_is_judged_has_no_result(judge_first, submissions):
    class Meddler(NullListener):
        def staged(self, done, total):
            submissions(team="print(1)")

    outcome, results, judging = judge_first(submissions(team=True), Meddler())
    assert (outcome.kind, results, left_over(judging)) == ("changed", [], [])
    assert "while it was judged" in outcome.message


def test_data_that_changed_since_the_plan_is_a_fault(judge_first, submissions, tmp_path, sample):
    shutil.copytree(sample, tmp_path / "data")
    video = next((tmp_path / "data" / "test_videos").glob("*.mp4"))
    outcome, results, _ = judge_first(
        submissions(team=True), prepare=lambda *_: video.write_bytes(b"other"), data=tmp_path / "data"
    )
    assert (outcome.kind, results) == ("fault", [])
    assert "has changed since judging began" in outcome.message


def test_full_disk_is_a_fault_and_leaves_nothing_half_written(judge_first, submissions, monkeypatch):
    folder = submissions(team="")
    (folder / "team" / "submission.toml").write_text("nonsense")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    def prepare(*_):
        monkeypatch.setattr(os, "fsync", full)

    outcome, results, judging = judge_first(folder, prepare=prepare)
    assert (outcome.kind, results, left_over(judging)) == ("fault", [], [])
    assert "No space left" in outcome.message
    monkeypatch.undo()
    assert judge_first(folder)[0].kind == "judged"


def test_submission_that_another_process_judges_is_busy(judge_first, submissions):
    held = []
    outcome, results, _ = judge_first(
        submissions(team=True),
        prepare=lambda judging, plan: held.append(
            LeaseWatch().acquire(judging / "leases" / f"{plan.submissions[0].key}.lease")
        ),
    )
    held[0].__exit__()
    assert (outcome.kind, results) == ("busy", [])


def test_left_overs_of_a_killed_attempt_are_removed(judge_first, submissions):
    folder = submissions(team="")
    (folder / "team" / "submission.toml").write_text("nonsense")

    def prepare(judging, plan):
        left = judging / "work" / plan.submissions[0].key / "result"
        left.mkdir(parents=True)
        (left / "result.json").write_text("half")
        left.chmod(0o500)

    outcome, [result], judging = judge_first(folder, prepare=prepare)
    assert outcome.kind == "judged"
    assert result.verdict == "invalid-submission"
    assert not list((judging / "work").iterdir())
