"""frames.py and faces.py of the baselines: the wanted frames, bit for bit, whatever the file; the main face of them."""

import importlib.util
import os
import random
import struct
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-stats"
CLIPS = sorted((ROOT / "sample_data/test_videos").glob("*.mp4"))
TWO_FACES = {"jjjlrklncs.mp4", "wxohgajvhe.mp4"}  # of the sample's test videos


def load(name: str) -> ModuleType:
    """A module of the baseline, under the name by which its neighbours import it."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


frames = load("frames")


def write(path: Path, codec: str = "libx264", count: int = 60, size: tuple[int, int] = (192, 160), **options: str):
    """A video of moving noise."""
    rng = np.random.default_rng(1)
    pixels = {"mjpeg": "yuvj420p"}.get(codec, options.pop("pixels", "yuv420p"))
    width, height = size
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.thread_count = 1
        for number in range(count):
            picture = ((ramp + 5 * number) % 200 + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path) -> list[np.ndarray]:
    """Every frame, by plain decoding."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]


KINDS = {
    "h264": ("libx264", "mp4", {"bf": "3"}),
    "h264-no-b-frames": ("libx264", "mp4", {"bf": "0"}),
    "h264-interlaced": ("libx264", "mp4", {"x264-params": "interlaced=1"}),
    "h264-without-times": ("libx264", "h264", {"bf": "2"}),
    "h264-ts": ("libx264", "ts", {"bf": "2"}),
    "h264-open-gop": ("libx264", "mp4", {"x264-params": "open-gop=1:keyint=20:bframes=3"}),
    "hevc": ("libx265", "mp4", {"x265-params": "log-level=none"}),
    "mpeg4": ("mpeg4", "avi", {"bf": "2"}),
    "mjpeg": ("mjpeg", "avi", {}),
    "vp9": ("libvpx-vp9", "webm", {"cpu-used": "8"}),
    "av1": ("libsvtav1", "mp4", {"preset": "12", "svtav1-params": "lp=1"}),
}


