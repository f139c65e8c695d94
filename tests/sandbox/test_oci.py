"""The container backend: its command line, compared whole; its path through the harness, with an engine that is a fake.

A real engine is asked with `pytest -m container` (`DFDC_TEST_IMAGE` names an image that has python3).
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
from dfdc_kit.sandbox import BACKENDS, backends, choose, oci
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
def nothing_known():
    """What was found out about engines is forgotten."""
    for known in (oci._engine, oci._why_unavailable):
        known.cache_clear()
    yield
    for known in (oci._engine, oci._why_unavailable):
        known.cache_clear()


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Put a fake `docker` on the path; how it behaves, and what it was asked."""
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


def test_the_command_line(monkeypatch):
    """Whole, word for word: what the container may is decided here."""
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
        --volume /runs/1/stage/kaggle/working:/kaggle/working --volume /runs/1/stage/tmp:/tmp
        --workdir /kaggle/working --env LANG=C.UTF-8 --env DFDC_INPUT_DIR=/kaggle/input/a
        --entrypoint <> an-image python3 /kaggle/src/main.py
    """
    assert [word or "<>" for word in said] == expected.split()


def test_the_network_only_where_the_profile_opens_it():
    said = list(command_line("docker", "c", "i", job(Path("/s")), Limits(network=True)))
    assert "--network" not in said
    assert "--memory" not in said


def test_without_an_image_it_says_what_to_do(engine):
    engine()
    assert BACKENDS["oci"].unavailable() == oci.NO_IMAGE
    assert "image = " in BACKENDS["oci"].fix(oci.NO_IMAGE)
    assert backends(None)["oci"].unavailable()


def test_without_an_engine(monkeypatch, tmp_path):
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


def test_a_client_without_its_engine_is_passed_over(monkeypatch, tmp_path):
    """`docker` lies on many machines where only Podman answers."""
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


def test_a_card_is_handed_on_in_each_engines_words(monkeypatch, tmp_path):
    monkeypatch.setattr(oci, "find_gpus", lambda: (object(), ""))
    given = structs.replace(job(tmp_path), gpu=True)
    assert "--gpus all" in " ".join(command_line("/usr/bin/docker", "c", "i", given, LIMITS))
    assert "--device nvidia.com/gpu=all" in " ".join(command_line("/usr/bin/podman", "c", "i", given, LIMITS))
    assert "gpu" not in " ".join(command_line("/usr/bin/docker", "c", "i", job(tmp_path), LIMITS))


def test_through_the_harness(engine, tmp_path, sample):
    asked = engine()
    source = (
        "import os, shutil\nshutil.copy(os.environ['DFDC_INPUT_DIR'] + '/sample_submission.csv', 'submission.csv')\n"
    )
    report = harness(tmp_path, sample, source)
    assert report.judgement.verdict.value == "complete", report.observation.last_output
    assert report.backend == "oci"
    assert {"run", "inspect", "rm"} <= set(asked())
    statuses = {claim.limit: claim.status for claim in report.enforcement}
    assert statuses["network"] == statuses["hidden_files"] == "NOT ENFORCED HERE"  # a fake holds nothing: tried


def test_a_container_that_must_be_stopped_is_removed(engine, tmp_path):
    asked = engine()
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("import time; time.sleep(60)")
    outcome = OciBackend("an-image").run(job(stage), Limits(wall_time_s=0.7), lambda _: None)
    assert outcome.ending is Ending.WALL_TIME
    assert asked().count("rm") == 2  # by the supervisor, which does so even when the harness is gone; and by us


def test_a_kill_for_want_of_memory_is_told(engine, tmp_path):
    engine(oom="true")
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("raise SystemExit(137)")
    outcome = OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)
    assert (outcome.ending, outcome.usage.peak_memory_bytes) == (Ending.MEMORY, LIMITS.memory_bytes)


@pytest.mark.parametrize("code", [125, 126, 127, 1])
def test_an_engine_that_fails_is_never_the_submissions_fault(engine, tmp_path, code):
    """By its exit code alone it cannot be told from a program that ends so: whether the container started, can."""
    engine(dead=True, code=code)
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("pass")
    with pytest.raises(SandboxError, match="did not start"):
        OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)


def test_a_program_may_end_with_the_engines_own_codes(engine, tmp_path):
    engine()
    stage = tmp_path / "stage"
    for name in ("kaggle/src", "kaggle/input", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "src" / "main.py").write_text("raise SystemExit(125)")
    outcome = OciBackend("an-image").run(job(stage), LIMITS, lambda _: None)
    assert (outcome.ending, outcome.exit_code) == (Ending.EXIT, 125)


@pytest.mark.container
def test_a_real_engine(tmp_path):
    """Every claim of the backend stands the trial, and nothing is left."""
    if not (shutil.which("docker") or shutil.which("podman")):
        pytest.skip("no docker and no podman")
    backend = OciBackend(os.environ.get("DFDC_TEST_IMAGE", "python:3.12-slim"))
    if reason := backend.unavailable():
        pytest.skip(reason)
    claims = backend.enforcement(LIMITS)
    assert not [claim for claim in claims if claim.status.startswith("NOT")]
