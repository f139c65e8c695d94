"""Inspecting many files: in parallel, without hiding errors or leaving files open."""

import os
import threading
from pathlib import Path

import pytest

from dfdc_kit.data.inspection import Inspector, in_parallel, list_videos
from dfdc_kit.data.video_header import BadVideoError, read_header


def test_in_parallel_runs_several_and_takes_few_ahead():
    meeting, handed_out = threading.Barrier(4, timeout=10), []

    def meet(number: int) -> int:
        if number < 4:
            meeting.wait()  # passes only if four are at it at the same time
        return number * 2

    numbers = iter(range(1000))

    def counted():
        for number in numbers:
            handed_out.append(number)
            yield number

    results = in_parallel(meet, counted(), threads=4)
    first = next(results)
    assert len(handed_out) <= 4 * 8
    assert sorted([first, *results]) == [(number, number * 2) for number in range(1000)]


def test_in_parallel_cancels_the_rest_when_the_loop_is_left():
    left, done = threading.Event(), []

    def work(number: int) -> None:
        if number:
            left.wait(timeout=10)
        done.append(number)

    for _ in in_parallel(work, range(10_000), threads=2):
        threading.Timer(0.5, left.set).start()
        break
    assert len(done) <= 3  # the first, and those that two threads were at


def test_inspector_does_not_hide_unexpected_errors(sample, tmp_path):
    with pytest.raises(ZeroDivisionError), Inspector(sample, read=lambda *_, **__: 1 / 0) as inspector:
        inspector.inspect(list_videos(sample / "test_videos", ".mp4").values())


def test_read_header_closes_files_that_fail(sample, tmp_path):
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"no video")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    for _ in range(20):
        with pytest.raises(BadVideoError):
            read_header(broken)
    after = len(os.listdir("/proc/self/fd")) if before else 0  # noqa: PTH208
    assert after == before
