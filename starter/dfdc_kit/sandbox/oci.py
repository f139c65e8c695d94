"""The oci backend: a container of Docker or Podman, from the image that the profile names. Slow to start, but complete.

The container has a read-only root, no network, no capabilities, its own limits on memory, processes and cores, and sees
the stage as on Kaggle. It is not started with `--rm`, which would remove the record of an out-of-memory kill; it is
removed on every way out, by the supervisor if the harness has died.
"""

import math
import os
import resource
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from msgspec import structs

from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Limits, Profile
from dfdc_kit.sandbox.base import ENFORCED, WRITABLE, Ending, Enforcement, Job, Outcome, SandboxBackend, never
from dfdc_kit.sandbox.enforcement import cores, file_bytes, shared_memory_bytes, supervised_limits
from dfdc_kit.sandbox.monitor.control_group import Container, ControlGroupSampler, Reading
from dfdc_kit.sandbox.monitor.gpu import find_gpus
from dfdc_kit.sandbox.monitor.log import last_line
from dfdc_kit.sandbox.supervise import Confinement, from_exit_code, supervise

ENGINES = ("docker", "podman")
ANSWER_TIMEOUT_S = 60.0  # of an engine's query
ENGINE_VARIABLES = (
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "CONTAINER_HOST",
)
HOST_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONUSERBASE")  # of this machine: the image has its own
INTERPRETER = "python3"  # the image's own
ULIMITS = (  # an engine's defaults are larger, and one that is confined itself cannot set them: no container starts
    ("nofile", resource.RLIMIT_NOFILE, 65536),
    ("nproc", resource.RLIMIT_NPROC, 32768),
)
STATE = "{{.State.OOMKilled}} {{.State.StartedAt}}"
AT_THE_LIMIT = 0.95  # share of the memory limit: the kernel kills when one more allocation would pass it
NEVER_STARTED = "0001-01-01"  # the start time of a container that did not start
NO_ENGINE = "neither docker nor podman is installed"
NO_IMAGE = "the profile names no image"


