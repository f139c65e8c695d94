"""frames.py and faces.py of the baselines: sampled frames are bit for bit exact; the main face is tracked."""

import importlib.util
import os
import random
import struct
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseline_modules import load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines/face-stats"
CLIPS = sorted((ROOT / "sample_data/test_videos").glob("*.mp4"))
TWO_FACES = {"dyblayjxyc.mp4", "wfiwclohvy.mp4"}  # of the sample's test videos


HAS_CV2 = importlib.util.find_spec("cv2") is not None
frames, faces = load(FOLDER, "frames", "faces") if HAS_CV2 else (*load(FOLDER, "frames"), None)
needs_cv2 = pytest.mark.skipif(not HAS_CV2, reason="YuNet runs in opencv-python-headless")


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
def test_sampled_frames_equal_plain_decoding_for_every_codec(kind: str, tmp_path: Path):
    codec, suffix, options = KINDS[kind]
    try:
        path = write(tmp_path / f"clip.{suffix}", codec, **options)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode with {codec}")
    all_frames = decoded(path)
    sampled = list(frames.sample_frames(path, 10))
    assert [frame.index for frame in sampled] == [3, 9, 15, 21, 27, 33, 39, 45, 51, 57]
    for frame in sampled:
        assert (frame.decoded.to_ndarray(format="yuv420p") == all_frames[frame.index]).all()


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 2)) for seed in range(8)])
def test_sampled_frames_equal_plain_decoding_for_random_encoder_settings(seed: int, tmp_path: Path):
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
    all_frames = decoded(path)
    count = rng.randint(1, 50)
    sampled = list(frames.sample_frames(path, count))
    assert len(sampled) == count
    for frame in sampled:
        assert (frame.decoded.to_ndarray(format="yuv420p") == all_frames[frame.index]).all(), drawn


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


def test_edit_list_hides_frames_from_sampling(tmp_path: Path):
    path = with_hidden_start(tmp_path / "clip.mp4", 60, 20, bf="2")
    all_frames = decoded(path)
    assert len(all_frames) == 40
    sampled = list(frames.sample_frames(path, 8))
    assert [frame.index for frame in sampled] == [2, 7, 12, 17, 22, 27, 32, 37]
    for frame in sampled:
        assert (frame.decoded.to_ndarray(format="yuv420p") == all_frames[frame.index]).all()


@pytest.mark.parametrize("b_frames", ["0", "2"])
@pytest.mark.parametrize("hidden", [20, 40, 70])
def test_fast_mode_starts_after_frames_hidden_by_an_edit_list(hidden: int, b_frames: str, tmp_path: Path):
    """Hidden frames do not count for the first third: else there could be no frame, or fewer than in another file."""
    path = with_hidden_start(tmp_path / "clip.mp4", hidden + 48, hidden, bf=b_frames)
    all_frames = decoded(path)
    assert len(all_frames) == 48
    sampled = list(frames.sample_frames(path, 4, fast=True))
    assert 3 <= len(sampled) <= 4
    assert sampled[0].index < 6
    assert 10 < sampled[-1].index < 48 // 3 + 4  # B-frames are shown before the frame that was read before them
    for frame in sampled:
        assert (frame.decoded.to_ndarray(format="yuv420p") == all_frames[frame.index]).all()


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
        packets = frames._read_packets(container, stream)
        decoder = CountingDecoder(stream.codec_context)
        decoder.decoder.thread_count = 1
        return list(way(decoder, packets, 3)), decoder


def test_unneeded_frames_are_not_decoded(tmp_path: Path):
    sampled, decoder = counted(write(tmp_path / "clip.mp4", bf="3"), frames._decode_selected)
    assert [number for number, _ in sampled] == [10, 30, 50]
    assert decoder.given < 0.75 * 60  # B-frames that no frame refers to are left out
    assert decoder.packets < 60  # and it stops after the last wanted one


@pytest.mark.usefixtures("as_scheduled_before")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind not in ("h264", "h264-open-gop"))) for kind in KINDS]
)
def test_fast_mode_returns_exact_frames_of_the_first_third(kind: str, tmp_path: Path):
    """Other frames than exact mode, but each bit for bit, with a third of the packets."""
    codec, suffix, options = KINDS[kind]
    try:
        path = write(tmp_path / f"clip.{suffix}", codec, count=90, **options)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode with {codec}")
    all_frames = decoded(path)
    sampled = list(frames.sample_frames(path, 6, fast=True))
    numbers = [frame.index for frame in sampled]
    assert 4 <= len(numbers) <= 6
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 8
    assert 20 < numbers[-1] < 36  # B-frames are shown before the frame that was read before them
    for frame in sampled:
        assert (frame.decoded.to_ndarray(format="yuv420p") == all_frames[frame.index]).all()


