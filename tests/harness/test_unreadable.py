"""What a run needs and this machine does not let it read is named before anything runs."""

import pytest
from msgspec import structs

from dfdc_kit import challenge, profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import DataMissingError
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission

pytestmark = pytest.mark.permissions
NAMES = [
    "data/test_videos/a.mp4",
    "data/test_videos",
    "data/train_sample_videos",
    "data/train_sample_videos/b.mp4",
    "data/train_sample_videos/metadata.json",
    "mine/main.py",
    "mine/weights",
    "mine/weights/a.bin",
    "attached",
    "attached/faces",
    "attached/faces/a.bin",
]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        if "." in name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("{}")
    yield tmp_path
    for name in sorted(NAMES):
        (tmp_path / name).chmod(0o755)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_run_names_what_cannot_be_read_before_it_starts(folder, name, backend):
    (folder / name).chmod(0)
    with pytest.raises(DataMissingError, match=f"Cannot read .*{name}: Permission denied"):
        _run(folder, backend)


def _run(folder, backend):
    profile = structs.replace(profiles.load(), limits=structs.replace(profiles.load().limits, wall_time_s=60.0))
    request = RunRequest(
        submission=read_code_submission(folder / "mine", {"attached": folder / "attached"}),
        dataset=find_dataset(folder / "data", challenge.load()),
        challenge=challenge.load(),
        profile_name="trial",
        profile=profile,
    )
    run(request, choose(backend, profile), folder / "runs", NullListener())
