"""Degraded copies of clips and of data folders."""

import json
import shutil
from collections import Counter

import av
import numpy as np
import pytest

from dfdc_kit.data.making.copies import LIST, degrade_folder
from dfdc_kit.data.making.degrade import KINDS, degrade_clip, frame_as_jpeg, random_for, select_kinds
from dfdc_kit.errors import DataError, DataMissingError, OutputError, UsageError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A clip of 12 frames, 96 x 64 pixels, 24 frames a second, with audio: a moving gradient."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as box:
        video = box.add_stream("libx264", rate=24, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = box.add_stream("aac", rate=44100, layout="mono")
        for number in range(12):
            across, down = np.meshgrid(np.arange(96), np.arange(64))
            squares = (across // 4 + down // 4 + number) % 2 * 60
            image = np.stack([across * 2, down * 3, squares], axis=-1).astype(np.uint8)
            box.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        box.mux(video.encode(None))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 44100
        box.mux(sound.encode(tone))
        box.mux(sound.encode(None))
    return path


@pytest.fixture
def folder(clip, tmp_path):
    """A training folder with an original, its fake, and a table."""
    made = tmp_path / "train"
    made.mkdir()
    for name in ("fake.mp4", "real.mp4"):
        shutil.copy(clip, made / name)
    entries = {"fake.mp4": {"label": "FAKE", "original": "real.mp4"}, "real.mp4": {"label": "REAL"}}
    (made / "metadata.json").write_text(json.dumps(entries))
    return made


def pictures(path):
    with av.open(str(path)) as box:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in box.decode(video=0)]


def audio_tracks(path):
    with av.open(str(path)) as box:
        return len(box.streams.audio)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_picture_and_keeps_audio(kind, clip, tmp_path):
    degrade_clip(clip, tmp_path / "copy.mp4", kind, random_for(0, kind))
    first, *others = pictures(tmp_path / "copy.mp4")
    assert len(others) + 1 == (8 if kind == "15-fps" else 12)
    assert first.shape == ((32, 48, 3) if kind == "quarter-resolution" else (64, 96, 3))
    assert audio_tracks(tmp_path / "copy.mp4") == 1
    difference = np.nan if first.shape != pictures(clip)[0].shape else np.abs(pictures(clip)[0] - first).mean()
    assert (difference < 3) == (kind in ("re-encoding", "15-fps"))


def test_low_bit_rate_needs_fewer_bytes_than_re_encoding(clip, tmp_path):
    for kind in ("low-bit-rate", "re-encoding"):
        degrade_clip(clip, tmp_path / f"{kind}.mp4", kind, random_for(0, kind))
    assert (tmp_path / "low-bit-rate.mp4").stat().st_size < (tmp_path / "re-encoding.mp4").stat().st_size


def test_same_seed_gives_the_same_bytes_and_another_seed_others(clip, tmp_path):
    made = []
    for number, seed in enumerate((0, 0, 1)):
        degrade_clip(clip, tmp_path / f"{number}.mp4", "text", random_for(seed, "text"))
        made.append((tmp_path / f"{number}.mp4").read_bytes())
    assert made[0] == made[1] != made[2]


def test_unreadable_clip_raises_data_error_and_leaves_no_file(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.mp4 cannot be decoded"):
        degrade_clip(tmp_path / "broken.mp4", tmp_path / "copy.mp4", "blur", random_for(0))
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_folder_keeps_names_and_labels_and_a_fake_gets_its_originals_kind(folder, tmp_path):
    for seed in range(6):
        report = degrade_folder(folder, tmp_path / f"out{seed}", ["flip", "blur", "15-fps"], seed=seed)
        assert Counter(report.kinds.values()) == {0: 2, 2: 1}
    assert (tmp_path / "out0" / "metadata.json").read_bytes() == (folder / "metadata.json").read_bytes()
    assert (tmp_path / "out0" / LIST).read_text().startswith("path,kind\nfake.mp4,")
    assert (tmp_path / "out0" / "fake.mp4").read_bytes() == (tmp_path / "out0" / "real.mp4").read_bytes()


def test_each_makes_a_complete_folder_for_every_kind(folder, tmp_path):
    degrade_folder(folder, tmp_path / "out", ["flip", "blur"], each=True, workers=2)
    for kind in ("flip", "blur"):
        assert sorted(path.name for path in (tmp_path / "out" / kind).iterdir()) == [
            "fake.mp4",
            "metadata.json",
            "real.mp4",
        ]


def test_stopped_command_continues_with_what_is_missing(folder, tmp_path):
    degrade_folder(folder, tmp_path / "out", ["flip"])
    before = (tmp_path / "out" / "real.mp4").read_bytes()
    (tmp_path / "out" / "real.mp4").unlink()
    seen = []
    report = degrade_folder(folder, tmp_path / "out", ["flip"], progress=lambda done, total: seen.append((done, total)))
    assert report.made_now == 1
    assert seen == [(1, 2), (2, 2)]
    assert (tmp_path / "out" / "real.mp4").read_bytes() == before


def test_unreadable_clip_in_a_folder_is_copied_unchanged_and_named(folder, tmp_path):
    (folder / "broken.mp4").write_bytes(b"nothing")
    for _ in range(2):  # the second time it is there already
        report = degrade_folder(folder, tmp_path / "out", ["flip"], warn=(warnings := []).append)
        assert [problem.path for problem in report.problems] == ["broken.mp4"]
    assert (tmp_path / "out" / "broken.mp4").read_bytes() == b"nothing"
    assert warnings == []
    assert "broken.mp4,unchanged" in (tmp_path / "out" / LIST).read_text()


def test_other_options_for_the_same_folder_are_refused(folder, tmp_path):
    degrade_folder(folder, tmp_path / "out", ["flip"])
    with pytest.raises(UsageError, match="seed was 0"):
        degrade_folder(folder, tmp_path / "out", ["flip"], seed=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        degrade_folder(folder, tmp_path / "full", ["flip"])
    with pytest.raises(UsageError, match="would overwrite"):
        degrade_folder(folder, folder, ["flip"])


def test_folder_without_clips_is_an_error(tmp_path):
    with pytest.raises(DataMissingError, match="contains no"):
        degrade_folder(tmp_path, tmp_path / "out", ["flip"])


def test_too_little_room_is_an_error_before_anything_is_made(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("dfdc_kit.files.free_bytes", lambda _: 1000)
    with pytest.raises(OutputError, match="are free") as error:
        degrade_folder(folder, tmp_path / "out", ["flip"])
    assert "--out" in error.value.hint
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_unknown_kind_names_the_nearest_one():
    assert select_kinds("blur, 15-fps") == ["15-fps", "blur"]
    with pytest.raises(UsageError) as caught:
        select_kinds("blurr")
    assert "'blur'" in caught.value.hint


def test_frame_as_jpeg_is_a_small_picture_and_empty_for_a_broken_clip(clip, tmp_path):
    picture = frame_as_jpeg(clip, 5, 48)
    (tmp_path / "picture.jpg").write_bytes(picture)
    assert [one.shape for one in pictures(tmp_path / "picture.jpg")] == [(32, 48, 3)]
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    assert frame_as_jpeg(tmp_path / "broken.mp4", 0, 48) == b""
