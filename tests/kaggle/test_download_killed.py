"""kill -9 at a hundred random moments: the next download resumes, and every byte is right."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.files import lock_folder
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport, fetch
from dfdc_kit.kaggle.download.manifest import Manifest
from dfdc_kit.kaggle.download.sample import download_sample, file_link, plan_sample
from killed import SLUG, NoProgress, compare

KILLER = Path(__file__).parents[1] / "killed.py"


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]


def kill(mode: str, folder: Path, right: Path, seed: int, longest_s: float) -> None:
    """End ten downloads by a kill at a random moment; those that finish before are compared with `right`."""
    command = [sys.executable, KILLER, mode, folder, right, "10", str(seed), str(longest_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_fetch_completes_after_kills_at_random_moments(kaggle_server, tmp_path, seed):
    """While 2 MB come at 5 MB/s; then one download to the end."""
    files = {"a.bin": random.Random(seed).randbytes(2_000_000)}
    kaggle_server.world.files.update(files)
    kaggle_server.world.bytes_per_s = 5e6
    folder, right = tmp_path / "data", write(tmp_path / "right", files)
    kill("file", folder, right, seed, 0.35)  # the time of most of the transfer
    kaggle = connect()
    wanted = FetchRequest(name="a.bin", path=folder / "a.bin", link=lambda: file_link(kaggle, SLUG, "a.bin"))
    fetch(wanted, Transport(progress=NoProgress()))
    compare(folder, right)
    assert any(seen.headers.get("Range") for seen in kaggle_server.gets("a.bin"))  # a killed download was resumed


@pytest.mark.parametrize("seed", SEEDS)
def test_download_completes_after_kills_at_random_moments(kaggle_server, tmp_path, seed):
    """Kills during listing, transfer, unpacking and recording; then one download to the end."""
    chance = random.Random(seed)
    files = {f"test_videos/{n:02d}.mp4": chance.randbytes(40_000) for n in range(40)}
    files["sample_submission.csv"] = b"filename,label\n"
    kaggle_server.world.files.update(files)
    kaggle_server.world.bytes_per_s = 20e6
    folder, right = tmp_path / "data", write(tmp_path / "right", files)
    kill("everything", folder, right, seed, 0.2)
    kaggle = connect()
    with lock_folder(folder, print):
        plan = plan_sample(kaggle, SLUG, folder, [], NoProgress())
        download_sample(kaggle, plan, Transport(progress=NoProgress()), jobs=2, keep_zip=False)
    compare(folder, right)
    assert {Manifest(folder).state(name) for name in files} == {"good"}
