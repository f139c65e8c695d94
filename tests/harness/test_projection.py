"""From when videos were read to how long many more will take: laws, and programs whose cost is known."""

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
from dfdc_kit.harness.forecast.summary import Forecaster, memory_growth, summarise
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.report import summary
from dfdc_kit.report.run_report import Noise, Projection, TimeForecast, VideoRead

QUIET = Noise(other_programs_share=0.0, load_average_before=0.0, probes=100, probe_cpu_s=(1.0, 1.0, 1.0))
TESTS = {"public": 4000, "private": 10_000}


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


def test_a_serial_run_is_taken_apart():
    timings = per_video(reads_of([2.0] * 50), 3 + 100 + 4, 50)
    assert timings.startup_s == pytest.approx(3)
    assert timings.finish_s == pytest.approx(4)
    assert timings.costs_s == pytest.approx([2.0] * 49)
    assert (timings.completed, timings.readers, timings.warm_up_videos, timings.backlog_s) == (50, 1, 0, 0)


def test_without_noise_the_projection_is_exact():
    here = project(per_video(reads_of([2.0] * 50), 107, 50), 1000)
    assert here.median_s == pytest.approx(3 + 2000 + 4)
    assert here.low_s == pytest.approx(here.median_s)
    assert here.high_s == pytest.approx(here.median_s)
    assert here.trend == "none"


def test_a_model_that_computes_after_closing_counts_in_full():
    """The file is open for 0.1 s of each 2 s; the rest is computed after it was closed."""
    reads = [VideoRead(name=str(i), opened_s=2.0 * i, closed_s=2.0 * i + 0.1) for i in range(40)]
    assert project(per_video(reads, 80.0, 40), 4000).median_s == pytest.approx(8000)


