"""Fixtures for tests of the sandbox."""

import os
import sys

import psutil
import pytest

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import BACKENDS
from dfdc_kit.sandbox.base import Job


@pytest.fixture(params=["bubblewrap", "process"])
def run_source(request, tmp_path, processes_marked):
    """Run a Python source in a backend; its outcome, and what it printed."""
    backend = BACKENDS[request.param]
    if reason := backend.unavailable():
        pytest.skip(f"{request.param} does not work here: {reason}")
    for name in ("input", "src", "working"):
        (tmp_path / "kaggle" / name).mkdir(parents=True)
    working, temporary = tmp_path / "kaggle" / "working", tmp_path / "tmp"
    temporary.mkdir()

    def call(source: str, **limits: object):
        pieces: list[bytes] = []
        job = Job(
            command=[sys.executable, "-I", "-S", "-c", source],
            environment={"PATH": os.defpath, "MARK": str(tmp_path)},
            stage=tmp_path,
            working=working,
            temporary=temporary,
            log=tmp_path / "log.txt",
        )
        outcome = backend.run(job, Limits(**({"wall_time_s": 30.0} | limits)), pieces.append)
        assert processes_marked(tmp_path) == []
        return outcome, b"".join(pieces)

    call.log = tmp_path / "log.txt"
    call.backend = request.param
    return call


@pytest.fixture
def processes_marked():
    """`processes_marked(mark)` -> pids of the processes with that MARK in their environment."""

    def find(mark: object) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MARK") == str(mark):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    return find
