"""The oci backend: a container of Docker or Podman, from the image that the profile names. Slow to start, and complete.

The container has a read-only root, no network, no capability, its own limits of memory, processes and cores, and sees
the stage as Kaggle shows it. It is not started with `--rm`, which would remove the record of a kill for want of memory;
it is removed in every path out, by the supervisor when the harness is gone.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from msgspec import structs

from dfdc_kit.errors import SandboxFault
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, Ending, Enforcement, Job, Outcome
from dfdc_kit.sandbox.mechanisms import shared_memory_bytes
from dfdc_kit.sandbox.probe import proven
from dfdc_kit.sandbox.supervise import supervise, supervised, translated

ENGINES = ("docker", "podman")
ANSWER_S = 60.0  # for an engine to answer a question
TO_FIND_IT = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST")
NOT_FOR_AN_IMAGE = ("PATH", "LD_LIBRARY_PATH")  # they name places of this machine
INTERPRETER = "python3"  # the image's own
STATE = "{{.State.OOMKilled}}"
ENGINES_OWN_FAULT = 125  # exit code of `docker run` and `podman run`


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

    def run(self, job: Job, limits: Limits, on_output: Callable[[bytes], None]) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`.

        Processor time is not known, and memory only when it ran out: the container belongs to the engine, not to us.
        """
        if reason := self.unavailable():
            raise SandboxFault(f"No container can be run here: {reason}", hint="Choose another: --backend bubblewrap")
        engine, container = _engine(), f"dfdc-{secrets.token_hex(8)}"
        remove = [engine, "rm", "--force", container]
        command = list(command_line(engine, container, self.image, job, limits))
        watched = structs.replace(limits, memory_bytes=None, processes=None, cpu_cores=None)  # the engine's business
        environment = {name: os.environ[name] for name in TO_FIND_IT if name in os.environ}
        try:
            outcome = supervise(job, command, environment, watched, on_output, {"plain": True, "afterwards": remove})
            return _outcome(outcome, _ask(engine, "inspect", "--format", STATE, container), job, limits)
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
    if limits.memory_bytes is not None:
        yield from ("--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes))  # so: no swap
    if limits.processes is not None:
        yield from ("--pids-limit", str(limits.processes))
    if limits.cpu_cores is not None:
        yield from ("--cpus", str(min(limits.cpu_cores, os.cpu_count() or 1)))  # more than there are is an error
    if largest := max(limits.output_bytes or 0, limits.scratch_bytes or 0):
        yield from ("--ulimit", f"fsize={largest}")


def _seen(part: str | Path, job: Job) -> str:
    """A path below the stage by the name that the job knows it by; anything else as it is."""
    return f"/{part.relative_to(job.stage)}" if isinstance(part, Path) else part


def _outcome(outcome: Outcome, state: tuple[int, str], job: Job, limits: Limits) -> Outcome:
    """What the engine's client reported, and what the engine knows of the container. Raises SandboxFault."""
    asked, said = state
    if outcome.ending is Ending.EXIT and outcome.exit_code == ENGINES_OWN_FAULT and said.strip() != "true":
        log = job.log.read_text("utf-8", errors="replace").strip().splitlines()
        raise SandboxFault(f"The container did not start: {log[-1] if log else 'the engine said nothing'}")
    out_of_memory = asked == 0 and said.strip() == "true" and outcome.ending in (Ending.EXIT, Ending.SIGNAL)
    usage = structs.replace(
        outcome.usage, cpu_time_s=0.0, peak_memory_bytes=(limits.memory_bytes or 0) if out_of_memory else 0
    )
    outcome = translated(structs.replace(outcome, usage=usage))
    return structs.replace(outcome, ending=Ending.MEMORY) if out_of_memory else outcome


def _engine() -> str:
    """The first engine on the path; empty if there is none."""
    return next((found for name in ENGINES if (found := shutil.which(name))), "")


@cache
def _why_not(image: str) -> str:
    if not (engine := _engine()):
        return "there is no docker and no podman"
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