def test_overlapping_readers_count_by_throughput():
    """Two readers, 4 s a video each: 2 s a video together."""
    reads = [VideoRead(name=str(i), opened_s=float(i // 2 * 4), closed_s=i // 2 * 4 + 4.0) for i in range(100)]
    timings = per_video(reads, 200.0, 100)
    here = project(timings, 2000)
    assert timings.readers == 2
    assert here.low_s <= 4000 <= here.high_s
    assert here.high_s < 4000 * 1.3


def test_a_first_pass_over_all_files_is_no_mistake():
    """All files are opened at once, as for their frame counts, and closed for good one after the other."""
    reads = [VideoRead(name=str(i), opened_s=0.1, closed_s=3.0 + 2 * i) for i in range(50)]
    assert project(per_video(reads, 103.0, 50), 4000).median_s == pytest.approx(8003, rel=0.01)


def test_work_after_the_last_close_is_both_fixed_and_per_video():
    """All videos are read in 10 s, then a model runs for 100 s: once, or on each? The range spans both."""
    timings = per_video(reads_of([0.1] * 100, start=0.0), 110.0, 100)
    here = project(timings, 4000)
    assert timings.backlog_s > 90
    assert here.low_s <= 110 + 3900 * 0.1
    assert here.high_s >= 110 / 100 * 4000 * 0.99
    forecast = forecast_of([0.1] * 100, wall_time_s=113.0)
    assert any("after the last video was closed" in line for line in summary.forecast_basis(forecast))


def test_a_warm_up_counts_once():
    costs = np.concatenate([[60.0, 40, 20], 2 * noise(0, 197, 0.05)])
    timings = per_video(reads_of(costs), 3 + costs.sum(), 200)
    here = project(timings, 4000)
    assert timings.warm_up_videos >= 2
    assert here.median_s == pytest.approx(3 + 120 + 3997 * 2, rel=0.02)


def test_slowing_down_is_carried_on():
    costs = (2 + 0.002 * np.arange(400)) * noise(1, 400, 0.05)
    truth = 3 + (2 + 0.002 * np.arange(4000)).sum()
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 400), 4000)
    assert here.trend == "growing"
    assert here.low_s <= truth <= here.high_s


def test_speeding_up_is_not_carried_on_below_nothing():
    costs = np.linspace(10, 2, 100) * noise(2, 100, 0.02)
    here = project(per_video(reads_of(costs), 3 + costs.sum(), 100), 4000)
    assert here.trend == "falling"
    assert 3 + costs.sum() <= here.low_s <= here.median_s <= here.high_s


def test_a_leak_in_memory_widens_the_upper_end():
    timings = per_video(reads_of(2 * noise(3, 200, 0.1)), 420.0, 200)
    plain, leaking = project(timings, 4000), project(timings, 4000, leaking=True)
    assert leaking.high_s >= plain.high_s
    assert leaking.trend in ("possibly growing", "growing")


def test_few_videos_give_no_upper_bound_and_no_good_news():
    here = project(per_video(reads_of([0.1] * 5), 4.0, 5), 4000)
    assert here.high_s is None
    assert verdict(here, 1e9) == "cannot tell"
    assert verdict(here, here.low_s / 2) == "does not fit"
    forecast = forecast_of(np.full(5, 0.9))
    assert summary.fit_sentence(forecast) == "fits 9 h: unclear, roughly 60 min for 4,000 videos"
    assert summary.time_range(forecast.outlooks[0].local, 5) == "about 60 min (rough: only 5 videos)"


def test_below_a_twentieth_of_the_videos_the_upper_end_is_raised():
    """They cannot show that it slows down later: twice as much with nothing seen, no more from 5 % on."""
    timings = per_video(reads_of([2.0] * 50), 103.0, 50)
    ends = [project(timings, n).high_s for n in (1000, 2000, 100_000)]
    assert ends == pytest.approx([103 + 950 * 2, 103 + 1950 * 3, 103 + 99_950 * 2 * 1.99])


def test_no_reads_give_a_range_from_all_start_up_to_none():
    here = project(per_video([], 1.6, 16), 4000)
    assert (here.low_s, here.high_s) == (1.6, 400.0)


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3) | st.none()), max_size=60),
    st.floats(0, 1e4),
    st.integers(1, 20_000),
)
@example([(0.0, 0.0), (3100.0, 999.475192780858), (1.8275774921360153, 1.5308535356582524)], 0.0, 1)  # rounds below 0
@settings(max_examples=150, deadline=None)
def test_any_reads_give_an_ordered_finite_range(spans, after, videos):
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
def test_the_order_of_the_list_and_the_unit_of_time_do_not_matter(order, unit):
    costs = noise(4, 30, 0.3)
    reads = reads_of(costs)
    one = project(per_video(reads, 3 + costs.sum(), 30), 4000)
    scaled = [
        VideoRead(name=reads[i].name, opened_s=reads[i].opened_s * unit, closed_s=reads[i].closed_s * unit)
        for i in order
    ]
    two = project(per_video(scaled, (3 + costs.sum()) * unit, 30), 4000)
    assert (two.low_s, two.high_s) == pytest.approx((one.low_s * unit, one.high_s * unit))


def test_the_same_input_gives_the_same_figures():
    timings = per_video(reads_of(noise(5, 100, 1.0)), 200.0, 100)
    assert project(timings, 4000) == project(timings, 4000)


def test_the_quantiles_are_student_s():
    """Against the printed tables."""
    for freedom, share, value in ((4, 0.95, 2.132), (10, 0.95, 1.812), (30, 0.995, 2.750), (5, 0.995, 4.032)):
        assert t_quantile(share, freedom) == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(1, 9, "fits"), (1, 10, "fits"), (1, 11, "cannot tell"), (10, 11, "cannot tell"), (10.1, 11, "does not fit")],
)
def test_the_verdict_needs_the_whole_range(low, high, answer):
    assert verdict(Projection(videos=1, low_s=low, median_s=low, high_s=high), 10) == answer


def test_early_stop_says_so_soon_and_with_reason():
    follower = Forecaster(4000, 32400, lambda: QUIET)
    stopped = 0
    for read in reads_of(20 * noise(6, 400, 0.3)):
        follower.completed(read.name, read.closed_s)
        stopped += 1
        if follower.should_stop():
            break
    assert stopped <= 60
    assert "4,000 take at least" in follower.reason


def test_early_stop_is_no_firmer_than_the_machine():
    """Nine tenths of a busy machine were somebody else's: undisturbed, the run might have been in time."""
    noisy = structs.replace(QUIET, other_programs_share=0.9)
    follower = Forecaster(4000, 32400, lambda: noisy)
    for read in reads_of(20 * noise(6, 400, 0.3)):
        follower.completed(read.name, read.closed_s)
        assert not follower.should_stop()


