"""Time forecasts: properties, programs of known cost, and when a run is stopped early."""

import sys
import time

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from dfdc_kit import profiles
from dfdc_kit.harness.forecast import measure
from dfdc_kit.harness.forecast.projection import per_video, project, t_quantile, verdict
from dfdc_kit.harness.forecast.time_forecast import EarlyStopper, forecast_time, video_sizes
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.report import summary
from dfdc_kit.report.run_report import Noise, Projection, TimeForecast, VideoRead

QUIET = Noise(other_programs_share=0.0, load_average_before=0.0, probes=100, probe_cpu_s=(1.0, 1.0, 1.0))
TESTS = {"public": 4000, "private": 10_000}
GIVEN = {"profile_name": "kaggle-2020-cpu", "videos": TESTS, "cpu_time_s": None, "noise": QUIET}


def reads_of(costs, start: float = 3.0) -> list[VideoRead]:
    """One video after the other, each closed when it is done."""
    ends = start + np.cumsum(costs)
    begins = [start, *ends[:-1]]
    return [
        VideoRead(name=f"{i}.mp4", opened_s=float(a), closed_s=float(b))
        for i, (a, b) in enumerate(zip(begins, ends, strict=True))
    ]


def noise(seed: int, count: int, spread: float) -> np.ndarray:
    return np.exp(spread * np.random.default_rng(seed).standard_normal(count))


def test_per_video_splits_a_serial_run_into_startup_cost_and_finish():
    timings = per_video(reads_of([2.0] * 50), 3 + 100 + 4, 50)
    assert timings.startup_s == pytest.approx(3)
    assert timings.finish_s == pytest.approx(4)
    assert timings.costs_s == pytest.approx([2.0] * 49)
    assert (timings.completed, timings.readers, timings.warm_up_videos, timings.backlog_s) == (50, 1, 0, 0)


def test_projection_is_exact_without_noise():
    here = project(per_video(reads_of([2.0] * 50), 107, 50), 1000)
    assert here.median_s == pytest.approx(3 + 2000 + 4)
    assert here.low_s == pytest.approx(here.median_s)
    assert here.high_s == pytest.approx(here.median_s)
    assert here.trend == "none"


def test_projection_counts_work_after_a_file_is_closed():
    """The file is open for 0.1 s of each 2 s; the rest is computed after it was closed."""
    reads = [VideoRead(name=str(i), opened_s=2.0 * i, closed_s=2.0 * i + 0.1) for i in range(40)]
    assert project(per_video(reads, 80.0, 40), 4000).median_s == pytest.approx(8000)


def test_projection_counts_overlapping_readers_once():
    """Two readers, 4 s a video each: 2 s a video together."""
    reads = [VideoRead(name=str(i), opened_s=float(i // 2 * 4), closed_s=i // 2 * 4 + 4.0) for i in range(100)]
    timings = per_video(reads, 200.0, 100)
    here = project(timings, 2000)
    assert timings.readers == 2
    assert here.low_s <= 4000 <= here.high_s
    assert here.high_s < 4000 * 1.3


def test_projection_is_right_when_all_files_are_opened_first():
    """All files are opened at once, as for their frame counts, and closed for good one after the other."""
    reads = [VideoRead(name=str(i), opened_s=0.1, closed_s=3.0 + 2 * i) for i in range(50)]
    assert project(per_video(reads, 103.0, 50), 4000).median_s == pytest.approx(8003, rel=0.01)


def test_range_covers_work_after_the_last_close_done_once_or_per_video():
    """All videos are read in 10 s, then a model runs for 100 s: once, or on each? The range spans both."""
    timings = per_video(reads_of([0.1] * 100, start=0.0), 110.0, 100)
    here = project(timings, 4000)
    assert timings.backlog_s > 90
    assert here.low_s <= 110 + 3900 * 0.1
    assert here.high_s >= 110 / 100 * 4000 * 0.99
    forecast = forecast_of([0.1] * 100, wall_time_s=113.0)
    assert any("after the last video was closed" in line for line in summary.forecast_basis(forecast))


def test_warm_up_counts_once():
    costs = np.concatenate([[60.0, 40, 20], 2 * noise(0, 197, 0.05)])
    timings = per_video(reads_of(costs), 3 + costs.sum(), 200)
    here = project(timings, 4000)
    assert timings.warm_up_videos >= 2
    assert here.median_s == pytest.approx(3 + 120 + 3997 * 2, rel=0.02)


def test_proven_slow_down_is_carried_on():
    costs = (2 + 0.002 * np.arange(400)) * noise(1, 400, 0.05)
    truth = 3 + (2 + 0.002 * np.arange(4000)).sum()
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 400), 4000)
    assert here.trend == "growing"
    assert here.low_s <= truth <= here.high_s


def test_speed_up_does_not_lower_the_range_below_the_time_spent():
    costs = np.linspace(10, 2, 100) * noise(2, 100, 0.02)
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 100), 4000)
    assert here.trend == "falling"
    assert 3 + costs.sum() <= here.low_s <= here.median_s <= here.high_s