def test_fast_mode_decodes_reference_frames_of_the_first_third_only(tmp_path: Path):
    path = write(tmp_path / "clip.mp4", bf="3")
    sampled, decoder = counted(path, frames._decode_fast)
    assert len(sampled) == 3
    assert decoder.packets == 60 // 3
    assert decoder.given < 0.75 * 60 / 3
    assert len(list(frames.sample_frames(path, 40, fast=True))) > 15  # more frames are taken from more of the video


def test_short_video_is_read_completely_and_long_one_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "clip.mp4", count=20)
    assert [frame.index for frame in frames.sample_frames(path, 32)] == list(range(20))
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)
    assert [frame.index for frame in frames.sample_frames(path, 5)] == [1, 3, 5, 7, 9]
    monkeypatch.setattr(frames, "MAX_BYTES", 1)
    assert [frame.index for frame in frames.sample_frames(path, 5)] == [0]


def test_damaged_packets_cost_a_few_frames_only(tmp_path: Path):
    path = write(tmp_path / "clip.mp4", count=60, g="20", movflags="faststart")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(3).bytes(3000)
    path.write_bytes(content)
    assert len(list(frames.sample_frames(path, 20))) >= 12


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "missing"), (b"", "unreadable"), (b"\x07" * 5000, "unreadable")]
)
def test_unreadable_file_has_a_reason_code(content: bytes | None, reason: str, tmp_path: Path):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(frames.UnusableVideoError, match=f"^{reason}$"):
        next(frames.sample_frames(path))


def test_folder_tiny_video_and_audio_have_reason_codes(tmp_path: Path):
    with pytest.raises(frames.UnusableVideoError, match=r"^unreadable$"):
        next(frames.sample_frames(tmp_path))  # a folder
    with pytest.raises(frames.UnusableVideoError, match=r"^too-small$"):
        next(frames.sample_frames(write(tmp_path / "small.mp4", size=(48, 320), count=3)))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(frames.UnusableVideoError, match=r"^no-video-stream$"):
        next(frames.sample_frames(tmp_path / "sound.mp4"))


def turned_by_flag(path: Path, target: Path) -> Path:
    """The same file with a display matrix that says: turn by 90 degrees."""
    content = path.read_bytes()
    at = content.index(b"tkhd") + 44
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    target.write_bytes(content[:at] + matrix + content[at + 36 :])
    return target


@pytest.mark.parametrize("turns", range(4))
def test_boxes_refer_to_the_upright_picture(turns: int, tmp_path: Path):
    frame = next(frames.sample_frames(write(tmp_path / "clip.mp4", size=(192, 160)), 1)).rotated(turns)
    width, height = frame.size
    assert (width, height) == ((160, 192) if turns % 2 else (192, 160))
    assert frame.small_bgr.shape[:2] == (round(height / frame.scale), round(width / frame.scale))
    whole_luma, whole_rgb = frame.planes((0, 0, width, height))[0], frame.rgb((0, 0, width, height))
    stored = frame.decoded.to_ndarray(format="yuv420p")[:160]
    assert (whole_luma == np.rot90(stored, turns)).all()
    left, top, across, down = 40, 60, 64, 50
    assert (frame.planes((left, top, across, down))[0] == whole_luma[top : top + down, left : left + across]).all()
    cut = frame.rgb((left, top, across, down)).astype(int)
    assert np.abs(cut - whole_rgb[top : top + down, left : left + across]).max() <= 2
    assert frame.rgb((left, top, 64, 64), 24).shape == (24, 24, 3)


