"""The container backend: its exact command line, and a run through the harness with a fake engine.

A real engine is used with `pytest -m container` (`DFDC_TEST_IMAGE` names an image that has python3).
"""

import os
import resource
import shutil
import sys
from pathlib import Path

import pytest
from msgspec import structs

from dfdc_kit import challenge as challenges
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import SandboxError
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.profiles import Hardware, Limits, Profile
from dfdc_kit.sandbox import BACKENDS, backends, choose, oci, self_check
from dfdc_kit.sandbox.base import Ending, Job
from dfdc_kit.sandbox.oci import OciBackend, command_line
from dfdc_kit.submission.code import read_code_submission

LIMITS = Limits(
    wall_time_s=30.0, cpu_cores=1, memory_bytes=1 << 30, processes=64, output_bytes=1 << 20, scratch_bytes=1 << 21
)
FAKE = """#!{python}
import json, os, subprocess, sys, time
from pathlib import Path
argv = sys.argv[1:]
with open({record!r}, "a") as file:
    file.write(json.dumps(argv) + chr(10))
if argv[0] == "run":
    image = argv.index("an-image")
    values = {{argv[i]: argv[i + 1] for i in range(image) if argv[i].startswith("--")}}
    volumes = [argv[i + 1].split(":") for i in range(image) if argv[i] == "--volume"]
    volumes.sort(key=lambda volume: -len(volume[1]))
    def here(text):
        for volume in volumes:
            if text.startswith(volume[1]):
                return text.replace(volume[1], volume[0], 1)
        return text
    env = dict(argv[i + 1].split("=", 1) for i in range(image) if argv[i] == "--env")
    command = [sys.executable if part == "python3" else here(part) for part in argv[image + 1:]]
    env = {{name: here(value) for name, value in env.items()}}
    sys.exit(subprocess.run(command, env=env, cwd=here(values["--workdir"])).returncode if not {dead} else {code})
if argv[0] == "inspect":
    print(0 if "Pid" in argv[2] else {oom!r}, "0001-01-01T00:00:00Z" if {dead} else "2026-11-24T12:00:00Z")
"""


@pytest.fixture(autouse=True)
def forget_engines():
    """Clear what is cached about engines."""
    for known in (oci._engine, oci._why_unavailable):
        known.cache_clear()
    yield
    for known in (oci._engine, oci._why_unavailable):
        known.cache_clear()


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """`engine(...)` puts a fake `docker` on PATH and returns a function that lists the commands it got."""
    folder = tmp_path / "bin"
    folder.mkdir()
    record = tmp_path / "asked"

    def make(*, oom: str = "false", dead: bool = False, code: int = 125):
        (folder / "docker").write_text(
            FAKE.format(python=sys.executable, record=str(record), oom=oom, dead=dead, code=code)
        )
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return lambda: [line.split('"')[1] for line in record.read_text().splitlines()]

    return make


def job(stage: Path) -> Job:
    return Job(
        command=[sys.executable, stage / "kaggle" / "src" / "main.py"],
        environment={"PATH": "/here/bin", "LANG": "C.UTF-8", "DFDC_INPUT_DIR": stage / "kaggle" / "input" / "a"},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=stage / "log.txt",
    )


def test_command_line_is_exactly_this(monkeypatch):
    """Word for word: what the container may do is decided here."""
    stage = Path("/runs/1/stage")
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr(
        oci.resource, "getrlimit", {resource.RLIMIT_NOFILE: (9, 4096), resource.RLIMIT_NPROC: (-1, -1)}.get
    )
    said = list(command_line("/usr/bin/docker", "dfdc-1", "an-image", job(stage), LIMITS))
    expected = f"""
        /usr/bin/docker run --name dfdc-1 --pull never --init --log-driver none
        --read-only --cap-drop ALL --security-opt no-new-privileges
        --hostname localhost --user {os.getuid()}:{os.getgid()} --network none
        --shm-size 1073741824 --ulimit core=0 --ulimit nofile=4096:4096 --ulimit nproc=32768:32768
        --memory 1073741824 --memory-swap 1073741824
        --pids-limit 64 --cpuset-cpus {core} --ulimit fsize=3145728
        --volume /runs/1/stage/kaggle/input:/kaggle/input:ro --volume /runs/1/stage/kaggle/src:/kaggle/src:ro
        --volume /runs/1/stage/tmp/tmp:/tmp --volume /runs/1/stage/tmp/home:/root
        --volume /runs/1/stage/tmp/kaggle:/kaggle --volume /runs/1/stage/kaggle/working:/kaggle/working
        --workdir /kaggle/working --env LANG=C.UTF-8 --env DFDC_INPUT_DIR=/kaggle/input/a
        --entrypoint <> an-image python3 /kaggle/src/main.py
    """
    assert [word or "<>" for word in said] == expected.split()


def test_command_line_opens_the_network_only_where_the_profile_does():
    said = list(command_line("docker", "c", "i", job(Path("/s")), Limits(network=True)))
    assert "--network" not in said
    assert "--memory" not in said


