"""Memory growth, judged on simulated samples: leaks are seen; warm-up, caches and picture sizes are not leaks."""

import numpy as np
import pytest

from dfdc_kit.harness.forecast.memory_growth import FEWEST_VIDEOS, memory_growth
from dfdc_kit.report import summary
from dfdc_kit.report.run_report import VideoRead
from dfdc_kit.sandbox.monitor.watchdog import MOST_SAMPLES, SAMPLE_S

MIB = 2**20
PIXELS = np.array([124 * 152, 320 * 240, 640 * 360, 854 * 480, 1280 * 720, 1920 * 1080])
RUNS = 200
SLOWER_S = 2 * SAMPLE_S  # on a busy machine

Run = tuple[list[tuple[float, int]], list[VideoRead], dict[str, float]]


def simulate(seed: int, videos: int = 100, leak_bytes: float = 0.0, sample_s: float = SAMPLE_S) -> Run:
    """Memory samples, reads and sizes of a program with random properties, on clips in random order.

    It loads its model, fills a cache, perhaps loads something late, holds 1 to 64 pictures of the current clip, and its
    allocator keeps a part of the most it ever held.
    """
    rng = np.random.default_rng([2026, seed])  # the constants were chosen on other seeds
    pixels = rng.choice(PIXELS, videos) if rng.random() < 0.7 else np.full(videos, PIXELS[-1])
    costs = (0.1 + 0.9 * pixels / PIXELS[-1]) * rng.uniform(0.3, 1.5) * np.exp(0.3 * rng.standard_normal(videos))
    closed = 2 + np.cumsum(costs)
    model, loaded_s = rng.uniform(50, 1500) * MIB, rng.uniform(0.1, 5)
    cache, filling = rng.uniform(0, 300) * MIB * (rng.random() < 0.6), rng.uniform(1, videos / 6)
    late, late_at = rng.uniform(0, 200) * MIB * (rng.random() < 0.3), rng.integers(0, videos // 2)
    kept = rng.uniform(0, 1) * (rng.random() < 0.7)
    pictures = pixels * 3 * rng.uniform(1, 64)
    while closed[-1] > MOST_SAMPLES * sample_s:
        sample_s *= 2
    at = np.arange(0, closed[-1], sample_s)
    done = np.searchsorted(closed, at, side="right")
    now = np.minimum(done, videos - 1)
    part = np.clip((at - closed[now] + costs[now]) / costs[now], 0, 1)
    held = np.maximum(kept * np.maximum.accumulate(pictures)[now], pictures[now] * np.minimum(1, 2 * part))
    memory = model * np.clip(at / loaded_s, 0.2, 1) + cache * (1 - np.exp(-done / filling)) + late * (done >= late_at)
    memory = memory + held + leak_bytes * (done + part) + rng.uniform(0.1, 5) * MIB * rng.standard_normal(at.size)
    reads = [
        VideoRead(name=str(i), opened_s=float(end - cost), closed_s=float(end))
        for i, (end, cost) in enumerate(zip(closed, costs, strict=True))
    ]
    samples = [(float(time_s), int(size)) for time_s, size in zip(at, memory, strict=True)]
    return samples, reads, {str(i): float(size) for i, size in enumerate(pixels)}


def share_called_leaks(leak_bytes: float, sample_s: float) -> float:
    found = [memory_growth(*simulate(seed, leak_bytes=leak_bytes, sample_s=sample_s)) for seed in range(RUNS)]
    return sum(growth is not None and growth.leaks for growth in found) / RUNS


@pytest.mark.parametrize("sample_s", [SAMPLE_S, SLOWER_S])
def test_programs_without_a_leak_are_called_leaking_in_at_most_2_percent_of_runs(sample_s):
    assert share_called_leaks(0, sample_s) <= 0.02


@pytest.mark.parametrize(("sample_s", "share"), [(SAMPLE_S, 0.95), (SLOWER_S, 0.9)])
def test_leaks_of_1_mib_a_video_are_seen_within_100_videos_in_95_percent_of_runs(sample_s, share):
    assert share_called_leaks(MIB, sample_s) >= share


def steady(memory: np.ndarray, rate: int = 4) -> Run:
    """A video a second; `memory` (videos,) bytes while each is processed."""
    reads = [VideoRead(name=str(i), opened_s=float(i), closed_s=i + 1.0) for i in range(memory.size)]
    samples = [(i + part / rate, int(size)) for i, size in enumerate(memory) for part in range(rate)]
    return samples, reads, {}


@pytest.mark.parametrize(
    "memory",
    [
        np.minimum(np.arange(100), 70) * 10.0 * MIB,  # a plateau
        300 * MIB * (1 - np.exp(-np.arange(100) / 15)),  # a cache that fills
        np.where(np.arange(100) < 60, 100, 500) * MIB,  # one late load
        np.tile(np.arange(10), 10) * 20.0 * MIB,  # peak after peak
    ],
    ids=["plateau", "cache", "late load", "peaks"],
)
def test_growth_that_ends_is_no_leak(memory):
    growth = memory_growth(*steady(memory + 1e6 * np.random.default_rng(1).standard_normal(100)))
    assert growth is not None
    assert not growth.leaks
    assert summary.leak_warning(growth, 1) == ""


def test_leak_interval_holds_the_true_rate_and_names_the_video_at_the_limit():
    growth = memory_growth(*steady(500 * MIB + np.arange(200) * MIB))
    assert growth is not None
    assert growth.leaks
    assert growth.low_bytes <= MIB * 1.001
    assert growth.high_bytes >= MIB * 0.999
    first, last = summary.videos_until(growth, 2 * growth.last_bytes)
    assert first <= 200 + growth.last_bytes / MIB <= last + 1
    assert "MiB per video; it reaches the limit between video" in summary.leak_warning(growth, 2 * growth.last_bytes)


def test_larger_pictures_later_are_no_leak():
    """The clips come sorted by size, and memory follows their size."""
    sizes = np.sort(np.random.default_rng(2).choice(PIXELS, 100))
    samples, reads, _ = steady(200 * MIB + sizes * 3.0 * 32)
    growth = memory_growth(samples, reads, {str(i): float(size) for i, size in enumerate(sizes)})
    assert growth is not None
    assert not growth.leaks


def test_short_runs_have_no_growth():
    assert memory_growth(*steady(np.arange(FEWEST_VIDEOS - 1) * 1.0 * MIB)) is None
    assert memory_growth(*steady(np.arange(FEWEST_VIDEOS) * 1.0 * MIB)) is not None
    sparse = [sample for i, sample in enumerate(steady(np.arange(24) * 1.0 * MIB, rate=1)[0]) if i % 2]
    assert memory_growth(sparse, steady(np.arange(24) * 1.0 * MIB)[1]) is None
    assert memory_growth(*steady(np.arange(100) * 1.0 * MIB, rate=0)) is None
    assert memory_growth([(0.0, 1)] * 5, []) is None