def test_growing_memory_raises_the_upper_end():
    timings = per_video(reads_of(2 * noise(3, 200, 0.1)), 420.0, 200)
    plain, leaking = project(timings, 4000), project(timings, 4000, leaking=True)
    assert leaking.high_s >= plain.high_s
    assert leaking.trend in ("possibly growing", "growing")


def test_fewer_than_8_videos_have_no_upper_bound():
    here = project(per_video(reads_of([0.1] * 5), 4.0, 5), 4000)
    assert here.high_s is None
    assert verdict(here, 1e9) == "cannot tell"
    assert verdict(here, here.low_s / 2) == "does not fit"
    forecast = forecast_of(np.full(5, 0.9))
    assert summary.fit_sentence(forecast) == "about 60 min for 4,000 videos (rough: only 5 videos), limit 9 h"
    assert summary.time_range(forecast.outlooks[0].local, 5) == "about 60 min (rough: only 5 videos)"


def test_rough_projection_decides_only_what_is_far_from_the_limit():
    """Fewer than 50 videos: a factor of 4 each way, but never below the time spent and the cheapest cost seen."""
    here = project(per_video(reads_of([2.0] * 20), 43.0, 20), 4000)
    assert here.median_s == pytest.approx(43 + 3980 * 2)
    assert here.low_s == pytest.approx(here.median_s)  # no cost was below 2 s
    assert here.high_s == pytest.approx(here.median_s * 4)
    assert verdict(here, 33_000) == "fits"
    assert verdict(here, 25_000) == "cannot tell"
    assert verdict(here, 4000) == "does not fit"
    few = project(per_video(reads_of([2.0] * 8), 19.0, 8), 4000)
    assert few.high_s == pytest.approx(few.median_s * 8)


def test_small_sample_has_no_verdict_unless_it_is_far_from_the_limit():
    rough, far = forecast_of([0.75] * 16), forecast_of([0.1] * 16)
    assert summary.fit_sentence(rough) == "about 50 min for 4,000 videos (rough: only 16 videos), limit 9 h"
    assert "take 1 to 3 times as long. For a verdict, measure 50 videos." in summary.hosted_reason(rough)
    assert summary.fit_sentence(far) == "fits 9 h: yes, about 6.7 min for 4,000 videos (rough: only 16 videos)"
    assert summary.hosted_reason(far) == ""


def test_videos_smaller_than_those_of_the_hidden_test_do_not_prove_that_it_fits():
    """67 min for 4,000 videos of 640x360; those of 1920x1080 may take nine times as long."""
    sizes = {f"{i}.mp4": 300.0 * 640 * 360 for i in range(200)}
    known = {"sizes": sizes, "typical_size": 300.0 * 1920 * 1080}
    small = forecast_of(noise(8, 200, 0.1), **known)
    assert [outlook.hosted_verdict for outlook in small.outlooks] == ["cannot tell"] * 2
    assert summary.fit_sentence(small) == "about 67 min for 4,000 videos like these, limit 9 h"
    assert "test videos are about 9 times larger than these" in summary.hosted_reason(small)
    alike = forecast_of(noise(8, 200, 0.1), sizes=sizes, typical_size=300.0 * 640 * 480)
    assert summary.fit_sentence(alike) == "fits 9 h: yes, about 67 min for 4,000 videos"
    slow = forecast_of(20 * noise(8, 200, 0.1), **known)
    assert summary.fit_sentence(slow) == "fits 9 h: no, about 22 h for 4,000 videos like these"
    unread = forecast_time([], 1.6, 16, profiles.load("kaggle-2020-cpu"), **GIVEN | known)
    assert unread.size_ratio == 1


def test_low_end_is_never_below_time_spent_plus_the_cheapest_costs():
    costs = 2 * noise(3, 70, 0.5)
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 70), 4000, speedup=1.5)
    assert here.low_s >= 3 + costs.sum() + 3930 * np.quantile(costs, 0.1) / 1.5