@pytest.fixture
def as_scheduled_before():
    """As root, SVT-AV1 makes its process a real-time one: what later tests start would starve the rest of them."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, policy, parameters)


@pytest.mark.usefixtures("as_scheduled_before")
@pytest.mark.parametrize("kind", KINDS)
def test_wanted_frames_are_bit_for_bit_those_of_plain_decoding(kind: str, tmp_path: Path):
    codec, suffix, options = KINDS[kind]
    try:
        path = write(tmp_path / f"clip.{suffix}", codec, **options)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode with {codec}")
    whole = decoded(path)
    found = list(frames.stills(path, 10))
    assert [still.index for still in found] == [3, 9, 15, 21, 27, 33, 39, 45, 51, 57]
    for still in found:
        assert (still.frame.to_ndarray(format="yuv420p") == whole[still.index]).all()


@pytest.mark.parametrize("seed", range(8))
def test_no_structure_of_references_changes_a_wanted_frame(seed: int, tmp_path: Path):
    """Encoder settings drawn at random: which frames refer to which differs from file to file."""
    rng = random.Random(seed)
    drawn = {
        "bframes": rng.randint(0, 8),
        "b-pyramid": rng.choice(["none", "strict", "normal"]),
        "b-adapt": rng.randint(0, 2),
        "ref": rng.randint(1, 8),
        "keyint": rng.choice([12, 30, 250]),
        "open-gop": rng.randint(0, 1),
        "weightp": rng.randint(0, 2),
        "slices": rng.randint(1, 4),
        "intra-refresh": rng.randint(0, 1),
    }
    settings = ":".join(f"{name}={value}" for name, value in drawn.items())
    path = write(tmp_path / "clip.mp4", count=50, size=(96, 80), **{"x264-params": settings})
    whole = decoded(path)
    count = rng.randint(1, 50)
    found = list(frames.stills(path, count))
    assert len(found) == count
    for still in found:
        assert (still.frame.to_ndarray(format="yuv420p") == whole[still.index]).all(), drawn


def with_hidden_start(path: Path, count: int, hidden: int, **options: str) -> Path:
    """A video whose edit list shows none of the first `hidden` frames: they are there for the decoder alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 160, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((160, 192, 3), 2 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number - hidden, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_an_edit_list_that_shows_a_part(tmp_path: Path):
    path = with_hidden_start(tmp_path / "clip.mp4", 60, 20, bf="2")
    whole = decoded(path)
    assert len(whole) == 40
    found = list(frames.stills(path, 8))
    assert [still.index for still in found] == [2, 7, 12, 17, 22, 27, 32, 37]
    for still in found:
        assert (still.frame.to_ndarray(format="yuv420p") == whole[still.index]).all()


@pytest.mark.parametrize("b_frames", ["0", "2"])
@pytest.mark.parametrize("hidden", [20, 40, 70])
def test_the_fast_mode_begins_where_an_edit_list_does(hidden: int, b_frames: str, tmp_path: Path):
    """What is hidden is no part of the first third: else there might be no frame, or fewer than in another file."""
    path = with_hidden_start(tmp_path / "clip.mp4", hidden + 48, hidden, bf=b_frames)
    whole = decoded(path)
    assert len(whole) == 48
    found = list(frames.stills(path, 4, fast=True))
    assert 3 <= len(found) <= 4
    assert found[0].index < 6
    assert 10 < found[-1].index < 48 // 3 + 4  # B-frames are shown before the frame that was read before them
    for still in found:
        assert (still.frame.to_ndarray(format="yuv420p") == whole[still.index]).all()


class CountingDecoder:
    """A decoder that counts what it is given and what it gives out."""

    def __init__(self, decoder):
        self.decoder, self.given, self.packets = decoder, 0, 0

    def __getattr__(self, name):
        return getattr(self.decoder, name)

    def __setattr__(self, name, value):
        if name == "skip_frame":
            self.decoder.skip_frame = value
        else:
            super().__setattr__(name, value)

    def decode(self, packet):
        found = self.decoder.decode(packet)
        self.given += len(found)
        self.packets += packet is not None
        return found


def counted(path: Path, way: Callable) -> tuple[list[tuple[int, av.VideoFrame]], CountingDecoder]:
    """Three frames of a video, got in one way of frames.py, and what that cost."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = frames._packets(container, stream)
        decoder = CountingDecoder(stream.codec_context)
        decoder.decoder.thread_count = 1
        return list(way(decoder, packets, 3)), decoder


def test_what_nobody_needs_is_not_decoded(tmp_path: Path):
    found, decoder = counted(write(tmp_path / "clip.mp4", bf="3"), frames._wanted)
    assert [number for number, _ in found] == [10, 30, 50]
    assert decoder.given < 0.75 * 60  # B-frames that no frame refers to are left out
    assert decoder.packets < 60  # and it stops after the last wanted one


@pytest.mark.usefixtures("as_scheduled_before")
@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_mode_gives_frames_of_the_beginning_as_they_are(kind: str, tmp_path: Path):
    """Others than plain reading, but each bit for bit, and read with a third of the packets."""
    codec, suffix, options = KINDS[kind]
    try:
        path = write(tmp_path / f"clip.{suffix}", codec, count=90, **options)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode with {codec}")
    whole = decoded(path)
    found = list(frames.stills(path, 6, fast=True))
    numbers = [still.index for still in found]
    assert 4 <= len(numbers) <= 6
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 8
    assert 20 < numbers[-1] < 36  # B-frames are shown before the frame that was read before them
    for still in found:
        assert (still.frame.to_ndarray(format="yuv420p") == whole[still.index]).all()


def test_the_fast_mode_decodes_a_part_of_a_part(tmp_path: Path):
    path = write(tmp_path / "clip.mp4", bf="3")
    found, decoder = counted(path, frames._early)
    assert len(found) == 3
    assert decoder.packets == 60 // 3
    assert decoder.given < 0.75 * 60 / 3
    assert len(list(frames.stills(path, 40, fast=True))) > 15  # who asks for more is given more of the video


def test_all_frames_of_a_short_video_and_the_beginning_of_a_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "clip.mp4", count=20)
    assert [still.index for still in frames.stills(path, 32)] == list(range(20))
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)
    assert [still.index for still in frames.stills(path, 5)] == [1, 3, 5, 7, 9]
    monkeypatch.setattr(frames, "MAX_BYTES", 1)
    assert [still.index for still in frames.stills(path, 5)] == [0]


def test_damage_in_the_middle_costs_a_few_stills(tmp_path: Path):
    path = write(tmp_path / "clip.mp4", count=60, g="20", movflags="faststart")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(3).bytes(3000)
    path.write_bytes(content)
    assert len(list(frames.stills(path, 20))) >= 12


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "missing"), (b"", "unreadable"), (b"\x07" * 5000, "unreadable")]
)
def test_reasons(content: bytes | None, reason: str, tmp_path: Path):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(frames.UnusableError, match=f"^{reason}$"):
        next(frames.stills(path))


def test_more_reasons(tmp_path: Path):
    with pytest.raises(frames.UnusableError, match=r"^unreadable$"):
        next(frames.stills(tmp_path))  # a folder
    with pytest.raises(frames.UnusableError, match=r"^too-small$"):
        next(frames.stills(write(tmp_path / "small.mp4", size=(48, 320), count=3)))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(frames.UnusableError, match=r"^no-video-stream$"):
        next(frames.stills(tmp_path / "sound.mp4"))


def turned_by_flag(path: Path, target: Path) -> Path:
    """The same file with a display matrix that says: turn by 90 degrees."""
    content = path.read_bytes()
    at = content.index(b"tkhd") + 44
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    target.write_bytes(content[:at] + matrix + content[at + 36 :])
    return target


@pytest.mark.parametrize("turns", range(4))
def test_boxes_are_those_of_the_upright_picture(turns: int, tmp_path: Path):
    still = next(frames.stills(write(tmp_path / "clip.mp4", size=(192, 160)), 1)).turned(turns)
    width, height = still.size
    assert (width, height) == ((160, 192) if turns % 2 else (192, 160))
    assert still.small_bgr.shape[:2] == (round(height / still.scale), round(width / still.scale))
    whole_luma, whole_rgb = still.planes((0, 0, width, height))[0], still.rgb((0, 0, width, height))
    stored = still.frame.to_ndarray(format="yuv420p")[:160]
    assert (whole_luma == np.rot90(stored, turns)).all()
    left, top, across, down = 40, 60, 64, 50
    assert (still.planes((left, top, across, down))[0] == whole_luma[top : top + down, left : left + across]).all()
    cut = still.rgb((left, top, across, down)).astype(int)
    assert np.abs(cut - whole_rgb[top : top + down, left : left + across]).max() <= 2
    assert still.rgb((left, top, 64, 64), 24).shape == (24, 24, 3)


def test_a_rotation_flag_is_obeyed(tmp_path: Path):
    plain = write(tmp_path / "clip.mp4", count=3)
    turned = next(frames.stills(turned_by_flag(plain, tmp_path / "turned.mp4"), 1))
    assert turned.turns % 2 == 1
    assert turned.size == (160, 192)


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv422p", "yuv420p10le"])
def test_odd_sizes_and_other_formats_are_cut(pixels: str, tmp_path: Path):
    size = (191, 161) if pixels == "yuv444p" else (192, 160)
    still = next(frames.stills(write(tmp_path / "clip.mp4", size=size, count=3, pixels=pixels), 1))
    width, height = still.size
    assert (width, height) == (size[0] // 2 * 2, size[1] // 2 * 2)
    assert still.rgb((0, 0, width, height)).shape == (height, width, 3)
    assert [plane.shape for plane in still.planes((-9, -9, 999, 999))] == [
        (height, width), (height // 2, width // 2), (height // 2, width // 2)
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------- many videos


def test_results_come_in_order_and_never_far_ahead():
    started: list[Path] = []
    lock = threading.Lock()

    def work(path: Path) -> str:
        with lock:
            started.append(path)
        if path.name == "3":
            raise frames.UnusableError("broken")
        return path.name

    paths = [Path(str(number)) for number in range(50)]
    results = frames.in_order(work, paths)
    taken = [next(results) for _ in range(5)]
    assert taken[:3] == ["0", "1", "2"]
    assert isinstance(taken[3], frames.UnusableError)
    assert len(started) <= 5 + 2 * frames.cores() + 1
    results.close()
    assert len(started) < 50
    assert [str(result) for result in frames.in_order(work, paths)][4:] == [str(number) for number in range(4, 50)]


def test_a_bug_is_not_a_fallback():
    with pytest.raises(ZeroDivisionError):
        list(frames.in_order(lambda path: 1 // 0, [Path("a")]))


# --------------------------------------------------------------------------------------------------------------- faces


@pytest.fixture(scope="module")
def faces() -> ModuleType:
    pytest.importorskip("cv2", reason="YuNet runs in opencv-python-headless")
    return load("faces")


@pytest.mark.parametrize("path", [CLIPS[0], CLIPS[5]], ids=lambda path: path.name)
def test_the_main_face_is_in_every_still(faces: ModuleType, path: Path):
    tracks = faces.follow(path, lambda still, face: (still.index, face), 8)
    assert len(tracks) == (2 if path.name in TWO_FACES else 1)
    for track in tracks:
        assert len(track.faces) == len(track.indices) == 8
        assert track.seen == list(zip(track.indices, track.faces, strict=True))
        assert all(50 < face.side < 300 for face in track.faces)


def test_a_face_on_its_side_is_found_by_turning(faces: ModuleType, tmp_path: Path):
    path = turned_by_flag(CLIPS[0], tmp_path / "turned.mp4")  # an upright picture, and a flag that says to turn it
    plain, turned = (faces.follow(clip, lambda still, face: still.turns, 8)[0] for clip in (CLIPS[0], path))
    assert set(turned.seen) == {0}  # turned back
    assert [face.middle for face in turned.faces] == [face.middle for face in plain.faces]


def test_nobody_there(faces: ModuleType, tmp_path: Path):
    with pytest.raises(frames.UnusableError, match=r"^no-face$"):
        faces.follow(write(tmp_path / "clip.mp4", count=4), lambda still, face: None, 2)


def test_a_face_of_a_pixel_is_none(faces: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    still = next(frames.stills(write(tmp_path / "clip.mp4", size=(64, 64), count=1), 1))  # enlarged ten times
    row = np.array([[5, 5, 8, 30, *[10] * 10, 0.9], [5, 5, 80, 90, *[10] * 10, 0.9]], np.float32)
    monkeypatch.setattr(faces, "_detect", lambda picture: row)
    assert [(face.width, face.height) for face in faces.find(still)] == [(8, 9)]


sides = st.integers(10, 900)


@given(left=st.integers(-50, 640), top=st.integers(-50, 360), width=sides, height=sides, margin=st.floats(0, 1))
def test_a_square_lies_in_the_picture_on_even_sides(left: int, top: int, width: int, height: int, margin: float):
    pytest.importorskip("cv2", reason="YuNet runs in opencv-python-headless")
    face = load("faces").Face(left, top, width, height, 0.9, np.zeros((5, 2)))
    x, y, across, down = face.square((640, 360), margin)
    assert across == down
    assert (x % 2, y % 2, across % 2) == (0, 0, 0)
    assert 0 <= x <= 640 - across
    assert 0 <= y <= 360 - down


def test_two_faces_that_swap_size_keep_their_tracks(faces: ModuleType):
    track = faces.Track([faces.Face(0, 0, 100, 100, 0.9, np.zeros((5, 2)))])
    near = faces.Face(30, 0, 110, 110, 0.9, np.zeros((5, 2)))
    far = faces.Face(300, 0, 100, 100, 0.9, np.zeros((5, 2)))
    large = faces.Face(0, 0, 200, 200, 0.9, np.zeros((5, 2)))
    assert track.distance(near) < 1
    assert track.distance(far) == track.distance(large) == float("inf")
