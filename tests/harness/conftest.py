"""Shared by the tests of runs: a submission's source in, its run report out, in this process."""

from pathlib import Path

import pytest
from msgspec import structs

from dfdc_kit import challenge, profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run as run_submission
from dfdc_kit.report.run_report import RunReport
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission

BACKENDS = ["bubblewrap", "process"]


@pytest.fixture
def run(code_submission, tmp_path, sample):
    """Run `source`, or the submission at a path: `run(GOOD, backend="process", wall_time_s=5.0)`.

    Other keywords replace limits of the profile. Runs are in tmp_path/runs; with `record`, so are page and history.
    """

    def call(
        source: str | Path,
        *,
        data: Path = sample,
        solution: Path | None = None,
        backend: str = "",
        test_videos: int | None = None,
        stop_early: bool = False,
        record: bool = False,
        **limits: object,
    ) -> RunReport:
        folder = source if isinstance(source, Path) else code_submission(source)
        profile = profiles.load()
        profile = structs.replace(
            profile,
            limits=structs.replace(profile.limits, **limits),
            test_videos=test_videos or profile.test_videos,
        )
        request = RunRequest(
            submission=read_code_submission(folder),
            dataset=find_dataset(data, challenge.load(), solution),
            challenge=challenge.load(),
            profile_name="trial",
            profile=profile,
            stop_early=stop_early,
        )
        warn = pytest.fail if record else None
        return run_submission(request, choose(backend, profile), tmp_path / "runs", NullListener(), warn)

    return call


@pytest.fixture
def run_folder(tmp_path):
    """The folder of the only run so far."""

    def find() -> Path:
        (folder,) = (tmp_path / "runs").glob("2*/")
        return folder

    return find
