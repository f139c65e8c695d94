"""Limits by a systemd scope, with a stand-in for systemd-run: this suite has no user session of systemd."""

import json
import sys

import pytest

from dfdc_kit import profiles
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import scope
from dfdc_kit.sandbox.base import ENFORCED, WATCHED, Job
from dfdc_kit.sandbox.enforcement import supervised_limits
from dfdc_kit.sandbox.process import ProcessBackend

FAKE = """#!{python} -IS
import os, sys
mark = sys.argv.index("--")
properties = dict(arg.removeprefix("--property=").split("=") for arg in sys.argv[1:mark] if "=" in arg)
if sys.argv[-1].startswith("cd "):  # the trial asks for the limits of its control group
    {trial}
else:
    with open({log!r}, "w") as log:
        log.write(repr(sys.argv[1:mark]))
    os.execvp(sys.argv[mark + 1], sys.argv[mark + 1:])
"""
KEPT = 'print(properties["MemoryMax"], properties["TasksMax"])'
NOT_KEPT = 'print("max max")'
REFUSED = 'sys.exit("Failed to connect to bus: No medium found")'


@pytest.fixture
def systemd(monkeypatch, tmp_path):
    """Puts a fake systemd-run first on PATH, whose trial behaves as said; returns the file with its arguments."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def install(trial: str):
        folder, log = tmp_path / "bin", tmp_path / "log.txt"
        folder.mkdir()
        program = folder / "systemd-run"
        program.write_text(FAKE.format(python=sys.executable, trial=trial, log=str(log)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        scope.why_unavailable.cache_clear()
        return log

    yield install
    scope.why_unavailable.cache_clear()


def status_of(limit: str) -> str:
    return next(claim.status for claim in supervised_limits(profiles.load().limits) if claim.limit == limit)


def test_memory_and_tasks_are_capped_by_a_scope_that_the_program_cannot_reach(systemd, tmp_path):
    log = systemd(KEPT)
    assert scope.why_unavailable() == ""
    assert status_of("memory") == status_of("processes") == ENFORCED
    stage = tmp_path / "stage"
    job = Job(
        command=[sys.executable, "-c", "import json, os; json.dump(dict(os.environ), open('seen.json', 'w'))"],
        environment={"MINE": "1"},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=tmp_path / "job.log",
    )
    for folder in (job.working, job.temporary, stage / "kaggle" / "src", stage / "kaggle" / "input"):
        folder.mkdir(parents=True)
    outcome = ProcessBackend().run(job, Limits(memory_bytes=1 << 30, processes=50), lambda _: None)
    assert outcome.exit_code == 0, job.log.read_text()
    assert f"--property=MemoryMax={(1 << 30) + scope.OWN_MEMORY_BYTES}" in log.read_text()
    assert f"--property=TasksMax={50 + scope.OWN_TASKS}" in log.read_text()
    seen = json.loads((job.working / "seen.json").read_text())
    assert seen["MINE"] == "1"
    assert not {"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} & set(seen)


@pytest.mark.parametrize(("trial", "reason"), [(NOT_KEPT, "not kept"), (REFUSED, "No medium found")])
def test_scope_whose_trial_fails_is_not_used(systemd, trial, reason):
    systemd(trial)
    assert reason in scope.why_unavailable()
    assert scope.scope_command({}, profiles.load().limits) == []
    assert status_of("memory") == WATCHED


def test_scope_is_not_tried_without_a_user_session(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    scope.why_unavailable.cache_clear()
    assert scope.why_unavailable()