def test_unavailable_without_an_image_says_how_to_name_one(engine):
    engine()
    assert BACKENDS["oci"].unavailable() == oci.NO_IMAGE
    assert "image = " in BACKENDS["oci"].fix(oci.NO_IMAGE)
    assert backends(None)["oci"].unavailable()


def test_unavailable_without_an_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = OciBackend("another-image")
    assert backend.unavailable() == "neither docker nor podman is installed"
    with pytest.raises(SandboxError, match="neither docker"):
        backend.run(job(tmp_path), LIMITS, lambda _: None)


def harness(tmp_path, sample, source: str, limits: Limits = LIMITS):
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(source)
    challenge = challenges.load()
    profile = Profile(title="t", limits=limits, hardware=Hardware(), source={}, as_of="2026-11-24", image="an-image")
    request = RunRequest(
        submission=read_code_submission(code),
        dataset=find_dataset(sample, challenge, sample / "solution" / "solution.csv"),
        challenge=challenge,
        profile_name="t",
        profile=profile,
    )
    return run(request, choose("oci", profile), tmp_path / "runs", NullListener())


def test_engine_that_does_not_answer_is_skipped(monkeypatch, tmp_path):
    """Many machines have a `docker` client where only Podman answers."""
    for name, answer in (("docker", "echo Cannot connect >&2; exit 1"), ("podman", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    assert oci._engine() == (str(tmp_path / "podman"), "")
    assert OciBackend("an-image").unavailable() == ""
    (tmp_path / "podman").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    oci._engine.cache_clear()
    assert oci._engine()[0] == ""


def test_command_line_passes_gpus_in_each_engines_option(monkeypatch, tmp_path):
    monkeypatch.setattr(oci, "find_gpus", lambda: (object(), ""))
    given = structs.replace(job(tmp_path), gpu=True)
    assert "--gpus all" in " ".join(command_line("/usr/bin/docker", "c", "i", given, LIMITS))
    assert "--device nvidia.com/gpu=all" in " ".join(command_line("/usr/bin/podman", "c", "i", given, LIMITS))
    assert "--gpus" not in list(command_line("/usr/bin/docker", "c", "i", job(tmp_path), LIMITS))


def test_run_through_the_harness_reports_what_a_fake_engine_does_not_enforce(engine, tmp_path, sample, monkeypatch):
    monkeypatch.setattr(self_check, "TRIAL_S", 2.0)  # what the fake does not stop runs as long
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = engine()
    source = (
        "import os, shutil\nshutil.copy(os.environ['DFDC_INPUT_DIR'] + '/sample_submission.csv', 'submission.csv')\n"
    )
    report = harness(tmp_path, sample, source)
    assert report.judgement.verdict.value == "complete", report.observation.last_output
    assert report.backend == "oci"
    assert {"run", "inspect", "rm"} <= set(asked())
    statuses = {claim.limit: claim.status for claim in report.enforcement}
    assert statuses["network"] == statuses["hidden_files"] == "NOT ENFORCED HERE"  # found by trying


def test_container_is_removed_when_a_limit_stops_it(engine, tmp_path):
    asked = engine()
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("import time; time.sleep(60)")
    outcome = OciBackend("an-image").run(job(stage), Limits(wall_time_s=0.7), lambda _: None)
    assert outcome.ending is Ending.WALL_TIME
    assert asked().count("rm") == 2  # by the supervisor, which does it even if the harness has died; and by us


def test_out_of_memory_kill_is_reported_as_memory(engine, tmp_path):
    engine(oom="true")
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("raise SystemExit(137)")
    outcome = OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)
    assert (outcome.ending, outcome.usage.peak_memory_bytes) == (Ending.MEMORY, LIMITS.memory_bytes)


@pytest.mark.parametrize("code", [125, 126, 127, 1])
def test_engine_failure_raises_sandbox_error(engine, tmp_path, code):
    """The exit code alone is ambiguous; whether the container started is not."""
    engine(dead=True, code=code)
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("pass")
    with pytest.raises(SandboxError, match="did not start"):
        OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)


def test_exit_code_125_of_a_program_is_not_an_engine_failure(engine, tmp_path):
    engine()
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("raise SystemExit(125)")
    outcome = OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)
    assert (outcome.ending, outcome.exit_code) == (Ending.EXIT, 125)


@pytest.mark.container
def test_real_engine_enforces_every_claim(tmp_path):
    """The self-check confirms every claim."""
    if not (shutil.which("docker") or shutil.which("podman")):
        pytest.skip("no docker and no podman")
    backend = OciBackend(os.environ.get("DFDC_TEST_IMAGE", "python:3.12-slim"))
    if reason := backend.unavailable():
        pytest.skip(reason)
    claims = backend.enforcement(LIMITS)
    assert not [claim for claim in claims if claim.status.startswith("NOT")]