SIZED = {f"{i}.mp4": float(size) for i, size in enumerate([4e6, 3e7, 2e8, 6e8] * 50)}


@pytest.mark.parametrize("order", ["random", "rising", "falling"])
def test_order_of_sizes_is_no_trend(order):
    """200 clips of four sizes, whose cost follows their size: the same forecast in any order."""
    rng = np.random.default_rng(12)
    sizes = np.array(list(SIZED.values()))
    sizes = rng.permutation(sizes) if order == "random" else np.sort(sizes)[:: 1 if order == "rising" else -1]
    costs = (0.5 + sizes / 1e8) * noise(13, 200, 0.05)
    known = {f"{i}.mp4": float(size) for i, size in enumerate(sizes)}
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 200, sizes=known), 4000)
    truth = 3 + costs.mean() * 4000
    assert here.low_s <= truth <= here.high_s
    assert here.high_s < 1.6 * here.low_s
    assert here.trend in ("none", "possibly growing", "possibly falling")


def test_load_that_rises_once_is_not_carried_on():
    """A second program takes half of the machine from the middle of the run on."""
    load = np.repeat([1.0, 2.0], 100)
    costs = 2 * load * noise(14, 200, 0.1)
    timeline = [(float(at), float(n)) for at, n in zip(3 + np.cumsum(costs), 2 * load, strict=True)]
    measured = structs.replace(QUIET, load_timeline=timeline)
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 200, noise=measured), 4000)
    assert here.trend not in ("growing", "possibly growing")
    assert here.high_s < 4000 * 2 * 2 * 1.5


def test_reruns_of_the_same_clips_overlap():
    """64 mixed clips four times, in other orders and under other load."""
    rng = np.random.default_rng(15)
    sizes = np.array([4e6, 3e7, 2e8, 6e8] * 16)
    runs = []
    for load in (1.0, 1.0, 1.3, 1.6):
        order = rng.permutation(64)
        costs = (0.3 + sizes[order] / 3e8) * load * np.exp(0.1 * rng.standard_normal(64))
        known = {f"{i}.mp4": float(size) for i, size in enumerate(sizes[order])}
        timings = per_video(reads_of(costs), 3 + costs.sum(), 64, sizes=known)
        runs.append(project(timings, 4000, speedup=load))
    assert max(run.low_s for run in runs) <= min(run.high_s for run in runs)


def test_range_without_reads_goes_from_all_startup_to_none():
    here = project(per_video([], 1.6, 16), 4000)
    assert (here.low_s, here.high_s) == (1.6, 400.0)


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3) | st.none()), max_size=60),
    st.floats(0, 1e4),
    st.integers(1, 20_000),
)
@example([(0.0, 0.0), (3100.0, 999.475192780858), (1.8275774921360153, 1.5308535356582524)], 0.0, 1)  # rounds below 0
@settings(max_examples=150, deadline=None)
def test_range_is_ordered_and_finite_for_any_reads(spans, after, videos):
    reads = [
        VideoRead(name=str(i), opened_s=at, closed_s=None if length is None else at + length)
        for i, (at, length) in enumerate(spans)
    ]
    wall = max([read.closed_s or read.opened_s for read in reads], default=0.0) + after
    here = project(per_video(reads, wall, max(1, len(reads))), videos)
    assert 0 <= here.low_s <= here.median_s
    if here.high_s is not None:
        assert here.median_s <= here.high_s < float("inf")


@given(st.permutations(range(30)), st.floats(0.1, 100))
@settings(max_examples=30, deadline=None)
def test_projection_does_not_depend_on_list_order_or_time_unit(order, unit):
    costs = noise(4, 30, 0.3)
    reads = reads_of(costs)
    one = project(per_video(reads, 3 + costs.sum(), 30), 4000)
    scaled = [
        VideoRead(name=reads[i].name, opened_s=reads[i].opened_s * unit, closed_s=reads[i].closed_s * unit)
        for i in order
    ]
    two = project(per_video(scaled, (3 + costs.sum()) * unit, 30), 4000)
    assert (two.low_s, two.high_s) == pytest.approx((one.low_s * unit, one.high_s * unit))


def test_projection_is_deterministic():
    timings = per_video(reads_of(noise(5, 100, 1.0)), 200.0, 100)
    assert project(timings, 4000) == project(timings, 4000)


