"""How fast data arrives over loopback: beside Kaggle's own client on the same file, and several files at once."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport, fetch, map_threads
from dfdc_kit.kaggle.download.sample import file_link

SIZE_BYTES = 300 << 20
ROUNDS = 12
TESTS = Path(__file__).resolve().parents[1]


class NoProgress:
    started = advanced = ended = info = lambda *_: None


@pytest.fixture
def server_process(tmp_path, monkeypatch):
    """The fake Kaggle in a process of its own, so that it does not share our interpreter; its files' names."""
    folder = tmp_path / "served"
    folder.mkdir()
    with (folder / "large.bin").open("wb") as file:
        for _ in range(SIZE_BYTES >> 20):
            file.write(b"\x5a" * (1 << 20))
    command = [sys.executable, "-m", "fake_kaggle", folder]
    process = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if not line.startswith("export "):
                break
            name, _, value = line.removeprefix("export ").strip().partition("=")
            monkeypatch.setenv(name, value.strip("'"))
        yield "large.bin"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_throughput_beside_kaggles_own_client(benchmark, server_process, tmp_path):
    """Ours digests what it fetches, Kaggle's does not. Alternating in one run; the best of each is compared."""
    kaggle = connect()
    slug = "deepfake-detection-challenge"
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    times: dict[str, list[float]] = {"ours": [], "theirs": []}

    def fetch_ours():
        wanted = FetchRequest(name="l", path=ours / "large.bin", link=lambda: file_link(kaggle, slug, server_process))
        fetch(wanted, Transport(progress=NoProgress()))

    def fetch_theirs():
        kaggle.call(
            "fetching", lambda api: api.competition_download_file(slug, server_process, str(theirs), True, True)
        )

    def both():
        for name, folder, work in (("ours", ours, fetch_ours), ("theirs", theirs, fetch_theirs)):
            (folder / "large.bin").unlink(missing_ok=True)
            started_s = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started_s)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    assert (ours / "large.bin").stat().st_size == (theirs / "large.bin").stat().st_size == SIZE_BYTES
    benchmark.extra_info["MB/s ours"] = SIZE_BYTES / 1e6 / min(times["ours"])
    benchmark.extra_info["MB/s theirs"] = SIZE_BYTES / 1e6 / min(times["theirs"])
    ratio = min(times["theirs"]) / min(times["ours"])
    benchmark.extra_info["ratio"] = ratio
    assert ratio >= 0.9


def test_several_at_once_beside_one_by_one(benchmark, kaggle_server, tmp_path):
    """40 files of 50 kB from a server that waits 20 ms before each answer and sends 5 MB/s a connection."""
    kaggle_server.world.files = {f"{n:02d}.mp4": bytes([n]) * 50_000 for n in range(40)}
    kaggle_server.world.latency_s, kaggle_server.world.bytes_per_s = 0.02, 5e6
    times: dict[int, float] = {}

    def each_count():
        for jobs in (1, 4):
            folder = tmp_path / f"{jobs}-{time.monotonic_ns()}"

            def work(name, folder=folder):
                wanted = FetchRequest(
                    name=name, path=folder / name, link=lambda: kaggle_server.world.sign(f"files/{name}")
                )
                return fetch(wanted, Transport(progress=NoProgress()))

            started_s = time.perf_counter()
            map_threads(work, kaggle_server.world.files, jobs, threading.Event())
            times[jobs] = time.perf_counter() - started_s

    benchmark.pedantic(each_count, rounds=1)
    benchmark.extra_info["ratio"] = times[1] / times[4]
    assert times[1] / times[4] > 2
