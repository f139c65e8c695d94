"""Ordinary things that programs do run in every backend: `tests/cases/ordinary/<kind>/main.py`, a function per thing.

`expect.toml` next to it names what cannot work in a kind of sandbox, and why: `[<sandbox>]`, `check_... = "why"`.
"""

import os
import shutil
import tomllib
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.harness.observe import environment
from dfdc_kit.harness.stage import OWN_PYTHON, Staged, make_python
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import BACKENDS, enforcement, process, supervise
from dfdc_kit.sandbox.base import Job
from dfdc_kit.sandbox.oci import OciBackend

PROGRAMS = Path(__file__).parents[1] / "cases" / "ordinary"
KINDS = sorted(path.parent.name for path in PROGRAMS.glob("*/main.py"))
LIMITS = Limits(wall_time_s=120, memory_bytes=4 << 30, cpu_cores=2, processes=512, output_bytes=1 << 30)
SANDBOXES = {"bubblewrap": [], "process": [], "process-without-namespaces": [], "oci": [pytest.mark.container]}


@pytest.fixture
def sandbox(request, monkeypatch):
    """The name of a kind of sandbox, and its backend."""
    if request.param == "oci":
        backend = OciBackend(os.environ.get("DFDC_TEST_IMAGE", ""))
    else:
        backend = BACKENDS[request.param.partition("-")[0]]
    if request.param == "process-without-namespaces":
        real = enforcement.why_unavailable
        for module in (process, supervise, enforcement):
            monkeypatch.setattr(module, "why_unavailable", lambda name: "off" if name == "namespaces" else real(name))
    if reason := backend.unavailable():
        pytest.skip(f"{request.param} does not work here: {reason}")
    if request.param == "process" and enforcement.why_unavailable("namespaces"):
        return "process-without-namespaces", backend
    return request.param, backend


@pytest.mark.parametrize(
    ("sandbox", "kind"),
    [
        pytest.param(name, kind, id=f"{name}-{kind}", marks=marks + [pytest.mark.slow] * slow)
        for name, marks in SANDBOXES.items()
        for kind in KINDS
        for slow in [kind == "packages" and name != "bubblewrap"]  # it loads a dozen large packages
    ],
    indirect=["sandbox"],
)
def test_ordinary_program_runs_in_every_sandbox(kind, sandbox, tmp_path, sample):
    name, backend = sandbox
    failed, output = run_checks(kind, backend, tmp_path, sample)
    expected = expected_failures(kind).get(name, {})
    assert failed.keys() == expected.keys(), output


def expected_failures(kind: str) -> dict[str, dict[str, str]]:
    path = PROGRAMS / kind / "expect.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


def run_checks(kind: str, backend, tmp_path: Path, sample: Path) -> tuple[dict[str, str], str]:
    """What failed, by name, and everything that was printed."""
    staged = Staged(tmp_path / "stage", challenges.load())
    for folder in (staged.input, staged.source, staged.working, staged.temporary):
        folder.mkdir(parents=True)
    shutil.copy(sample / "sample_submission.csv", staged.sample_submission)
    shutil.copy(PROGRAMS / kind / "main.py", staged.source)
    shutil.copy(PROGRAMS / "common.py", staged.source)
    job = Job(
        command=[make_python(staged.temporary / "home" / OWN_PYTHON), staged.source / "main.py"],
        environment=environment(staged, gpu=False),
        stage=staged.root,
        working=staged.working,
        temporary=staged.temporary,
        log=tmp_path / "log.txt",
    )
    outcome = backend.run(job, LIMITS, lambda _: None)
    output = job.log.read_text(errors="replace")
    assert outcome.exit_code == 0, f"{outcome.ending}: {output}"
    assert "\nok check_" in f"\n{output}"
    lines = (line.removeprefix("FAILED ").partition(": ") for line in output.splitlines() if line.startswith("FAILED "))
    return {name: why for name, _, why in lines}, output


def test_there_are_at_least_sixty_checks():
    checks = [line for kind in KINDS for line in (PROGRAMS / kind / "main.py").read_text().splitlines()]
    assert sum(line.startswith("def check_") for line in checks) >= 60