def test_t_quantile_agrees_with_printed_tables():
    """Against the printed tables."""
    for freedom, share, value in ((4, 0.95, 2.132), (10, 0.95, 1.812), (30, 0.995, 2.750), (5, 0.995, 4.032)):
        assert t_quantile(share, freedom) == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(1, 9, "fits"), (1, 10, "fits"), (1, 11, "cannot tell"), (10, 11, "cannot tell"), (10.1, 11, "does not fit")],
)
def test_verdict_needs_the_complete_range(low, high, answer):
    assert verdict(Projection(videos=1, low_s=low, median_s=low, high_s=high), 10) == answer


def test_early_stop_names_its_reason_within_60_videos():
    follower = EarlyStopper(4000, 32400, lambda: QUIET)
    stopped = 0
    for read in reads_of(20 * noise(6, 400, 0.3)):
        follower.completed(read.name, read.closed_s)
        stopped += 1
        if follower.should_stop():
            break
    assert stopped <= 60
    assert "4,000 take at least" in follower.reason


def test_early_stop_waits_on_a_busy_machine():
    """Nine tenths of a busy machine were somebody else's: undisturbed, the run might have been in time."""
    noisy = structs.replace(QUIET, other_programs_share=0.9)
    follower = EarlyStopper(4000, 32400, lambda: noisy)
    for read in reads_of(20 * noise(6, 400, 0.3)):
        follower.completed(read.name, read.closed_s)
        assert not follower.should_stop()


@pytest.mark.parametrize(("runs", "most"), [(20, 1), pytest.param(60, 3, marks=pytest.mark.slow)])
def test_early_stop_ends_few_runs_that_need_97_percent_of_the_time(runs, most):
    """Asked after each of their first 300 videos."""
    wrong = 0
    for seed in range(runs):
        costs = noise(seed, 4000, 1.0)
        follower = EarlyStopper(4000, (3 + costs.sum()) / 0.97, lambda: QUIET)
        for i, at in enumerate(3 + np.cumsum(costs[:300])):
            follower.completed(str(i), float(at))
            follower.should_stop()
        wrong += follower.should_stop()
    assert wrong <= most


LIMIT_S = 32_400.0


