"""The oci backend: a container of Docker or Podman, from the image that the profile names. Slow to start, and complete.

The container has a read-only root, no network, no capability, its own limits of memory, processes and cores, and sees
the stage as Kaggle shows it. It is not started with `--rm`, which would remove the record of a kill for want of memory;
it is removed in every path out, by the supervisor when the harness is gone.
"""

import math
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, Ending, Enforcement, Job, Outcome, never
from dfdc_kit.sandbox.enforcement import cores, file_bytes, shared_memory_bytes, supervised
from dfdc_kit.sandbox.monitor.control_group import Contained, Gauge, Reading
from dfdc_kit.sandbox.monitor.gpu import find
from dfdc_kit.sandbox.monitor.log import last_line
from dfdc_kit.sandbox.self_check import proven
from dfdc_kit.sandbox.supervise import Confinement, supervise, translated

ENGINES = ("docker", "podman")
ANSWER_S = 60.0  # for an engine to answer a question
TO_FIND_IT = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST")
NOT_FOR_AN_IMAGE = ("PATH", "LD_LIBRARY_PATH")  # they name places of this machine
INTERPRETER = "python3"  # the image's own
PLENTY = (  # an engine's defaults are larger, and one that is confined itself cannot set them: no container starts
    ("nofile", resource.RLIMIT_NOFILE, 65536),
    ("nproc", resource.RLIMIT_NPROC, 32768),
)
STATE = "{{.State.OOMKilled}} {{.State.StartedAt}}"
AT_THE_LIMIT = 0.95  # of memory: what the kernel ends a process at, less what one more allocation asks for
NEVER = "0001-01-01"  # when a container that did not start has started


class OciBackend:
    """Runs a job in a container of `image`; without an image it is unavailable."""

    name = "oci"

    def __init__(self, image: str = "") -> None:
        self.image = image

    def unavailable(self) -> str:
        """Why it cannot work here, by asking the engine for the image; empty if it can."""
        return _why_not(self.image)

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What becomes of each limit on this machine."""
        return list(proven(self, _claims(limits)))

    def run(
        self, job: Job, limits: Limits, on_output: Callable[[bytes], None], should_stop: Callable[[], bool] = never
    ) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`.

        The container belongs to the engine, not to us: what it uses is read from its control group, where that can be
        seen from here, else not known.
        """
        if reason := self.unavailable():
            raise SandboxError(f"No container can be run here: {reason}", hint="Choose another: --backend bubblewrap")
        engine, container = _engine()[0], f"dfdc-{secrets.token_hex(8)}"
        remove = [engine, "rm", "--force", container]
        command = list(command_line(engine, container, self.image, job, limits))
        watched = structs.replace(limits, memory_bytes=None, processes=None, cpu_cores=None)  # the engine's business
        environment = {name: os.environ[name] for name in TO_FIND_IT if name in os.environ}
        confinement: Confinement = {"plain": True, "afterwards": remove}
        try:
            with Gauge(lambda: _contained(engine, container)) as gauge:

                def inside() -> int | None:
                    return gauge.container.pid if gauge.container else None

                outcome = supervise(
                    job, command, environment, watched, on_output, should_stop, confinement, root=inside
                )
            return _outcome(outcome, _state(engine, container), gauge.last, job, limits)
        finally:
            _ask(*remove)


def command_line(engine: str, container: str, image: str, job: Job, limits: Limits) -> Iterator[str]:
    """The whole command that runs `job` in a container."""
    yield from (engine, "run", "--name", container, "--pull", "never", "--init", "--log-driver", "none")
    yield from ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    yield from ("--hostname", "localhost", "--user", f"{os.getuid()}:{os.getgid()}")
    if Path(engine).name == "podman" and os.getuid():
        yield from ("--userns", "keep-id")  # so that what it writes is ours
    if not limits.network:
        yield from ("--network", "none")
    if job.gpu and find()[0]:
        yield from ("--device", "nvidia.com/gpu=all") if Path(engine).name == "podman" else ("--gpus", "all")
    yield from _sizes(limits)
    for name in ("input", "src"):
        yield from ("--volume", f"{job.stage / 'kaggle' / name}:/kaggle/{name}:ro")
    for folder in (job.working, job.temporary):
        yield from ("--volume", f"{folder}:{_seen(folder, job)}")
    yield from ("--workdir", _seen(job.working, job))
    for name, value in job.environment.items():
        if name not in NOT_FOR_AN_IMAGE:
            yield from ("--env", f"{name}={_seen(value, job)}")
    yield from ("--entrypoint", "", image)
    yield from (INTERPRETER if part == sys.executable else _seen(part, job) for part in job.command)


