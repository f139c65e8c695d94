"""Ways to get evenly spaced frames, 640 pixels wide, out of a 1080p video: processor time over that of decoding alone.

Run: pytest tests/benchmarks/test_decode_speed.py --benchmark-only -s

The clips are made on the spot: people of the sample data at 1920x1080 with grain and a slow pan, 10 s, H.264 at the
bit rate of the challenge's videos, key frames at 0 and 250. DFDC_CLIPS=FOLDER takes the mp4 files of a folder instead.
Processor time, not wall time, and the least of several rounds, all ways in turn: a busy machine slows them alike.
"""

import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-stats"
SAMPLES = sorted((ROOT / "sample_data/test_videos").glob("*.mp4"))[:2]
FRAMES, WIDTH, HEIGHT, RATE = 300, 1920, 1080, 30
BITS_PER_S = 3_000_000
SMALL = 640  # pixels, longer side
ROUNDS = 3
OVER_DECODING = 1.15  # at most; what was asked for
VIDEOS = 500  # read one after the other, to see whether memory grows
GROWTH_BYTES = 8 << 20  # of the most held, from the first half to the second

cv2 = pytest.importorskip("cv2", reason="one of the ways is OpenCV's")
sys.path.insert(0, str(FOLDER))
frames, faces = (importlib.import_module(name) for name in ("frames", "faces"))
sys.path.remove(str(FOLDER))  # its main.py and train.py are nobody's to import by chance