class OciBackend(SandboxBackend):
    """Runs a job in a container of `image`; without an image it is unavailable."""

    name = "oci"
    aliases = ("docker", "podman", "container", "image")
    uses_image = True

    def __init__(self, image: str = "") -> None:
        self.image = image

    def for_profile(self, profile: Profile) -> Self:
        """With the image that the profile names."""
        return type(self)(profile.image)

    def unavailable(self) -> str:
        """Why it cannot work here, by asking the engine for the image; empty if it can."""
        return _why_unavailable(self.image)

    def fix(self, reason: str) -> str:
        """What to do about it."""
        if reason == NO_ENGINE:
            return "Install Docker or Podman"
        if reason == NO_IMAGE:
            return "Write a profile of your own with `image = ...`: --profile my.toml"
        engine, _ = _engine()
        return f"{Path(engine).name} pull {self.image}" if engine else "Start the engine, or let your user reach it"

    def mounts_files(self) -> bool:
        """Yes, through the engine."""
        return True

    def version(self) -> str:
        """The engine and the image."""
        return f"{_engine()[0]} {self.image}"

    def claims(self, limits: Limits) -> Iterator[Enforcement]:
        """How each limit is enforced, before the self-check."""
        by_engine = {
            "cpu_cores": "control group",
            "memory": "control group, memory and swap together: the kernel kills",
            "processes": "control group, processes and threads: no more can be created",
        }
        for claim in supervised_limits(limits):
            how = by_engine.get(claim.limit)
            yield Enforcement(limit=claim.limit, status=ENFORCED, how=how) if how else claim
        yield Enforcement(limit="descendants", status=ENFORCED, how="the container is killed and removed")
        if not limits.network:
            yield Enforcement(limit="network", status=ENFORCED, how="network namespace with its own loopback only")
        yield Enforcement(limit="read_only_input", status=ENFORCED, how="read-only bind mount of a copy")
        yield Enforcement(limit="hidden_files", status=ENFORCED, how="the image and the stage only")

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end.

        The container is a child of the engine, not of us: its resource usage is read from its control group, and is
        unknown where that cannot be seen from here.
        """
        if reason := self.unavailable():
            raise SandboxError(f"No container can run here: {reason}", hint=self.fix(reason))
        job.make_folders()
        engine, container = _engine()[0], f"dfdc-{secrets.token_hex(8)}"
        remove = [engine, "rm", "--force", container]
        command = list(command_line(engine, container, self.image, job, limits))
        watched = structs.replace(limits, memory_bytes=None, processes=None, cpu_cores=None)  # the engine does these
        environment = {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ}
        confinement: Confinement = {"bare": True, "on_stop": remove}
        try:
            with ControlGroupSampler(lambda: _running(engine, container)) as sampler:

                def tree_root() -> int | None:
                    return sampler.container.pid if sampler.container else None

                outcome = supervise(
                    job, command, environment, watched, on_output, should_stop, confinement, tree_root=tree_root
                )
            return _outcome(outcome, _state(engine, container), sampler.last, job, limits)
        finally:
            _ask(*remove)


def command_line(engine: str, container: str, image: str, job: Job, limits: Limits) -> Iterator[str]:
    """The complete command that runs `job` in a container."""
    yield from (engine, "run", "--name", container, "--pull", "never", "--init", "--log-driver", "none")
    yield from ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    yield from ("--hostname", "localhost", "--user", f"{os.getuid()}:{os.getgid()}")
    if Path(engine).name == "podman" and os.getuid():
        yield from ("--userns", "keep-id")  # so that we own what it writes
    if not limits.network:
        yield from ("--network", "none")
    if job.gpu and find_gpus()[0]:
        yield from ("--device", "nvidia.com/gpu=all") if Path(engine).name == "podman" else ("--gpus", "all")
    yield from _sizes(limits)
    for name in ("input", "src"):
        yield from ("--volume", f"{job.stage / 'kaggle' / name}:/kaggle/{name}:ro")
    for path, source in job.mounts.items():
        yield from ("--mount", f"type=bind,source={source},target={job.inside(path)},readonly")
    for name, target in WRITABLE.items():
        yield from ("--volume", f"{job.temporary / name}:{target}")
    yield from ("--volume", f"{job.working}:{job.inside(job.working)}", "--workdir", job.inside(job.working))
    for name, value in job.environment.items():
        if name not in HOST_VARIABLES:
            yield from ("--env", f"{name}={job.inside(value)}")
    yield from ("--entrypoint", "", image)
    yield from (INTERPRETER, *(job.inside(part) for part in job.command[1:]))


def _sizes(limits: Limits) -> Iterator[str]:
    yield from ("--shm-size", str(shared_memory_bytes(limits)), "--ulimit", "core=0")
    for name, number, most_useful in ULIMITS:
        ours = resource.getrlimit(number)[1]
        most = most_useful if ours == resource.RLIM_INFINITY else min(ours, most_useful)
        yield from ("--ulimit", f"{name}={most}:{most}")
    if limits.memory_bytes is not None:
        yield from ("--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes))  # equal: no swap
    if limits.processes is not None:
        yield from ("--pids-limit", str(limits.processes))
    if limits.cpu_cores is not None:
        if ours_to_use := cores(limits):
            yield from ("--cpuset-cpus", ",".join(map(str, ours_to_use)))  # the program counts these only, too
        else:
            yield from (
                "--cpus",
                str(min(limits.cpu_cores, os.cpu_count() or 1)),
            )  # more than the machine has is an error
    if largest := file_bytes(limits):
        yield from ("--ulimit", f"fsize={largest}")


class _State(NamedTuple):
    """What the engine reports of a container that has ended."""

    started: bool
    out_of_memory: bool


def _state(engine: str, container: str) -> _State:
    code, answer = _ask(engine, "inspect", "--format", STATE, container)
    killed, _, started = answer.partition(" ")
    return _State(
        started=code == 0 and not started.startswith(NEVER_STARTED), out_of_memory=code == 0 and killed == "true"
    )


def _running(engine: str, container: str) -> Container | None:
    """The container, or None if it is not running (yet)."""
    code, answer = _ask(engine, "inspect", "--format", "{{.State.Pid}} {{.Id}}", container)
    pid, _, name = answer.strip().partition(" ")
    return Container(int(pid), name) if code == 0 and pid.isdigit() and int(pid) and name else None


def _outcome(outcome: Outcome, state: _State, used: Reading, job: Job, limits: Limits) -> Outcome:
    """The outcome from the engine client's exit, the container's state and its usage. Raises SandboxError.

    Not every engine records an out-of-memory kill: the group's counter, or a SIGKILL at the limit, shows it too.
    """
    if outcome.ending is Ending.EXIT and outcome.exit_code and not state.started:
        raise SandboxError(f"The container did not start: {last_line(job.log) or 'the engine printed nothing'}")
    usage = structs.replace(
        outcome.usage,
        cpu_time_s=used.cpu_time_s,
        peak_memory_bytes=used.peak_memory_bytes,
        killed_for_memory=used.killed_for_memory,
    )
    outcome = from_exit_code(structs.replace(outcome, usage=usage))
    at_the_limit = (used.peak_memory_bytes or 0) >= AT_THE_LIMIT * (limits.memory_bytes or math.inf)
    killed = outcome.signal == signal.SIGKILL and (at_the_limit or bool(used.killed_for_memory))
    if outcome.ending not in (Ending.EXIT, Ending.SIGNAL) or not (state.out_of_memory or killed):
        return outcome
    usage = structs.replace(usage, peak_memory_bytes=limits.memory_bytes)
    return structs.replace(outcome, usage=usage, ending=Ending.MEMORY)


@cache
def _engine() -> tuple[str, str]:
    """The first engine that answers, since many machines have a client without its engine; or empty, and why."""
    reasons = []
    for found in filter(None, map(shutil.which, ENGINES)):
        code, answer = _ask(found, "ps", "--quiet", "--last", "1")
        if code == 0:
            return found, ""
        reasons.append((answer.strip().splitlines() or [f"{found} did not answer"])[-1])
    return "", "; ".join(reasons) or NO_ENGINE


@cache
def _why_unavailable(image: str) -> str:
    engine, reason = _engine()
    if not engine:
        return reason
    if not image:
        return NO_IMAGE
    code, answer = _ask(engine, "image", "inspect", "--format", "{{.Id}}", image)
    return "" if code == 0 else (answer.strip().splitlines() or ["the engine did not answer"])[-1]


def _ask(*command: str) -> tuple[int, str]:
    """The exit code of an engine's command, and what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    return done.returncode, done.stderr if done.returncode else done.stdout