def _sizes(limits: Limits) -> Iterator[str]:
    yield from ("--shm-size", str(shared_memory_bytes(limits)), "--ulimit", "core=0")
    for name, number, plenty in PLENTY:
        ours = resource.getrlimit(number)[1]
        most = plenty if ours == resource.RLIM_INFINITY else min(ours, plenty)
        yield from ("--ulimit", f"{name}={most}:{most}")
    if limits.memory_bytes is not None:
        yield from ("--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes))  # so: no swap
    if limits.processes is not None:
        yield from ("--pids-limit", str(limits.processes))
    if limits.cpu_cores is not None:
        if given := cores(limits):
            yield from ("--cpuset-cpus", ",".join(map(str, given)))  # so that the program counts what it has, too
        else:
            yield from ("--cpus", str(min(limits.cpu_cores, os.cpu_count() or 1)))  # more than there are is an error
    if largest := file_bytes(limits):
        yield from ("--ulimit", f"fsize={largest}")


def _seen(part: str | Path, job: Job) -> str:
    """A path below the stage by the name that the job knows it by; anything else as it is."""
    return f"/{part.relative_to(job.stage)}" if isinstance(part, Path) else part


class _State(NamedTuple):
    """What the engine knows of a container that has ended."""

    started: bool
    out_of_memory: bool


def _state(engine: str, container: str) -> _State:
    code, said = _ask(engine, "inspect", "--format", STATE, container)
    killed, _, started = said.partition(" ")
    return _State(started=code == 0 and not started.startswith(NEVER), out_of_memory=code == 0 and killed == "true")


def _contained(engine: str, container: str) -> Contained | None:
    """The running container; None if it does not run (yet)."""
    code, said = _ask(engine, "inspect", "--format", "{{.State.Pid}} {{.Id}}", container)
    pid, _, name = said.strip().partition(" ")
    return Contained(int(pid), name) if code == 0 and pid.isdigit() and int(pid) and name else None


def _outcome(outcome: Outcome, state: _State, used: Reading, job: Job, limits: Limits) -> Outcome:
    """What the engine's client reported, what the engine knows of the container, and what it used. Raises SandboxError.

    Not every engine records a kill for want of memory: the group's own counter tells it, too, and a kill at the limit.
    """
    if outcome.ending is Ending.EXIT and outcome.exit_code and not state.started:
        raise SandboxError(f"The container did not start: {last_line(job.log) or 'the engine said nothing'}")
    usage = structs.replace(
        outcome.usage,
        cpu_time_s=used.cpu_time_s,
        peak_memory_bytes=used.peak_memory_bytes,
        killed_for_memory=used.killed_for_memory,
    )
    outcome = translated(structs.replace(outcome, usage=usage))
    at_the_limit = (used.peak_memory_bytes or 0) >= AT_THE_LIMIT * (limits.memory_bytes or math.inf)
    killed = outcome.signal == signal.SIGKILL and (at_the_limit or bool(used.killed_for_memory))
    if outcome.ending not in (Ending.EXIT, Ending.SIGNAL) or not (state.out_of_memory or killed):
        return outcome
    usage = structs.replace(usage, peak_memory_bytes=limits.memory_bytes)
    return structs.replace(outcome, usage=usage, ending=Ending.MEMORY)


@cache
def _engine() -> tuple[str, str]:
    """The first engine that answers, as a client without its engine lies on many machines; or empty, and why."""
    reasons = []
    for found in filter(None, map(shutil.which, ENGINES)):
        code, said = _ask(found, "ps", "--quiet", "--last", "1")
        if code == 0:
            return found, ""
        reasons.append((said.strip().splitlines() or [f"{found} gave no answer"])[-1])
    return "", "; ".join(reasons) or "there is no docker and no podman"


@cache
def _why_not(image: str) -> str:
    engine, reason = _engine()
    if not engine:
        return reason
    if not image:
        return "the profile names no image; write one of your own with `image = ...`: --profile my.toml"
    code, said = _ask(engine, "image", "inspect", "--format", "{{.Id}}", image)
    if code == 0:
        return ""
    return f"{(said.strip().splitlines() or ['no answer'])[-1]}; to get the image: {Path(engine).name} pull {image}"


def _ask(*command: str) -> tuple[int, str]:
    """The exit code of an engine's command, and what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    return done.returncode, done.stderr if done.returncode else done.stdout


def _claims(limits: Limits) -> Iterator[Enforcement]:
    here = {"cpu_cores": "control group", "memory": "control group, memory and swap together: the kernel ends it"}
    here["processes"] = "control group, processes and threads: no more can be made"
    for claim in supervised(limits):
        if claim.limit in here:
            yield Enforcement(limit=claim.limit, status=ENFORCED, how=here[claim.limit])
        else:
            yield claim
    yield Enforcement(limit="descendants", status=ENFORCED, how="the container is killed and removed")
    if not limits.network:
        yield Enforcement(limit="network", status=ENFORCED, how="network namespace with a loopback of its own only")
    yield Enforcement(limit="read_only_input", status=ENFORCED, how="read-only bind mount of a copy")
    yield Enforcement(limit="hidden_files", status=ENFORCED, how="the image and the stage only")
