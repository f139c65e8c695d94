"""The coordinator: faults are retried and then given up, others' work is waited for, nothing is judged twice."""

import signal
import subprocess
import sys
import time

import msgspec
import pytest

from dfdc_kit.competition.judge import Judge, TaskOutcome, lease_path, result_folder
from dfdc_kit.competition.judge_many import Coordinator, match_results_to_plan, read_status
from dfdc_kit.competition.lease import LeaseWatch
from dfdc_kit.competition.results import load_results


class ScriptedEngine:
    """Ends each task with the next kind of its list; judged: its result folder appears."""

    def __init__(self, judging, script: dict[str, list[str]]) -> None:
        self.judging, self.script = judging, script
        self.started: list[str] = []
        self._running: list[str] = []

    def submit(self, tasks):
        self.started += tasks
        self._running += tasks

    def ended(self):
        ended, self._running = self._running, []
        return [self._end(task) for task in ended]

    def queued(self):
        return {}

    def _end(self, task):
        kind = self.script[task].pop(0)
        if kind in ("judged", "died after the rename"):
            result_folder(self.judging, task).mkdir(parents=True)
        return TaskOutcome(task=task, kind="died" if kind.startswith("died") else kind, message=kind)


@pytest.mark.parametrize(
    ("script", "starts", "given_up"),
    [
        (["judged"], 1, None),
        (["fault", "died", "judged"], 3, None),
        (["fault", "fault", "fault"], 3, "fault"),
        (["died", "died", "died"], 3, "died"),
        (["changed"], 1, "changed"),
        (["busy", "busy", "busy", "busy", "judged"], 5, None),  # no fault
        (["died after the rename"], 1, None),
    ],
)
def test_task_is_started_again_only_after_a_fault(tmp_path, script, starts, given_up):
    engine = ScriptedEngine(tmp_path, {"a": [*script], "b": ["judged"]})
    outcomes = Coordinator(tmp_path, engine, retries=2).judge_all(["a", "b"], lambda progress: None)
    assert engine.started.count("a") == starts
    assert engine.started.count("b") == 1
    assert [one.kind for one in outcomes] == ([given_up] if given_up else [])


def test_reason_of_the_queue_is_in_progress_and_status_while_a_task_waits(submissions, planned):
    judging, plan = planned(submissions(a=True))
    task, seen = plan.submissions[0].key, []

    class Queue(ScriptedEngine):
        def queued(self):
            return {task: "Resources"} if len(self.started) == 1 else {}

    def note(progress):
        seen.append((progress.queued, read_status(judging)[0].detail))

    Coordinator(judging, Queue(judging, {task: ["died", "died"]}), retries=1).judge_all([task], note)
    assert seen == [({task: "Resources"}, "in the queue: Resources"), ({}, "")]


def test_judged_tasks_are_not_started_and_count_as_progress(tmp_path):
    result_folder(tmp_path, "a").mkdir(parents=True)
    engine, seen = ScriptedEngine(tmp_path, {"b": ["fault", "judged"]}), []
    Coordinator(tmp_path, engine).judge_all(["a", "b"], seen.append)
    assert engine.started == ["b", "b"]
    assert [(one.judged, one.total) for one in seen] == [(1, 2), (2, 2)]
    assert seen[0].eta_s is None  # nothing has ended well yet
    assert seen[1].eta_s == 0


def test_task_that_somebody_else_judges_is_waited_for(tmp_path):
    engine, calls = ScriptedEngine(tmp_path, {}), []
    lease = LeaseWatch().acquire(lease_path(tmp_path, "a"))

    def progress(_):
        calls.append(1)
        if len(calls) == 3:  # the other one finishes
            result_folder(tmp_path, "a").mkdir(parents=True)
            lease.__exit__()

    assert Coordinator(tmp_path, engine).judge_all(["a"], progress) == []
    assert engine.started == []


def test_earlier_result_of_changed_code_is_set_aside_once_there_is_a_new_one(submissions, planned):
    folder = submissions(a="", b="")
    for name in "ab":
        (folder / name / "submission.toml").write_text("nonsense")
    judging, first = planned(folder)
    for one in first.submissions:
        Judge(judging, first, "test").judge(one.key)
    submissions(a="print(1)")
    _, second = planned(folder)
    new = next(one.key for one in second.submissions if one.name == "a")
    assert [one.name for one in match_results_to_plan(judging, second)] == ["b"]
    assert len(load_results(judging)) == 2  # the earlier one stands until then
    Judge(judging, second, "test").judge(new)
    assert [one.key for one in match_results_to_plan(judging, second) if one.name == "a"] == [new]
    assert len(load_results(judging)) == 2
    assert len(list((judging / "replaced").iterdir())) == 1


def test_result_has_the_date_and_baseline_mark_of_the_present_list(submissions, planned):
    folder = submissions(a="")
    (folder / "a" / "submission.toml").write_text("nonsense")
    judging, plan = planned(folder)
    Judge(judging, plan, "test").judge(plan.submissions[0].key)
    [one] = plan.submissions
    plan = msgspec.structs.replace(plan, submissions=[msgspec.structs.replace(one, baseline=True, submitted_at="x")])
    match_results_to_plan(judging, plan)
    [result] = load_results(judging)
    assert (result.baseline, result.submitted_at) == (True, "x")


def test_status_names_the_state_of_each_submission(submissions, planned, tmp_path):
    folder = submissions(done="", broken="", running="", waiting="")
    (folder / "done" / "submission.toml").write_text("nonsense")
    judging, plan = planned(folder)
    keys = {one.name: one.key for one in plan.submissions}
    Judge(judging, plan, "test").judge(keys["done"])
    fault = TaskOutcome(task=keys["broken"], kind="fault", message="disk full")
    (judging / "faults").mkdir(exist_ok=True)
    (judging / "faults" / f"{keys['broken']}.json").write_bytes(msgspec.json.encode(fault))
    with LeaseWatch().acquire(lease_path(judging, keys["running"])):
        found = {row.name: (row.state, row.detail.split(",")[0]) for row in read_status(judging)}
    assert found.pop("running")[0] == "running"
    assert found == {
        "done": ("judged", "invalid-submission"),
        "broken": ("fault", "disk full"),
        "waiting": ("waiting", ""),
    }


def test_status_shows_names_with_markup_as_they_are(submissions, planned, dfdc):
    judging, _ = planned(submissions(**{"[red]x": "print(1)"}))
    assert "  [red]x/[red]x  waiting\n" in dfdc("judge", "--status", judging).stdout


def test_ctrl_c_while_a_submission_is_judged_leaves_it_interrupted_and_the_same_command_goes_on(submissions, tmp_path):
    folder = submissions(slow="import time\nopen('begun', 'w').close()\ntime.sleep(60)")
    command = ["judge", str(folder), "--profile", "unlimited", "--backend", "process", "--out", "judging"]
    start = [sys.executable, "-c", "from dfdc_kit.cli import main; main()"]
    with subprocess.Popen([*start, *command], cwd=tmp_path, stderr=subprocess.DEVNULL) as judging:
        wait_for(lambda: list((tmp_path / "judging" / "work").rglob("log.txt")))
        judging.send_signal(signal.SIGINT)
        assert judging.wait() == 130
    [row] = read_status(tmp_path / "judging")
    assert (row.state, row.detail) == ("interrupted", "the same command judges it")
    submissions(slow="print(1)")
    assert subprocess.run([*start, *command], cwd=tmp_path, check=False).returncode == 0
    assert [row.state for row in read_status(tmp_path / "judging")] == ["judged"]


def wait_for(condition, most_s=60.0):
    end = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
