"""Face-cnn: how near the whole run comes to its stages alone, whether memory grows, what a second process brings.

On a machine without a GPU the stages compete for the same cores, so the least time of the whole is the sum of what each
takes alone on all cores; with a GPU it would be that of the slowest stage. Both are measured here in turn with the
whole, in one run, and ratios are what counts. By wall time the ratio flatters the whole where other programs are busy,
since it has more threads than a stage; by processor time it does not, and shows what overlapping itself costs.

Run: pytest tests/benchmarks/test_face_cnn_speed.py --benchmark-only -s
DFDC_CLIPS=FOLDER lets extract.py cut the mp4 files of a folder, say real ones, in place of the sample's small clips.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

pytest.importorskip("pyarrow", reason="face-cnn's extract.py needs pyarrow")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-cnn"
CLIPS = sorted((ROOT / "sample_data/test_videos").glob("*.mp4"))
TO_CUT = sorted(Path(os.environ["DFDC_CLIPS"]).glob("*.mp4")) if "DFDC_CLIPS" in os.environ else CLIPS
OF_THE_BOUND = 0.85  # what was asked for
ROUNDS = 5
VIDEOS_FOR_MEMORY = 240
MAX_GROWTH = 0.1  # from the second quarter of them to the last; threads and their allocator make that much noise
SPEED_UP = 1.8  # of two processes; what was asked for


@pytest.fixture(scope="module")
def cnn() -> Iterator[SimpleNamespace]:
    """The baseline's own modules, forgotten afterwards."""
    folders = (FOLDER, FOLDER / "model", FOLDER / "training")
    names = {path.stem for folder in folders for path in folder.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    path = sys.path.copy()
    sys.path[:0] = map(str, folders)
    try:
        yield SimpleNamespace(
            **{name: importlib.import_module(name) for name in ("frames", "main", "network", "predict")}
        )
    finally:
        sys.path[:] = path
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@pytest.fixture(scope="module")
def scorer(cnn):
    return cnn.predict.Scorer(cnn.network.load(FOLDER / "model/weights.npz"), cnn.frames.cpu_count())


def took(action: Callable[[], object]) -> np.ndarray:
    """(2,) seconds of wall time, and of all this process's processor time."""
    clocks = (time.perf_counter, time.process_time)
    started = [clock() for clock in clocks]
    action()
    return np.array([clock() - then for clock, then in zip(clocks, started, strict=True)])


def whole(cnn, scorer, paths: list[Path]) -> list:
    """What main.py does between reading names and writing rows."""
    results = cnn.frames.map_in_order(cnn.main.faces_of, paths)
    return list(scorer.videos((path.name, faces) for path, faces in zip(paths, results, strict=True)))


def test_the_whole_against_its_stages_alone(benchmark, cnn, scorer):
    faces = list(cnn.frames.map_in_order(cnn.main.faces_of, CLIPS))
    videos = list(zip([path.name for path in CLIPS], faces, strict=True))
    whole(cnn, scorer, CLIPS)  # everything is loaded and warm
    rounds = np.array(
        [
            [
                took(lambda: list(cnn.frames.map_in_order(cnn.main.faces_of, CLIPS))),
                took(lambda: list(scorer.videos(videos))),
                took(lambda: whole(cnn, scorer, CLIPS)),
            ]
            for _ in range(ROUNDS)
        ]
    )  # (ROUNDS, stage, wall or processor time)
    benchmark.pedantic(lambda: whole(cnn, scorer, CLIPS), rounds=1)
    of_wall, of_cpu = np.median((rounds[:, 0] + rounds[:, 1]) / rounds[:, 2], axis=0)
    reading, network, together = np.median(rounds, axis=0) / len(CLIPS)  # (2,) each
    benchmark.extra_info.update(of_the_bound=of_wall, of_the_processor_time=of_cpu)
    print(f"\nseconds a clip: reading and faces {reading[0]:.3f}, network {network[0]:.3f}, whole {together[0]:.3f}")
    print(f"processor seconds: {reading[1]:.3f}, {network[1]:.3f}, {together[1]:.3f}")
    print(f"{of_wall:.2f} of the throughput that the stages allow, by processor time {of_cpu:.2f} (median of {ROUNDS})")
    assert min(of_wall, of_cpu) >= OF_THE_BOUND


def test_memory_stays_flat(benchmark, cnn, scorer):
    process = psutil.Process()
    paths = (CLIPS * (1 + VIDEOS_FOR_MEMORY // len(CLIPS)))[:VIDEOS_FOR_MEMORY]
    seen: list[int] = []

    def run() -> None:
        results = cnn.frames.map_in_order(cnn.main.faces_of, paths)
        for _ in scorer.videos((path.name, faces) for path, faces in zip(paths, results, strict=True)):
            seen.append(process.memory_info().rss)

    benchmark.pedantic(run, rounds=1)
    quarter = len(seen) // 4
    first, last = (float(np.median(part)) for part in (seen[quarter : 2 * quarter], seen[-quarter:]))
    benchmark.extra_info.update(peak_bytes=max(seen), growth=last / first - 1)
    print(f"\n{len(seen)} videos: at most {max(seen) >> 20} MiB; medians of the second and the last quarter:", end=" ")
    print(f"{first / 2**20:.0f} and {last / 2**20:.0f} MiB")
    assert last <= first * (1 + MAX_GROWTH)


def test_a_second_process_of_extract(benchmark, tmp_path, cnn):
    """From the first video's begin to the last one's end; what starting Python costs is not looked at.

    Where other programs are busy, wall time says little. On free cores two processes would bring twice what one
    brings, less what each of them spends more of its processor on the same videos: that is what is asserted.
    """
    extract = importlib.import_module("extract")
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(64):
        (videos / f"{n}.mp4").symlink_to(TO_CUT[n % len(TO_CUT)])

    def run(name: str, jobs: int) -> tuple[float, float]:
        """Wall time, and processor time of all workers."""
        assert extract.main([str(videos), "--out", str(tmp_path / name), "--jobs", str(jobs)]) == 0
        logs = [log.read_text().splitlines() for log in (tmp_path / name / "log").glob("*.csv")]
        fields = [[line.split(",") for line in log] for log in logs]
        times = [float(line[0]) for log in fields for line in log]
        return max(times) - min(times), sum(float(log[-1][2]) - float(log[0][2]) for log in fields)

    rounds = np.array([(run(f"one-{n}", 1), run(f"two-{n}", 2)) for n in range(3)])  # (3, jobs, wall or processor)
    benchmark.pedantic(lambda: None, rounds=1)
    of_wall, of_cpu = np.median(rounds[:, 0] / rounds[:, 1], axis=0)
    benchmark.extra_info.update(speed_up_here=of_wall, speed_up_on_free_cores=2 * of_cpu)
    print(f"\ntwo processes: {of_wall:.2f} times one by wall time here, {2 * of_cpu:.2f} on free cores (median of 3)")
    assert 2 * of_cpu >= SPEED_UP
