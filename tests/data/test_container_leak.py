"""How much the container gives away: the two-field model, and the exact test for small samples."""

import math

import numpy as np
import pytest

from dfdc_kit.data.audit import evidence as leaks
from dfdc_kit.data.video_header import Header


def header(aspect_ratio: str, time_base: str) -> Header:
    return Header(
        width=1, height=1, frames=1, duration_s=1, frame_rate="1/1",
        display_aspect_ratio=aspect_ratio, audio_time_base=time_base,
    )  # fmt: skip


def drawn(seed: int, videos: int, share_told: float) -> tuple[list[Header], np.ndarray, list[str]]:
    """Videos of `videos / 5` originals, 80 % FAKE; in `share_told` of the originals, containers tell the label."""
    rng = np.random.default_rng(seed)
    originals = rng.integers(0, videos // 5, videos)
    fake = rng.random(videos) < 0.8
    told = rng.random(videos // 5)[originals] < share_told
    ratio = np.where(told, fake, rng.random(videos) < 0.5)
    clock = rng.random(videos) < 0.5
    headers = [header("16/9" if r else "", "1/48000" if c else "1/44100") for r, c in zip(ratio, clock, strict=True)]
    return headers, fake, originals.astype(str).tolist()


def test_leak_model_is_rarely_significant_by_chance_and_always_for_a_leak():
    chance = [leaks.measure_leak(*drawn(seed, 400, 0.0)) for seed in range(40)]
    assert sum(found.is_significant for found in chance) <= 3  # two standard errors: one in forty
    for share, limit in ((0.5, 0.62), (0.9, 0.3)):
        found = [leaks.measure_leak(*drawn(seed, 400, share)) for seed in range(10)]
        assert all(one.is_significant for one in found)
        assert np.mean([one.log_loss for one in found]) < limit


PUBLISHED = {  # counts in a public notebook about the training set, fakes weighed down to the number of originals
    ("", "1/48000"): (174, 1477 - 174),
    ("16/9", "1/48000"): (1407, 1873 - 1407),
    ("9/16", "1/48000"): (70, 178 - 70),
    ("16/9", "1/44100"): (156, 206 - 156),
    ("9/16", "1/44100"): (182, 241 - 182),
}


def test_leak_model_scores_the_published_counts_as_published():
    """0.4927 is what participants reported; here each video is an original of its own."""
    headers = [header(*pair) for pair, counts in PUBLISHED.items() for _ in range(sum(counts))]
    fake = np.concatenate([np.arange(sum(counts)) < counts[0] for counts in PUBLISHED.values()])
    found = leaks.measure_leak(headers, fake, [str(i) for i in range(len(fake))])
    assert found.is_significant
    assert found.log_loss == pytest.approx(0.4927, abs=0.005)
    assert [(cell.fake, cell.real) for cell in found.cells[:2]] == [(1407, 466), (174, 1303)]


def test_leak_model_is_scored_on_held_out_originals():
    """Each original has a clock of its own: the table knows all of them, and none of those held out."""
    originals = [str(i // 2) for i in range(200)]
    fake = np.arange(200) // 2 % 2 == 0
    found = leaks.measure_leak([header("", name) for name in originals], fake, originals)
    assert found.log_loss == pytest.approx(found.constant)
    assert not found.is_significant


def test_leak_model_weights_both_classes_equally():
    """Nine FAKE to one REAL in every cell: the answer is a half, whatever the share of FAKE."""
    table = leaks.fit([("16/9", "")] * 100 + [("", "")] * 100, np.tile(np.arange(10) > 0, 20))
    assert list(table.values()) == pytest.approx([0.5, 0.5])


def test_leak_model_is_none_when_there_are_too_few_originals():
    headers, fake, _ = drawn(0, 200, 1.0)
    assert leaks.measure_leak(headers, fake, [str(i % 9) for i in range(200)]) is None
    assert leaks.measure_leak([], np.zeros(0, np.bool_), []) is None


def test_exact_test_finds_a_perfect_leak_in_a_small_sample():
    """All 14 FAKE state an aspect ratio, none of 8 REAL: too few originals for the model, not for Fisher's test."""
    fake = np.arange(22) < 14
    tests = leaks.exact_tests([header("16/9" if is_fake else "", "1/48000") for is_fake in fake], fake)
    assert tests[0].is_significant
    assert (tests[0].fake, tests[0].real) in {(14, 0), (0, 8)}
    assert tests[0].p_value == pytest.approx(3 / math.comb(22, 8))  # three values are tested


def test_exact_test_is_rarely_significant_by_chance():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        fake = np.arange(16) < 9
        draws = rng.random((16, 2)) < 0.5
        headers = [header("16/9" if one else "", "1/48000" if two else "") for one, two in draws]
        found += any(test.is_significant for test in leaks.exact_tests(headers, fake))
    assert found <= 6  # at most one in a hundred is expected


def test_exact_test_is_not_tried_where_it_could_find_nothing():
    assert leaks.exact_tests([header("", "")] * 4, np.array([True, True, False, False])) == []
    assert leaks.exact_tests([header("", "")] * 40, np.ones(40, np.bool_)) == []
