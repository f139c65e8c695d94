"""Every engine is really started, loses a worker on the way, and leaves the same results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from slurm_cluster import slurm_cluster, why_not

from dfdc_kit import profiles
from dfdc_kit.competition.engines import EngineOptions
from dfdc_kit.competition.engines.local import split_cores, worker_count
from dfdc_kit.competition.engines.slurm import array_parts, jobs_in_queue, largest_array, resources
from dfdc_kit.competition.lease import LeaseWatch
from dfdc_kit.competition.results import load_results
from dfdc_kit.errors import UsageError

DEADLINE_S = 240


@pytest.fixture
def start(tmp_path):
    """Start `dfdc judge submissions`, in a process that is stopped at the end of the test."""
    started = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dfdc_kit", "judge", "submissions", "--profile", "unlimited", *arguments, "--json"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def holder_at_work(judging: Path, command: subprocess.Popen[str], other_than: int = 0) -> int:
    """The process id of whoever holds a lease and has a program running; `command` must be alive meanwhile."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and command.poll() is None:
        for path in judging.glob("leases/*"):
            holder = LeaseWatch().holder(path)
            if (
                holder
                and holder.process not in (0, other_than)
                and list(judging.glob(f"work/{path.stem}/runs/*/log.txt"))
            ):
                return holder.process
        time.sleep(0.02)
    raise AssertionError("nothing was being judged")


def finished(process: subprocess.Popen[str]) -> dict:
    text, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return json.loads(text)


def check_results(judging: Path, names: list[str]) -> None:
    results = load_results(judging)
    assert [(one.name, one.verdict) for one in results] == [(name, "complete") for name in names]
    assert [path.name for path in judging.glob("work/*")] == []
    assert [path.name for path in judging.glob("leases/*")] == []


def test_killed_worker_is_replaced_and_a_killed_command_goes_on_when_started_again(start, submissions, tmp_path):
    submissions(a=True, sleep=1)
    judging = tmp_path / "judging"
    process = start("--workers", "1")
    os.kill(first := holder_at_work(judging, process), signal.SIGKILL)
    second = holder_at_work(judging, process, other_than=first)
    process.kill()
    assert finished(start())["not_judged"] == []
    assert not psutil.pid_exists(second)  # it stopped when its parent had gone
    check_results(judging, ["a"])


def test_dask_worker_that_is_killed_is_replaced(start, submissions, tmp_path):
    submissions(a=True, sleep=2)
    process = start("--on", "dask", "--workers", "1")
    worker = psutil.Process(holder_at_work(tmp_path / "judging", process)).parent()  # the process of Dask
    assert "dask" in " ".join(worker.cmdline()) or "multiprocessing" in " ".join(worker.cmdline())
    worker.kill()
    assert finished(process)["not_judged"] == []
    check_results(tmp_path / "judging", ["a"])


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm works")
def test_slurm_job_that_is_killed_is_submitted_again_in_arrays_below_the_limit(start, submissions, tmp_path):
    submissions(a=True, b=True, sleep=1)
    with slurm_cluster(tmp_path / "slurm", largest_array=2) as conf:  # at most one element
        process = start("--on", "slurm", SLURM_CONF=conf)
        os.kill(
            psutil.Process(holder_at_work(tmp_path / "judging", process)).ppid(), signal.SIGKILL
        )  # the job's own process
        assert finished(process)["not_judged"] == []
        check_results(tmp_path / "judging", ["a", "b"])
        arrays = {path.name.split("_")[0] for path in (tmp_path / "judging" / "slurm").glob("*_submission.sh")}
    assert len(arrays) >= 3  # one each, and the killed one again


def test_slurm_asks_for_what_the_profile_grants_a_run():
    wanted = resources(profiles.load("kaggle-2020-gpu"), {})
    assert wanted == {"time": 555, "cpus_per_task": 2, "mem": wanted["mem"], "gpus_per_node": 1}
    assert int(wanted["mem"].removesuffix("M")) > profiles.load("kaggle-2020-gpu").limits.memory_bytes / 2**20
    changed = resources(profiles.load("kaggle-2020-gpu"), {"gpus_per_node": "none", "time": "90", "partition": "cpu"})
    assert "gpus_per_node" not in changed
    assert (changed["time"], changed["partition"]) == (90, "cpu")
    assert resources(profiles.load("unlimited"), {}) == {"time": 0, "cpus_per_task": 1}


@pytest.mark.parametrize(("tasks", "largest", "sizes"), [(5, 4, [3, 2]), (4, 4, [4]), (1, 1, [1]), (0, 4, [])])
def test_arrays_stay_below_the_limit_and_hold_every_task_once(tasks, largest, sizes):
    names = [str(number) for number in range(tasks)]
    parts = array_parts(names, largest)
    assert [len(part) for part in parts] == sizes
    assert sorted(name for part in parts for name in part) == names


def test_largest_array_is_read_from_the_configuration():
    assert largest_array("MaxArraySize            = 1001\nMaxJobCount = 5\n") == 1000
    assert largest_array("") == 1000


def test_workers_stay_within_the_budget_of_memory():
    limits = msgspec.structs.replace(profiles.load("unlimited").limits, memory_bytes=4 << 30, cpu_cores=1)
    assert worker_count(limits, EngineOptions(workers=2, memory_bytes=8 << 30)) == 2
    assert worker_count(limits, EngineOptions(memory_bytes=5 << 30)) == 1
    with pytest.raises(UsageError, match="3 workers may use"):
        worker_count(limits, EngineOptions(workers=3, memory_bytes=8 << 30))
    with pytest.raises(UsageError, match="One run may use"):
        worker_count(limits, EngineOptions(memory_bytes=3 << 30))
    with pytest.raises(UsageError, match="does not limit the memory"):
        worker_count(profiles.load("unlimited").limits, EngineOptions(memory_bytes=8 << 30))


def test_cores_are_split_between_workers():
    cores = sorted(os.sched_getaffinity(0))
    assert split_cores(1) == [cores]
    assert sorted(core for part in split_cores(len(cores)) for core in part) == cores
    assert [len(part) for part in split_cores(3 * len(cores))] == [1] * 3 * len(cores)


def test_queue_gives_both_names_of_a_job_and_why_it_is_pending():
    text = "7_0 8 RUNNING None\n7_1 9 PENDING Nodes are DOWN, or reserved\n7_2 10 COMPLETING None\n\n"
    reason = "Nodes are DOWN, or reserved"
    assert jobs_in_queue(text) == {"7_0": "", "8": "", "7_1": reason, "9": reason}
