"""Verifying data: problems of files, the cache of what was read, and the status of a folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.inspection import Inspector
from dfdc_kit.data.integrity import ExpectedFile, VerifyReport, ranges, status, verify
from dfdc_kit.data.video_header import NO_ACCESS, BadVideoError, read_header
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import file_sha256

CHALLENGE = challenges.load()
TRAIN = "train_sample_videos"
CLIP = "bvynulvsuv.mp4"  # with sound


@pytest.fixture
def data(sample, tmp_path) -> Path:
    """A copy of the sample's training folder and its public test."""
    for name in (TRAIN, "test_videos"):
        shutil.copytree(sample / name, tmp_path / "data" / name)
    shutil.copy(sample / "sample_submission.csv", tmp_path / "data")
    return tmp_path / "data"


def problems(report: VerifyReport) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in report.problems]


# ------------------------------------------------------------------------------------------------ what is wrong with it


def faststart(path: Path) -> bytes:
    """A clip whose index comes first: cut off anywhere, it still opens."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(20):
            pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def only_audio(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def damaged(content: bytes) -> bytes:
    """Some bytes of the pictures changed: enough for a decoder to stumble."""
    at = len(content) // 2
    return content[:at] + bytes(value ^ 0x55 for value in content[at : at + 512]) + content[at + 512 :]


FAULTS = {
    "zero bytes": (lambda clip, _: b"", "empty", "0 bytes"),
    "end missing": (lambda clip, _: clip[: len(clip) * 9 // 10], "cut-off", "bytes, expected"),
    "last byte missing": (lambda clip, _: clip[:-1], "cut-off", "expected"),
    "end missing, index first": (lambda _, tmp: faststart(tmp)[:-100], "cut-off", "expected"),
    "index lost": (lambda clip, _: clip.replace(b"moov", b"lost"), "unreadable", "the decoder reports"),
    "no video at all": (lambda *_: b"not a video" * 1000, "unreadable", "the decoder reports"),
    "no decoder": (lambda clip, _: clip.replace(b"avc1", b"none"), "unreadable", "no decoder"),
    "audio only": (lambda _, tmp: only_audio(tmp), "no-video", "no video stream"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_verify_names_a_broken_file_and_its_reason(kind, data, tmp_path):
    broken, code, seen = FAULTS[kind]
    path = data / TRAIN / CLIP
    path.write_bytes(broken(path.read_bytes(), tmp_path / "made.mp4"))
    report = verify(data, CHALLENGE)
    assert problems(report) == [(f"{TRAIN}/{CLIP}", code)]
    assert seen in report.problems[0].reason
    assert problems(verify(data, CHALLENGE)) == problems(report)  # as remembered


def test_verify_finds_damage_inside_only_with_deep(data):
    path = data / TRAIN / CLIP
    path.write_bytes(damaged(path.read_bytes()))
    assert verify(data, CHALLENGE).problems == []
    report = verify(data, CHALLENGE, deep=True)
    assert problems(report) == [(f"{TRAIN}/{CLIP}", "damaged")]
    assert "of 30 frames" in report.problems[0].reason


def test_read_header_reports_missing_frames(tmp_path):
    """As if the index listed a tenth more than the file has."""
    faststart(tmp_path / "few.mp4")
    assert read_header(tmp_path / "few.mp4", deep=True).frames == 20
    with pytest.raises(BadVideoError, match="20 frames decoded, 20 in the index"):
        read_header(tmp_path / "few.mp4", deep=True, min_decoded=1.1)


def test_verify_deep_finds_the_bundled_sample_intact(sample, tmp_path):
    report = verify(sample, CHALLENGE, deep=True, cache=tmp_path / "cache")
    assert report.problems == []
    assert (report.files, report.read) == (32, 32)
    assert report.bytes == sum(path.stat().st_size for path in sample.glob("*/*.mp4"))


def test_verify_names_missing_and_unlisted_videos(data):
    (data / TRAIN / CLIP).rename(data / TRAIN / "other.mp4")
    (data / "test_videos" / "csjgbjbvpc.mp4").unlink()
    assert problems(verify(data, CHALLENGE)) == [
        ("test_videos/csjgbjbvpc.mp4", "missing"),
        (f"{TRAIN}/{CLIP}", "missing"),
        (f"{TRAIN}/other.mp4", "unlisted"),
    ]


def test_verify_reports_a_folder_without_videos_once(data):
    part = data / "dfdc_train_part_3"
    part.mkdir()
    shutil.copy(data / TRAIN / "metadata.json", part)
    report = verify(data, CHALLENGE)
    assert problems(report) == [("dfdc_train_part_3", "no-videos")]
    assert report.problems[0].reason == "metadata.json lists 16, none is present"


def test_verify_compares_size_and_digest_with_the_download(data):
    train = (data / TRAIN).resolve()
    good, longer, other, gone = (train / name for name in (CLIP, "ctgsmwmfcz.mp4", "dektzioxxq.mp4", "gone.mp4"))
    size = other.stat().st_size
    expected = {
        good: ExpectedFile(size_bytes=good.stat().st_size, sha256=file_sha256(good)),
        longer: ExpectedFile(size_bytes=longer.stat().st_size + 1),
        other: ExpectedFile(size_bytes=size, sha256=file_sha256(other)),
        gone: ExpectedFile(size_bytes=1),
    }
    content = bytearray(other.read_bytes())
    content[size // 2] ^= 1
    other.write_bytes(content)
    assert verify(data, CHALLENGE).problems == []  # headers are remembered, and no digest
    for _ in range(2):  # the second time as remembered
        found = problems(verify(data, CHALLENGE, expected=expected))
        assert found == [
            (f"{TRAIN}/ctgsmwmfcz.mp4", "wrong-size"),
            (f"{TRAIN}/dektzioxxq.mp4", "wrong-content"),
            (f"{TRAIN}/gone.mp4", "missing"),
        ]


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_verify_fails_when_there_is_nothing_to_verify(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataMissingError):
        verify(tmp_path / name, CHALLENGE)


@pytest.mark.parametrize("look", [verify, status], ids=["verify", "status"])
def test_unreadable_folder_is_one_sentence(look, data, monkeypatch):
    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(DataMissingError, match=r"Cannot read .*: Permission denied") as caught:
        look(data, CHALLENGE)
    assert caught.value.hint


def test_verify_refuses_broken_metadata(data):
    (data / TRAIN / "metadata.json").write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        verify(data, CHALLENGE)


def test_verify_reads_again_what_could_not_be_read_before(data):
    """A permission error says nothing about the file."""

    def denied(*_: object, **__: object) -> None:
        raise BadVideoError(NO_ACCESS, "Permission denied")

    assert {code for _, code in problems(verify(data, CHALLENGE, read=denied))} == {"no-access"}
    again = verify(data, CHALLENGE)
    assert (again.read, again.problems) == (32, [])


def test_read_header_distinguishes_no_access_from_no_video(tmp_path):
    for path, said in ((tmp_path, "Is a directory"), (tmp_path / "nowhere.mp4", "No such file")):
        with pytest.raises(BadVideoError, match=said) as caught:
            read_header(path)
        assert caught.value.fault.code == NO_ACCESS


# --------------------------------------------------------------------------------------------------- what is remembered


def test_verify_reads_only_new_and_changed_files_the_second_time(data):
    assert verify(data, CHALLENGE).read == 32
    assert verify(data, CHALLENGE).read == 0
    os.utime(data / TRAIN / CLIP, ns=(1, 1))
    (data / TRAIN / "new.mp4").write_bytes((data / TRAIN / CLIP).read_bytes())
    assert verify(data, CHALLENGE).read == 2
    assert verify(data, CHALLENGE, deep=True).read == 33
    assert verify(data, CHALLENGE, deep=True).read == 0
    assert verify(data, CHALLENGE).read == 0
    assert not (data / ".dfdc").exists()


def test_interrupted_verify_continues_where_it_stopped(data):
    def stop_at_ten(done: int, _total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(data, CHALLENGE, progress=stop_at_ten)
    assert verify(data, CHALLENGE).read == 22


def test_cache_with_half_a_line_loses_that_line_only(data):
    verify(data, CHALLENGE)
    cache = Path(verify(data, CHALLENGE).cache)
    cache.write_bytes(cache.read_bytes()[:-20])
    assert verify(data, CHALLENGE).read == 1
    assert verify(data, CHALLENGE).read == 0


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b'{"version":0}\n{"name":"a"}', b"[]\n\n{}"])
def test_cache_of_another_format_is_ignored(data, content):
    cache = Inspector(data).cache_file
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(content)
    report = verify(data, CHALLENGE)
    assert (report.read, report.problems) == (32, [])


def test_killed_verify_continues_and_finds_the_same(data, tmp_path):
    """SIGKILL while files are read; what was written until then is good, and the rest is read by the next run."""
    (data / TRAIN / CLIP).write_bytes(b"")
    running = subprocess.Popen([sys.executable, "-c", EAGER, data], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    while running.stdout.readline().strip() != "12":
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    report = verify(data, CHALLENGE)
    assert report.read == 32 - 12
    assert problems(report) == [(f"{TRAIN}/{CLIP}", "empty")]


def test_verify_works_without_a_writable_cache(data, tmp_path):
    (tmp_path / "file").write_text("")
    report = verify(data, CHALLENGE, cache=tmp_path / "file" / "cache")
    assert (report.read, report.problems, report.cached) == (32, [], False)


def test_verify_escapes_names_that_are_not_utf8(data):
    odd = os.fsencode(data / TRAIN) + b"/\xff.mp4"
    shutil.copy(data / TRAIN / CLIP, odd)
    assert problems(verify(data, CHALLENGE)) == [(f"{TRAIN}/\\udcff.mp4", "unlisted")]
    assert verify(data, CHALLENGE).read == 0


# ---------------------------------------------------------------------------------------------------------- at a glance


def test_status_counts_folders_classes_and_parts(data):
    part = data / "dfdc_train_part_7"
    part.mkdir()
    rows = {"r.mp4": {"label": "REAL"}, "f.mp4": {"label": "FAKE", "original": "r.mp4"}}
    (part / "metadata.json").write_text(json.dumps(rows))
    (part / "r.mp4").write_bytes(b"12345")
    (data / "dfdc_train_part_8").mkdir()
    (data / "dfdc_train_part_8" / "x.mp4").write_bytes(b"1")
    (data / "notes").mkdir()
    (data / "dfdc_train_part_9").mkdir()
    (data / "dfdc_train_part_9" / "metadata.json").write_text(json.dumps(rows))
    progress: list[tuple[int, int]] = []
    report = status(data, CHALLENGE, lambda done, total: progress.append((done, total)))
    assert progress == [(done, 7) for done in range(1, 8)]
    found = {folder.name: folder for folder in report.folders}
    assert list(found) == ["test_videos", TRAIN, "dfdc_train_part_7", "dfdc_train_part_8", "dfdc_train_part_9"]
    seven = found["dfdc_train_part_7"]
    assert (seven.part, seven.videos, seven.bytes, seven.listed, seven.missing) == (7, 1, 5, 2, 1)
    assert (seven.fake, seven.real, seven.originals, seven.originals_missing) == (1, 1, 1, 0)
    assert (found["dfdc_train_part_8"].part, found["dfdc_train_part_8"].fake) == (8, None)
    assert (found[TRAIN].fake, found[TRAIN].real, found[TRAIN].missing) == (8, 8, 0)
    assert report.parts_missing == [part for part in range(50) if part not in (7, 8)]  # of 9, there is no video
    assert (report.videos, report.fake, report.real, report.missing) == (34, 10, 10, 3)


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 4, 6, 7], "0-2,4,6-7"), (range(50), "0-49")]
)
def test_ranges_of_numbers(numbers, text):
    assert ranges(numbers) == text


# --------------------------------------------------------------------------------------------------------- the commands


def test_verify_and_status_commands(dfdc, data):
    intact = dfdc("data", "verify", data)
    assert (intact.returncode, intact.stderr) == (0, "")
    assert "32 videos, 1.8 MiB, 32 of them read now" in intact.stdout
    assert intact.stdout.endswith("\nOK\n")
    (data / TRAIN / CLIP).write_bytes(b"")
    broken = dfdc("data", "verify", ".", cwd=data)
    assert broken.returncode == 3
    assert f"empty {TRAIN}/{CLIP}: 0 bytes" in broken.stdout
    assert "1 PROBLEM: 1 empty" in broken.stdout
    report = json.loads(dfdc("data", "verify", data, "--deep", "--json").stdout)
    assert report["problems"] == [{"path": f"{TRAIN}/{CLIP}", "code": "empty", "reason": "0 bytes"}]
    assert report["read"] == 31

    said = dfdc("data", "status", data)
    assert said.returncode == 0
    assert "0 of 50 parts; missing: 0-49" in said.stdout
    assert json.loads(dfdc("data", "status", "--json", cwd=data).stdout)["videos"] == 32
    assert dfdc("data", "status", data / "nowhere").returncode == 3


def test_ctrl_c_stops_verify_and_keeps_what_was_read(data):
    running = subprocess.Popen([sys.executable, "-c", SLOW, str(data)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    while running.stdout.readline().strip() != "10":
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert 0 < verify(data, CHALLENGE).read <= 32 - 10


EAGER = """
import sys, time
from pathlib import Path
from dfdc_kit import challenge
from dfdc_kit.data import inspection
from dfdc_kit.data.integrity import verify
inspection.FLUSH_S = 0
def slow(done, total):
    print(done, flush=True)
    time.sleep(60 if done == 12 else 0)
verify(Path(sys.argv[1]), challenge.load(), progress=slow)
"""

SLOW = """
import itertools, sys, time
from pathlib import Path
from dfdc_kit import challenge
from dfdc_kit.data.integrity import verify
from dfdc_kit.data.video_header import read_header
count = itertools.count()
def slow(path, *, deep=False):
    time.sleep(3 * (next(count) >= 10))
    return read_header(path, deep=deep)
try:
    verify(Path(sys.argv[1]), challenge.load(), read=slow, progress=lambda done, total: print(done, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_verify_names_part_2_before_part_10(tmp_path):
    for part in (0, 2, 10):
        folder = tmp_path / f"dfdc_train_part_{part}"
        folder.mkdir()
        (folder / "metadata.json").write_text(json.dumps({f"a{part}.mp4": {"label": "REAL"}}))
    report = verify(tmp_path, challenges.load(), cache=tmp_path / "cache")
    assert [problem.path for problem in report.problems] == [f"dfdc_train_part_{part}" for part in (0, 2, 10)]
