"""Opens and closes of videos are observed from outside, with inotify and without."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfdc_kit.harness.video_watch import VideoWatch

READER = """
import sys, time
a = open(sys.argv[1] + "/a.mp4"); time.sleep(0.6)
b = open(sys.argv[1] + "/b.mp4"); time.sleep(0.6)  # both open: overlapping readers
a.close(); time.sleep(0.6)
b.close()
c = open(sys.argv[1] + "/c.mp4"); print("c is open", flush=True); time.sleep(60)
"""


@pytest.fixture
def videos(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    return tmp_path


def no_inotify(folder: Path) -> int:
    raise OSError(24, "no watch left")


@pytest.mark.parametrize("open_inotify", [None, no_inotify], ids=["inotify", "polling"])
def test_overlapping_reads_and_an_unfinished_one_are_observed(videos, open_inotify):
    opened: list[str] = []
    with VideoWatch(videos, opened.append, open_inotify=open_inotify) as watch:
        with subprocess.Popen([sys.executable, "-c", READER, videos], stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            time.sleep(0.5)
            stopped = time.time()
            reader.kill()
        time.sleep(0.3)
    a, b, c = watch.reads(stopped)
    assert opened == [a.name, b.name, c.name] == ["a.mp4", "b.mp4", "c.mp4"]
    assert a.closed_s is not None
    assert b.closed_s is not None
    assert a.opened_s < b.opened_s < a.closed_s < b.closed_s
    assert c.closed_s is None, "it was open when the run was stopped"
    assert ("no watch left" in watch.caveat) == (open_inotify is no_inotify)


def test_a_video_opened_twice_counts_once(videos):
    with VideoWatch(videos, lambda _: None) as watch:
        for _ in range(2):
            (videos / "a.mp4").read_bytes()
        (videos / "b.mp4").read_bytes()
    assert [read.name for read in watch.reads()] == ["a.mp4", "b.mp4"]


def test_five_thousand_opens_are_all_observed(videos):
    seen: list[str] = []
    for i in range(5000):
        (videos / f"{i}.mp4").write_bytes(b"")
    with VideoWatch(videos, seen.append) as watch:
        for i in range(5000):
            (videos / f"{i}.mp4").read_bytes()
    assert watch.caveat == ""
    assert len(seen) == len(watch.reads()) == 5000