def test_early_stop_hardly_ever_ends_a_run_that_fits():
    """60 runs that need 97 % of the time, asked after each of their first 300 videos."""
    wrong = 0
    for seed in range(60):
        costs = noise(seed, 4000, 1.0)
        follower = Forecaster(4000, (3 + costs.sum()) / 0.97, lambda: QUIET)
        for i, at in enumerate(3 + np.cumsum(costs[:300])):
            follower.completed(str(i), float(at))
            follower.should_stop()
        wrong += follower.should_stop()
    assert wrong <= 3


def test_memory_growth_finds_the_leak_and_only_the_leak():
    reads = reads_of([1.0] * 200, start=0.0)
    times = np.arange(0, 200, 0.25)
    shake = np.random.default_rng(7).normal(0, 2e6, times.size)
    loaded = 5e8 * np.minimum(1, times / 40)  # caches fill, then stay
    steady = memory_growth([(t, int(m)) for t, m in zip(times, loaded + shake, strict=True)], reads)
    leak = memory_growth([(t, int(m)) for t, m in zip(times, loaded + shake + 1e6 * times, strict=True)], reads)
    assert not steady.leaks
    assert leak.leaks
    assert leak.low_bytes <= 1e6 <= leak.high_bytes
    first, last = summary.videos_until(leak, 2 * leak.last_bytes)
    assert first <= 200 + leak.last_bytes / 1e6 <= last + 1
    assert summary.leak_warning(steady, 1) == ""
    assert "MiB per video; it reaches the limit between video" in summary.leak_warning(leak, 2 * leak.last_bytes)
    assert memory_growth([(0.0, 1)] * 5, reads) is None


def forecast_of(costs, wall_time_s: float | None = None, profile: str = "kaggle-2020-cpu", **more) -> TimeForecast:
    wall = 3 + float(np.sum(costs)) if wall_time_s is None else wall_time_s
    given = {"profile_name": profile, "videos": TESTS, "cpu_time_s": wall, "noise": QUIET} | more
    return summarise(reads_of(costs), wall, len(costs), profiles.load(profile), **given)


def test_the_forecast_goes_through_json_and_into_sentences():
    forecast = forecast_of(noise(8, 200, 0.1))
    assert msgspec.json.decode(msgspec.json.encode(forecast), type=TimeForecast) == forecast
    assert summary.fit_sentence(forecast) == "fits 9 h: yes, about 67 min for 4,000 videos"
    assert "our assumption" in " ".join(summary.forecast_basis(forecast))
    assert [outlook.local_verdict for outlook in forecast.outlooks] == ["fits", "fits"]


def test_the_time_of_a_model_on_a_cpu_is_never_projected_to_a_gpu(monkeypatch):
    monkeypatch.setattr(measure, "gpu_name", lambda: "")
    forecast = forecast_of(noise(9, 200, 0.1), profile="kaggle-2020-gpu", gpu_declared=True)
    assert forecast.hosted_ratio is None
    assert [outlook.hosted for outlook in forecast.outlooks] == [None, None]
    assert [outlook.hosted_verdict for outlook in forecast.outlooks] == ["cannot tell"] * 2
    assert "ran on a CPU here" in "\n".join(summary.forecast_basis(forecast))


def test_a_verdict_is_no_firmer_than_the_machine():
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


def test_a_cpu_time_that_is_not_known_widens_the_range():
    known, unknown = forecast_of(noise(8, 200, 0.1)), forecast_of(noise(8, 200, 0.1), cpu_time_s=None)
    assert unknown.hosted_ratio[0] <= known.hosted_ratio[0]
    assert known.hosted_ratio[1] <= unknown.hosted_ratio[1]
    assert "CPU time unknown" in "\n".join(summary.forecast_basis(unknown))


def test_sixteen_videos_are_said_to_be_few():
    assert any("measure 200 (public) or 500 (private)" in caution for caution in forecast_of([1.0] * 16).cautions)


def test_no_limit_no_forecast():
    assert forecast_of([1.0] * 16, profile="unlimited") is None


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_a_real_program_of_constant_cost(tmp_path):
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
