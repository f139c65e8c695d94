"""Hard inputs are what their codes say, and the same bytes each time."""

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
    """The frames that can be decoded, and the name of the error after them."""
    frames: list[av.VideoFrame] = []
    try:
        with av.open(str(path)) as container:
            frames.extend(container.decode(container.streams.video[0]))
    except (av.FFmpegError, IndexError) as error:
        return frames, type(error).__name__
    return frames, ""


@pytest.mark.parametrize("hard", HARD_INPUTS, ids=lambda hard: hard.code)
def test_frames_can_be_decoded_exactly_when_the_input_is_marked_decodable(hard, made):
    if hard.code not in made:
        pytest.skip("no encoder here")
    frames, error = decoded(made[hard.code])
    assert bool(frames) == hard.decodable
    if hard.expected is ExpectedBehaviour.PREDICTION:
        assert not error
        assert len(frames) >= 12


def test_each_input_has_the_property_it_is_named_after(made):
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


def test_bytes_are_the_same_when_the_seed_is_the_same(tmp_path):
    quick = hard_inputs.select(["garbage", "truncated-half", "rotated", "two-faces"])
    make(tmp_path / "one", CLIPS, 1, quick)
    make(tmp_path / "two", CLIPS, 1, quick)
    make(tmp_path / "other", CLIPS, 2, quick)
    content = {name: {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two", "other")}
    assert content["one"] == content["two"]
    assert content["one"]["garbage.mp4"] != content["other"]["garbage.mp4"]


def test_input_is_left_out_with_its_reason_when_the_encoder_is_missing(tmp_path):
    def refuses(_):
        return hard_inputs.encode([hard_inputs.footage.black(64, 64)], codec="no-such-encoder")

    odd = HARD_INPUTS[0]._replace(code="odd", make=refuses)
    made, left_out = make(tmp_path, CLIPS, 0, (odd, HARD_INPUTS[0]))
    assert [one.code for one in made] == ["zero-bytes"]
    assert "cannot encode" in left_out["odd"]


def test_error_says_so_when_the_clips_cannot_be_decoded(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="Cannot decode the first clips"):
        make(tmp_path / "inputs", [tmp_path / "a.mp4"], 0)


def test_how_to_page_lists_every_hard_input():
    page = (ROOT / "docs" / "how-to" / "rehearse.md").read_text("utf-8")
    assert [hard.code for hard in HARD_INPUTS if f"`{hard.code}`" not in page] == []
