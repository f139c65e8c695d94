"""Hard inputs are what their names say, and the same each time."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from dfdc_kit.errors import DataError
from dfdc_kit.harness.rehearsal import hard_inputs
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS, ExpectedBehaviour, make

ROOT = Path(__file__).resolve().parents[2]
CLIPS = sorted((ROOT / "sample_data" / "test_videos").iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    found, left_out = make(tmp_path_factory.mktemp("inputs"), CLIPS, seed=7)
    assert set(left_out) <= {"hevc"}
    return {one.code: one.path for one in found}


def decoded(path: Path) -> tuple[list[av.VideoFrame], str]:
    """The frames that can be had, and the error that ended it."""
    frames: list[av.VideoFrame] = []
    try:
        with av.open(str(path)) as container:
            frames.extend(container.decode(container.streams.video[0]))
    except (av.FFmpegError, IndexError) as error:
        return frames, type(error).__name__
    return frames, ""


@pytest.mark.parametrize("hard", HARD_INPUTS, ids=lambda hard: hard.code)
def test_decodable_is_what_it_says(hard, made):
    if hard.code not in made:
        pytest.skip("no encoder here")
    frames, error = decoded(made[hard.code])
    assert bool(frames) == hard.decodable
    if hard.wanted is ExpectedBehaviour.PREDICTION:
        assert not error
        assert len(frames) >= 12


def test_each_is_odd_in_its_own_way(made):
    frames = {code: decoded(path)[0] for code, path in made.items()}
    size = {code: (some[0].width, some[0].height) for code, some in frames.items() if some}
    assert made["zero-bytes"].stat().st_size == 0
    assert len(frames["one-frame"]) == 1
    assert size["quarter-size"] == (160, 90)
    assert all(side % 2 for side in size["odd-size"])
    assert size["4k"] == (3840, 2160)
    assert abs(frames["rotated"][0].rotation) == 90
    assert frames["black"][0].to_ndarray(format="gray").max() < 20
    assert 0 < len(frames["truncated-half"]) < len(frames["truncated-end"]) < len(frames["upper-case-suffix"])
    assert made["upper-case-suffix"].suffix == ".MP4"
    with av.open(str(made["15-fps"])) as container:
        assert container.streams.video[0].average_rate == Fraction(15)
    times = [frame.pts for frame in frames["variable-rate"]]
    assert len({after - before for before, after in pairwise(times)}) > 1
    with av.open(str(made["ten-times-as-long"])) as container:
        assert container.duration == pytest.approx(100e6, rel=0.01)
    kinds = {code: streams(made[code]) for code in ("no-audio", "audio-only", "rotated")}
    assert kinds == {"no-audio": {"video"}, "audio-only": {"audio"}, "rotated": {"video", "audio"}}
    if "hevc" in made:
        with av.open(str(made["hevc"])) as container:
            assert container.streams.video[0].codec_context.name == "hevc"


def streams(path: Path) -> set[str]:
    with av.open(str(path)) as container:
        return {stream.type for stream in container.streams}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    quick = hard_inputs.chosen(["garbage", "truncated-half", "rotated", "two-faces"])
    make(tmp_path / "one", CLIPS, 1, quick)
    make(tmp_path / "two", CLIPS, 1, quick)
    make(tmp_path / "other", CLIPS, 2, quick)
    content = {name: {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two", "other")}
    assert content["one"] == content["two"]
    assert content["one"]["garbage.mp4"] != content["other"]["garbage.mp4"]


def test_a_missing_encoder_is_told(tmp_path):
    def refuses(_):
        return hard_inputs.encode([hard_inputs.footage.black(64, 64)], codec="no-such-encoder")

    odd = HARD_INPUTS[0]._replace(code="odd", make=refuses)
    made, left_out = make(tmp_path, CLIPS, 0, (odd, HARD_INPUTS[0]))
    assert [one.code for one in made] == ["zero-bytes"]
    assert "cannot encode" in left_out["odd"]


def test_clips_that_cannot_be_decoded(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be decoded"):
        make(tmp_path / "inputs", [tmp_path / "a.mp4"], 0)


def test_the_how_to_lists_every_one():
    page = (ROOT / "docs" / "how-to" / "rehearse.md").read_text("utf-8")
    assert [hard.code for hard in HARD_INPUTS if f"`{hard.code}`" not in page] == []