def make_clip(source: Path, target: Path, seed: int) -> Path:
    """A 1080p clip from a clip of the sample, played to and fro."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 3, (HEIGHT + 64, WIDTH + 64)).astype(np.float32)
    with av.open(str(source)) as container:
        pictures = [f.reformat(WIDTH + 64, HEIGHT + 64, "gray").to_ndarray() for f in container.decode(video=0)]
    options = {"b": str(BITS_PER_S), "g": "250", "keyint_min": "250", "sc_threshold": "0", "threads": "2"}
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)  # brightness above, grey below
        for number in range(FRAMES):
            there = number % (2 * len(pictures) - 2)
            picture = pictures[min(there, 2 * len(pictures) - 2 - there)]
            pan, (down, across) = number * 64 // FRAMES, rng.integers(0, 64, 2)
            noisy = (
                picture[pan : pan + HEIGHT, pan : pan + WIDTH] + grain[down : down + HEIGHT, across : across + WIDTH]
            )
            planes[:HEIGHT] = np.clip(noisy, 0, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    return target


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    if "DFDC_CLIPS" in os.environ:
        return sorted(Path(os.environ["DFDC_CLIPS"]).glob("*.mp4"))
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(path, folder / path.name, seed) for seed, path in enumerate(SAMPLES)]


def wanted(total: int, count: int) -> list[int]:
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def small_size(width: int, height: int) -> tuple[int, int]:
    scale = max(width, height) / SMALL
    return round(width / scale), round(height / scale)


# ---------------------------------------------------------------------------------------------------------------- ways


def decode_only(path: Path) -> int:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def ours(path: Path, count: int, fast: bool = False) -> int:
    return sum(1 for _ in frames.sample_frames(path, count, SMALL, fast=fast))


def ours_with_faces(path: Path, count: int, fast: bool = False) -> int:
    return len(faces.track_faces(path, crop, count, fast=fast)[0].faces)


def crop(frame, face) -> np.ndarray:
    return frame.rgb(face.square(frame.size, 0.3), 224)


def pyav_in_order(path: Path, count: int, rgb_of_all: bool = False) -> int:
    found = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        numbers = set(wanted(stream.frames, count))
        for number, frame in enumerate(container.decode(stream)):
            if rgb_of_all:
                frame.to_ndarray(format="rgb24")
            if number in numbers:
                frame.reformat(*small_size(frame.width, frame.height), "bgr24").to_ndarray()
                found += 1
    return found


def pyav_seeking(path: Path, count: int) -> int:
    found = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        step = stream.duration / stream.frames
        for number in wanted(stream.frames, count):
            container.seek(int(number * step), stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= int(number * step):
                    frame.reformat(*small_size(frame.width, frame.height), "bgr24").to_ndarray()
                    found += 1
                    break
    return found


def opencv(path: Path, count: int) -> int:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    numbers, found = wanted(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), count), 0
    for number in range(numbers[-1] + 1):
        video.grab()
        if number == numbers[found]:
            _, picture = video.retrieve()
            cv2.resize(picture, small_size(*picture.shape[1::-1]), interpolation=cv2.INTER_AREA)
            found += 1
    return found


def with_decord(path: Path, count: int) -> int:
    import decord

    with av.open(str(path)) as container:
        size = small_size(container.streams.video[0].width, container.streams.video[0].height)
    video = decord.VideoReader(str(path), num_threads=1, width=size[0], height=size[1])
    return len(video.get_batch(wanted(len(video), count)).asnumpy())


WAYS: dict[str, Callable[[Path], int]] = {
    "decoding alone, every frame": decode_only,
    "frames.py, 16": lambda path: ours(path, 16),
    "frames.py, 32": lambda path: ours(path, 32),
    "frames.py, 32, faces found and cut (faces.py)": lambda path: ours_with_faces(path, 32),
    "frames.py, fast mode, 16": lambda path: ours(path, 16, fast=True),
    "frames.py, fast mode, 32": lambda path: ours(path, 32, fast=True),
    "frames.py, fast mode, 32, faces found and cut": lambda path: ours_with_faces(path, 32, fast=True),
    "PyAV in order, wanted frames converted, 32": lambda path: pyav_in_order(path, 32),
    "PyAV in order, every frame to RGB": lambda path: pyav_in_order(path, 32, rgb_of_all=True),
    "OpenCV grab, wanted frames retrieved, 32": lambda path: opencv(path, 32),
    "decord, 32": lambda path: with_decord(path, 32),
}


def cpu_s(way: Callable[[Path], int], path: Path) -> float:
    started = time.process_time()
    assert way(path) > 0
    return time.process_time() - started


def ratios(ways: dict[str, Callable[[Path], int]], clips: list[Path], rounds: int) -> dict[str, float]:
    """Processor time of each way over that of the first, mean over the clips; the least of `rounds` counts."""
    least = {name: [float("inf")] * len(clips) for name in ways}
    for _ in range(rounds):
        for at, clip in enumerate(clips):
            for name, way in ways.items():
                least[name][at] = min(least[name][at], cpu_s(way, clip))
    first = next(iter(ways))
    print(f"\n{first}: {statistics.mean(least[first]):.2f} CPU seconds a clip, {len(clips)} clips")
    return {name: statistics.mean(t / d for t, d in zip(least[name], least[first], strict=True)) for name in ways}


def test_evenly_spaced_frames(benchmark, clips):
    ways = dict(WAYS)
    try:
        import decord  # noqa: F401
    except ImportError:
        del ways["decord, 32"]
    found = ratios(ways, clips, ROUNDS)
    for name, ratio in found.items():
        print(f"{ratio:6.2f}  {name}")
    benchmark.extra_info.update(found)
    benchmark.pedantic(lambda: ours(clips[0], 32), rounds=1)
    assert found["frames.py, 16"] <= OVER_DECODING
    assert found["frames.py, 32"] <= OVER_DECODING
    for rival in ("OpenCV grab, wanted frames retrieved, 32", "decord, 32"):
        assert found["frames.py, 32"] < found.get(rival, float("inf"))
    assert found["frames.py, fast mode, 32"] < found["frames.py, 32"] / 2


def test_seeking(benchmark, clips):
    """Apart, for it is slow: 16 frames, each sought."""
    found = ratios({"decoding alone": decode_only, "seeking": lambda path: pyav_seeking(path, 16)}, clips[:1], 1)
    print(f"{found['seeking']:6.2f}  PyAV, seeking to each of 16")
    benchmark.pedantic(lambda: None, rounds=1)
    assert found["seeking"] > 1


LEAK = """
import sys; sys.path.insert(0, sys.argv[1])
import faces, frames, psutil
from pathlib import Path

clips = [Path(name) for name in sys.argv[3:]]
paths = [clips[number % len(clips)] for number in range(int(sys.argv[2]))]
crop = lambda frame, face: frame.rgb(face.square(frame.size, 0.3), 224)
process = psutil.Process()
for number, result in enumerate(frames.map_in_order(lambda path: faces.track_faces(path, crop, 4), paths), 1):
    if number % 50 == 0:
        print(process.memory_info().rss, flush=True)
"""


def test_memory_stays_flat(benchmark):
    """500 small videos, read with their faces: the most that the process holds in the second half, and in the first."""
    command = [sys.executable, "-c", LEAK, FOLDER, str(VIDEOS), *SAMPLES]

    def read() -> list[int]:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [int(line) for line in done.stdout.split()]

    held = benchmark.pedantic(read, rounds=1)
    print("\nMiB held after 50, 100, ... videos:", *(f"{size / 2**20:.0f}" for size in held))
    half = len(held) // 2
    growth_bytes = max(held[half:]) - max(held[:half])
    benchmark.extra_info["growth_bytes"] = growth_bytes
    assert growth_bytes <= GROWTH_BYTES