def test_rotation_flag_is_applied(tmp_path: Path):
    plain = write(tmp_path / "clip.mp4", count=3)
    turned = next(frames.sample_frames(turned_by_flag(plain, tmp_path / "turned.mp4"), 1))
    assert turned.quarter_turns % 2 == 1
    assert turned.size == (160, 192)


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv422p", "yuv420p10le"])
def test_odd_sizes_and_other_pixel_formats_are_cropped(pixels: str, tmp_path: Path):
    size = (191, 161) if pixels == "yuv444p" else (192, 160)
    frame = next(frames.sample_frames(write(tmp_path / "clip.mp4", size=size, count=3, pixels=pixels), 1))
    width, height = frame.size
    assert (width, height) == (size[0] // 2 * 2, size[1] // 2 * 2)
    assert frame.rgb((0, 0, width, height)).shape == (height, width, 3)
    assert [plane.shape for plane in frame.planes((-9, -9, 999, 999))] == [
        (height, width), (height // 2, width // 2), (height // 2, width // 2)
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------- many videos


def test_results_are_in_order_with_bounded_read_ahead():
    started: list[Path] = []
    lock = threading.Lock()

    def work(path: Path) -> str:
        with lock:
            started.append(path)
        if path.name == "3":
            raise frames.UnusableVideoError("broken")
        return path.name

    paths = [Path(str(number)) for number in range(50)]
    results = frames.map_in_order(work, paths)
    taken = [next(results) for _ in range(5)]
    assert taken[:3] == ["0", "1", "2"]
    assert isinstance(taken[3], frames.UnusableVideoError)
    assert len(started) <= 5 + 2 * frames.cpu_count() + 1
    results.close()
    assert len(started) < 50
    assert [str(result) for result in frames.map_in_order(work, paths)][4:] == [str(number) for number in range(4, 50)]


def test_other_exceptions_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        list(frames.map_in_order(lambda path: 1 // 0, [Path("a")]))


# --------------------------------------------------------------------------------------------------------------- faces


@needs_cv2
@pytest.mark.parametrize("path", [CLIPS[0], CLIPS[2]], ids=lambda path: path.name)
def test_main_face_is_tracked_in_every_frame(path: Path):
    tracks = faces.track_faces(path, lambda frame, face: (frame.index, face), 8)
    assert len(tracks) == (2 if path.name in TWO_FACES else 1)
    for track in tracks:
        assert len(track.faces) == len(track.indices) == 8
        assert track.measured == list(zip(track.indices, track.faces, strict=True))
        assert all(50 < face.side < 300 for face in track.faces)


@needs_cv2
def test_wrong_rotation_flag_is_corrected(tmp_path: Path):
    clip = CLIPS[9]  # when turned, its face is not found
    path = turned_by_flag(clip, tmp_path / "turned.mp4")  # an upright picture, and a flag that says to turn it
    plain, turned = (faces.track_faces(file, lambda frame, face: frame.quarter_turns, 8)[0] for file in (clip, path))
    assert set(turned.measured) == {0}  # turned back
    assert [face.centre for face in turned.faces] == [face.centre for face in plain.faces]


@needs_cv2
def test_face_that_fills_the_frame_is_found_in_a_smaller_picture(tmp_path: Path):
    """At full size the detector's score is below its threshold."""
    (main_face,) = faces.track_faces(CLIPS[4], lambda frame, face: frame.rgb(face.square(frame.size, -0.25), 360), 6)
    with av.open(str(tmp_path / "face.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 360, 360, "yuv420p"
        for crop in main_face.measured:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode(None))
    assert not any(faces.detect_faces(frame) for frame in frames.sample_frames(tmp_path / "face.mp4", 6))
    (track,) = faces.track_faces(tmp_path / "face.mp4", lambda frame, face: None, 6)
    assert len(track.faces) == 6
    assert all(face.side > 250 for face in track.faces)


@needs_cv2
def test_video_without_a_face_is_unusable(tmp_path: Path):
    with pytest.raises(frames.UnusableVideoError, match=r"^no-face \(best score 0\.\d\d below 0\.70\)$"):
        faces.track_faces(write(tmp_path / "clip.mp4", count=4), lambda frame, face: None, 2)


@needs_cv2
def test_face_smaller_than_the_minimum_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frame = next(frames.sample_frames(write(tmp_path / "clip.mp4", size=(64, 64), count=1), 1))  # enlarged ten times
    row = np.array([[5, 5, 8, 30, *[10] * 10, 0.9], [5, 5, 80, 90, *[10] * 10, 0.9]], np.float32)
    monkeypatch.setattr(faces, "_detect", lambda picture, scale: row)
    assert [(face.width, face.height) for face in faces.detect_faces(frame)] == [(8, 9)]


sides = st.integers(10, 900)


@needs_cv2
@given(left=st.integers(-50, 640), top=st.integers(-50, 360), width=sides, height=sides, margin=st.floats(0, 1))
def test_square_is_even_and_inside_the_picture(left: int, top: int, width: int, height: int, margin: float):
    face = faces.Face(left, top, width, height, 0.9, np.zeros((5, 2)))
    x, y, across, down = face.square((640, 360), margin)
    assert across == down
    assert (x % 2, y % 2, across % 2) == (0, 0, 0)
    assert 0 <= x <= 640 - across
    assert 0 <= y <= 360 - down


@needs_cv2
def test_track_distance_is_infinite_for_another_face():
    track = faces.Track([faces.Face(0, 0, 100, 100, 0.9, np.zeros((5, 2)))])
    near = faces.Face(30, 0, 110, 110, 0.9, np.zeros((5, 2)))
    far = faces.Face(300, 0, 100, 100, 0.9, np.zeros((5, 2)))
    large = faces.Face(0, 0, 200, 200, 0.9, np.zeros((5, 2)))
    assert track.distance(near) < 1
    assert track.distance(far) == track.distance(large) == float("inf")
