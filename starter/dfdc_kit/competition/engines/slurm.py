"""Job arrays of Slurm, through submitit. The queue outlives this command, and leases keep what it still runs."""

import getpass
import hashlib
import math
import pickle
import re
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any, Self

from dfdc_kit.competition.engines import EngineOptions, decode_outcome, judge_in_child
from dfdc_kit.competition.judge import TaskOutcome
from dfdc_kit.competition.plan import Plan
from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Profile

FOLDER = "slurm"  # of the judging folder: submitit's scripts, pickles and logs
POLL_S = 1.0
ANSWER_S = 30.0  # for a command of Slurm
MARGIN_S = 900.0  # for staging and scoring, beside the wall time of a run
MARGIN_BYTES = 1 << 30  # for the harness itself
LARGEST_ARRAY = 1001  # Slurm's default, where the site says nothing


class SlurmEngine:
    """Judges as array jobs, each asking for what the profile grants a run."""

    def __init__(self, judging: Path, plan: Plan, options: EngineOptions) -> None:
        self._judging, self._options = judging, options
        self._resources = resources(plan.profile, options.slurm)
        self._name = f"dfdc-judge-{hashlib.sha256(str(judging).encode()).hexdigest()[:12]}"
        self._jobs: dict[str, Any] = {}
        self._executor: Any = None
        self._array = LARGEST_ARRAY
        self._reasons: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            import submitit
        except ImportError as error:
            raise SandboxError(
                "submitit is not installed here.", hint="Install it:", command="pip install 'dfdc-starter-kit[slurm]'"
            ) from error
        self._array = largest_array(_slurm("scontrol", "show", "config"))
        _slurm(
            "scancel", f"--user={getpass.getuser()}", "--quiet", "--state=PENDING", f"--name={self._name}"
        )  # of an earlier, killed command
        parameters = {"job_name": self._name, "stderr_to_stdout": True, **self._resources}
        if self._options.workers:
            parameters["array_parallelism"] = self._options.workers
        self._executor = submitit.SlurmExecutor(folder=self._judging / FOLDER)
        try:
            self._executor.update_parameters(**parameters)
        except ValueError as error:
            raise SandboxError(
                f"submitit refuses an option: {error}", hint="--slurm takes options of sbatch."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the queue as it is: the same command goes on with what it will have judged."""

    def submit(self, tasks: list[str]) -> None:
        """Submit these tasks as arrays, each below the site's limit. Raises SandboxError if Slurm refuses them."""
        for part in array_parts(tasks, self._array):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with self._executor.batch():
                        jobs = [self._executor.submit(judge_in_child, str(self._judging), one, "slurm") for one in part]
            except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
                raise SandboxError(
                    f"Slurm refuses the jobs: {error}", hint="Set what the site wants: --slurm partition=NAME"
                ) from error
            self._jobs.update(zip(part, jobs, strict=True))

    def ended(self) -> list[TaskOutcome]:
        """The tasks that have ended since the last call."""
        time.sleep(POLL_S)
        alive = self._alive()
        if alive is None:  # the controller does not answer; the jobs may well run on
            return []
        self._reasons = {task: alive[job.job_id] for task, job in self._jobs.items() if alive.get(job.job_id)}
        done = [task for task, job in self._jobs.items() if job.job_id not in alive]
        return [_outcome(task, self._jobs.pop(task)) for task in done]

    def queued(self) -> dict[str, str]:
        """Slurm's reason for each pending job, by task, as `squeue` prints it."""
        return self._reasons

    def _alive(self) -> dict[str, str] | None:
        """The jobs that Slurm queues or runs, with the reason of pending ones; None if it does not answer."""
        try:
            mine = (f"--user={getpass.getuser()}", f"--name={self._name}")
            text = _slurm("squeue", *mine, "--noheader", "--array", "--format=%F_%K %A %T %r")
        except SandboxError:
            return None
        return jobs_in_queue(text)


def jobs_in_queue(text: str) -> dict[str, str]:
    """The ids of jobs in the output of `squeue`, in both ways of writing one, with the reason of pending ones.

    >>> jobs_in_queue("7_0 8 RUNNING None\\n7_1 9 PENDING Resources\\n")
    {'7_0': '', '8': '', '7_1': 'Resources', '9': 'Resources'}
    """
    rows = [line.split(maxsplit=3) for line in text.splitlines() if line.strip()]
    return {
        name: " ".join(reason).strip() if state == "PENDING" else ""
        for array, job, state, *reason in rows
        if state != "COMPLETING"
        for name in (array, job)
    }


def _outcome(task: str, job: Any) -> TaskOutcome:
    """The outcome that a job has left in its result file."""
    died = f"Slurm job {job.job_id} ended without a result; see {job.paths.stdout}."
    if not job.paths.result_pickle.exists():
        time.sleep(POLL_S)  # a network file system shows it later
    if not job.paths.result_pickle.exists():
        return TaskOutcome(task=task, kind="died", message=died)

    status, value = pickle.loads(job.paths.result_pickle.read_bytes())  # noqa: S301 - written by our own job
    if status != "success":
        return TaskOutcome(task=task, kind="died", message=f"Slurm job {job.job_id}: {value.strip()[-500:]}")
    return decode_outcome(task, value, died)


def resources(profile: Profile, options: dict[str, str]) -> dict[str, Any]:
    """What to ask Slurm for: time, memory, cores and a card as the profile grants them, unless `options` say other."""
    limits = profile.limits
    wanted: dict[str, Any] = {
        "time": math.ceil((limits.wall_time_s + MARGIN_S) / 60) if limits.wall_time_s else 0,  # minutes; 0: no limit
        "cpus_per_task": limits.cpu_cores or 1,
    }
    if limits.memory_bytes:
        wanted["mem"] = f"{math.ceil((limits.memory_bytes + MARGIN_BYTES) / 2**20)}M"
    if profile.hardware.gpu:
        wanted["gpus_per_node"] = 1
    for name, value in options.items():
        if value in ("", "none"):
            wanted.pop(name, None)
        else:
            wanted[name] = int(value) if value.isdigit() else value
    return wanted


def largest_array(config: str) -> int:
    """The most elements of an array, from `scontrol show config`."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return max(1, int(found[1]) - 1) if found else LARGEST_ARRAY - 1


def array_parts(tasks: list[str], largest: int) -> list[list[str]]:
    """The tasks in as few parts of at most `largest` as possible, of about equal size."""
    count = -(-len(tasks) // largest)
    return [tasks[at::count] for at in range(count)]


def _slurm(*command: str) -> str:
    """The output of a Slurm command. Raises SandboxError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True)
    except FileNotFoundError as error:
        raise SandboxError(
            f"Slurm is not installed here: {command[0]} is missing.", hint="Run this on a login node of the cluster."
        ) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        hint = "Is this a machine of the cluster? SLURM_CONF names another configuration."
        raise SandboxError(f"{command[0]} failed: {reason}", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{command[0]} does not answer.", hint="Is the Slurm controller up?") from error
    return done.stdout