def programs(share: float) -> list[tuple[str, np.ndarray, dict[str, float]]]:
    """Ten programs that need `share` of the time limit for 4,000 videos: name, costs of 200 videos, sizes."""
    rng = np.random.default_rng(16)
    mean_s = share * LIMIT_S / 4000
    sizes = rng.choice([4e6, 3e7, 2e8, 6e8], 200)
    by_size = 0.2 + 0.8 * sizes / sizes.mean()
    known = {str(i): float(size) for i, size in enumerate(sizes)}
    rising, falling = np.sort(sizes), np.sort(sizes)[::-1]
    load = np.where(np.arange(200) // 25 % 2, 1.3, 0.7)
    warm = np.where(np.arange(200) < 4, 8.0, 1.0)
    laws = {
        "constant": np.ones(200),
        "5 % spread": np.exp(0.05 * rng.standard_normal(200)),
        "50 % spread": np.exp(0.5 * rng.standard_normal(200) - 0.125),
        "load that comes and goes": load,
        "warm-up": warm,
        "rare slow videos": np.where(np.arange(200) % 20 == 19, 8.0, 0.63),
        "heavy tail": np.minimum(1 + rng.pareto(2.5, 200), 20) / 1.6,
    }
    found = [(name, mean_s * costs, {}) for name, costs in laws.items()]
    found.append(("mixed sizes", mean_s * by_size, known))
    for name, order in (("small ones first", rising), ("large ones first", falling)):
        sized = {str(i): float(size) for i, size in enumerate(order)}
        found.append((name, mean_s * (0.2 + 0.8 * order / sizes.mean()), sized))
    return found


def stopped_after(costs: np.ndarray, sizes: dict[str, float]) -> int:
    """How many videos were completed when the run was stopped; 0: it never was."""
    stopper = EarlyStopper(4000, LIMIT_S, lambda: QUIET, sizes)
    for i, at in enumerate(3 + np.cumsum(costs)):
        stopper.completed(str(i), float(at))
        if stopper.should_stop():
            return i + 1
    return 0


def test_early_stop_ends_ten_hopeless_programs():
    assert {name: stopped_after(costs, sizes) > 0 for name, costs, sizes in programs(2.0)} == dict.fromkeys(
        [name for name, _, _ in programs(2.0)], True
    )


def test_early_stop_ends_none_of_ten_programs_that_fit():
    assert [name for name, costs, sizes in programs(0.95) if stopped_after(costs, sizes)] == []


def test_video_sizes_come_from_the_headers(sample, tmp_path):
    videos = sorted((sample / "test_videos").glob("*.mp4"))[:3]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    sizes = video_sizes([*videos, broken])
    assert set(sizes) == {path.name for path in [*videos, broken]}
    assert min(sizes.values()) > 10_000
    assert sizes["broken.mp4"] in sizes.values()
    assert video_sizes([broken]) == {}


def forecast_of(costs, wall_time_s: float | None = None, profile: str = "kaggle-2020-cpu", **more) -> TimeForecast:
    wall = 3 + float(np.sum(costs)) if wall_time_s is None else wall_time_s
    given = GIVEN | {"profile_name": profile, "cpu_time_s": wall} | more
    return forecast_time(reads_of(costs), wall, len(costs), profiles.load(profile), **given)


def test_forecast_survives_json_and_becomes_a_sentence():
    forecast = forecast_of(noise(8, 200, 0.1))
    assert msgspec.json.decode(msgspec.json.encode(forecast), type=TimeForecast) == forecast
    assert summary.fit_sentence(forecast) == "fits 9 h: yes, about 67 min for 4,000 videos"
    assert "our estimate" in " ".join(summary.forecast_basis(forecast))
    assert [outlook.local_verdict for outlook in forecast.outlooks] == ["fits", "fits"]


def test_cpu_time_of_a_gpu_submission_is_not_projected_to_a_gpu(monkeypatch):
    monkeypatch.setattr(measure, "gpu_name", lambda: "")
    forecast = forecast_of(noise(9, 200, 0.1), profile="kaggle-2020-gpu", gpu_declared=True)
    assert forecast.hosted_ratio is None
    assert [outlook.hosted for outlook in forecast.outlooks] == [None, None]
    assert [outlook.hosted_verdict for outlook in forecast.outlooks] == ["cannot tell"] * 2
    assert "ran on a CPU here" in "\n".join(summary.forecast_basis(forecast))


def test_verdict_is_unclear_on_a_busy_or_uneven_machine():
    """8.6 h of 9: it fits on a quiet machine; where the cores worked unevenly or were shared, nobody can tell."""
    costs = noise(8, 1000, 0.02) * 7.75
    quiet = forecast_of(costs)
    uneven = forecast_of(costs, noise=structs.replace(QUIET, probe_cpu_s=(0.9, 1.0, 1.5)))
    shared = forecast_of(costs * 1.2, noise=structs.replace(QUIET, other_programs_share=0.5))
    assert [f.outlooks[0].local_verdict for f in (quiet, uneven, shared)] == ["fits", "cannot tell", "cannot tell"]
    assert forecast_of(costs * 1.2).outlooks[0].local_verdict == "does not fit"
    assert not any("busy" in caution for caution in quiet.cautions)
    assert any("off by about 50 %" in caution for caution in uneven.cautions)
    assert any("off by about 50 %" in caution for caution in shared.cautions)


def test_unknown_cpu_time_widens_the_hosted_ratio():
    known, unknown = forecast_of(noise(8, 200, 0.1)), forecast_of(noise(8, 200, 0.1), cpu_time_s=None)
    assert unknown.hosted_ratio[0] <= known.hosted_ratio[0]
    assert known.hosted_ratio[1] <= unknown.hosted_ratio[1]
    assert "CPU time unknown" in "\n".join(summary.forecast_basis(unknown))


def test_few_videos_are_called_rough():
    assert "Rough: only 16 videos. Measure 50 or more." in forecast_of([1.0] * 16).cautions
    assert any("better measure 200 (public) or 500 (private)" in text for text in forecast_of([1.0] * 64).cautions)


def test_forecast_is_none_without_a_time_limit():
    assert forecast_of([1.0] * 16, profile="unlimited") is None


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_projection_of_a_watched_program_of_constant_cost(tmp_path):
    """The first 20 of 60 files, watched from outside, foretell the whole of the same run."""
    videos = [tmp_path / f"{i:02}.mp4" for i in range(60)]
    for video in videos:
        video.write_bytes(b"x")
    with VideoWatch(tmp_path, lambda _: None) as watch:
        for video in videos:
            with video.open("rb"):
                time.sleep(0.02)
    reads = watch.reads()
    here = project(per_video(reads[:20], reads[19].closed_s, 20), 60)
    assert len(reads) == 60
    assert here.low_s / 2 <= reads[59].closed_s <= here.high_s * 2
