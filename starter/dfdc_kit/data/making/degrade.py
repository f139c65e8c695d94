"""Degrade a clip: what uploads, cameras and the test sets of the challenge did to videos.

Kinds: the three test degradations of the preview paper (arXiv 1910.08854: 15 frames a second, a quarter of the
resolution, lower encoding quality), and the augmentations and distractors of the data set paper (arXiv 2006.07397).
Frames are decoded, filtered (libavfilter), drawn on (numpy) and encoded once; audio is copied unchanged. Strength and
position are random, and the same for the same seed and key.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import DataError, UsageError, suggest
from dfdc_kit.files import writing_to

# ------------------------------------------------------------------------------------------------------------- overlays

Pixels = npt.NDArray[np.float32]

# A font of 5 x 7 pixels: five columns of each letter, the lowest bit on top
COLUMNS = (
    "3E5149453E00427F400072494949462141494D331814127F1027454545393C4A49493141211109073649494936464949291E"
    "7C1211127C7F494949363E414141227F4141413E7F494949417F090909013E414151737F0808087F00417F41002040413F01"
    "7F081422417F404040407F021C027F7F0408107F3E4141413E7F090909063E4151215E7F09192946264949493203017F0103"
    "3F4040403F1F2040201F3F4038403F631408146303047804036159494D430000000000"
)
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ "
FONT = {letter: bytes.fromhex(COLUMNS)[at * 5 : at * 5 + 5] for at, letter in enumerate(LETTERS)}
WORDS = ("LIVE", "NEWS", "BREAKING", "REPLAY", "SAMPLE", "SUBSCRIBE", "CHANNEL", "TODAY", "STUDIO", "SCENE")
MOST_IN_A_CLIP = 3


@dataclass(frozen=True)
class Overlay:
    """One thing drawn over all frames of a clip; lengths as fractions of the frame's height."""

    what: str  # "text", "disc", "ring", "rectangle" or "image"
    text: str
    size: float  # height
    centre: tuple[float, float]  # x, y of the first frame, as fractions of width and height
    drift: tuple[float, float]  # of the centre, a frame
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]  # RGB
    opacity: float
    phase: float  # pattern of a picture, width of a shape


def random_overlays(rng: np.random.Generator, kind: str) -> tuple[Overlay, ...]:
    """One to three overlays, the first near the middle of the frame, where most faces are."""
    sizes = {"text": (0.05, 0.12), "shape": (0.1, 0.3), "image": (0.15, 0.35)}[kind]
    made = []
    for number in range(int(rng.integers(1, MOST_IN_A_CLIP + 1))):
        low, high = (0.3, 0.7) if number == 0 else (0.05, 0.95)
        colours = rng.integers(0, 256, (2, 3)).tolist()
        made.append(
            Overlay(
                what=str(rng.choice(["disc", "ring", "rectangle"])) if kind == "shape" else kind,
                text=" ".join(rng.choice(WORDS, int(rng.integers(1, 4)))) + f" {rng.integers(10, 100)}",
                size=float(rng.uniform(*sizes)),
                centre=(float(rng.uniform(low, high)), float(rng.uniform(low, high))),
                drift=(float(rng.normal(0, 0.0015)), float(rng.normal(0, 0.0008))),
                colours=(tuple(colours[0]), tuple(colours[1])),
                opacity=float(rng.uniform(0.65, 1.0)),
                phase=float(rng.uniform(0, 1)),
            )
        )
    return tuple(made)


def draw(frame: av.VideoFrame, overlays: Sequence[Overlay], number: int) -> av.VideoFrame:
    """The frame with the overlays where they are in frame `number`; the frame itself if there are none."""
    if not overlays:
        return frame
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    draw_on(picture, overlays, number)
    drawn = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    drawn.pts, drawn.time_base = frame.pts, frame.time_base
    return drawn


def draw_on(picture: npt.NDArray[np.uint8], overlays: Sequence[Overlay], number: int) -> None:
    """Draw the overlays where they are in frame `number` on `picture` (height, width, 3), in place."""
    height, width = picture.shape[:2]
    for overlay in overlays:
        colour, alpha = _patch(overlay, height)  # (h, w, 3), (h, w, 1)
        h, w = alpha.shape[:2]
        x, y = (start + number * drift for start, drift in zip(overlay.centre, overlay.drift, strict=True))
        left, top = round(x * width - w / 2), round(y * height - h / 2)
        rows = slice(max(top, 0), max(min(top + h, height), 0))
        columns = slice(max(left, 0), max(min(left + w, width), 0))
        inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        under = picture[rows, columns]
        if under.size:
            picture[rows, columns] = np.rint(under + alpha[inside] * (colour[inside] - under)).astype(np.uint8)


@lru_cache(maxsize=64)
def _patch(overlay: Overlay, frame_height: int) -> tuple[Pixels, Pixels]:
    """Colours (h, w, 3) and opacity (h, w, 1) of an overlay in a frame of this height."""
    height = max(8, round(overlay.size * frame_height))
    first, second = (np.array(colour, np.float32) for colour in overlay.colours)
    if overlay.what == "text":
        mask = _letters(overlay.text, max(1, height // 9))
        colour = np.broadcast_to(first, (*mask.shape, 3))
        return colour.copy(), (mask * overlay.opacity)[..., None]
    width = round(height * (0.7 + 1.3 * overlay.phase))
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in (height, width))
    radius = np.hypot(x[None], y[:, None])  # (h, w)
    if overlay.what == "image":  # rings on a gradient, with a frame
        share = 0.5 + 0.5 * np.sin(9 * radius + 6 * overlay.phase) * x[None]
        border = np.maximum(np.abs(x[None]), np.abs(y[:, None])) > 0.92
        picture = first + share[..., None] * (second - first)
        picture[border] = 255 - first
        return picture.astype(np.float32), np.full((height, width, 1), overlay.opacity, np.float32)
    inside = {"disc": radius <= 1, "ring": (radius <= 1) & (radius > 0.65), "rectangle": radius >= 0}[overlay.what]
    return np.broadcast_to(first, (height, width, 3)).copy(), (inside * np.float32(overlay.opacity))[..., None]


def _letters(text: str, scale: int) -> Pixels:
    """(9 * scale, w) 1 inside a letter: the text in FONT with a border of one pixel, enlarged."""
    columns = [0]
    for letter in text:
        columns += [*FONT[letter], 0]
    bits = np.array([[column >> row & 1 for column in columns] for row in range(7)], np.float32)
    return np.pad(bits, 1).repeat(scale, axis=0).repeat(scale, axis=1)


# --------------------------------------------------------------------------------------------------------- degradations

GOOD_CRF = 23  # x264's quality of every copy that is not meant to suffer from its encoding; 0 is lossless, 51 worst
NOISY_CRF = 30  # noise costs bits: with this, a copy takes about ten times its source
EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2"  # yuv420p has even sides
BACK_TO_SIZE = "scale={width}:{height}:flags=bicubic+bitexact+accurate_rnd"
UPRIGHT = {90: "transpose=cclock", -90: "transpose=clock", 180: "hflip,vflip", -180: "hflip,vflip"}


@dataclass(frozen=True)
class Settings:
    """What is done to one clip."""

    filters: str = ""  # of libavfilter; {width} and {height} are those of the clip
    crf: int = GOOD_CRF
    overlays: tuple[Overlay, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One way to degrade a clip."""

    family: str
    title: str
    settings: Callable[[np.random.Generator], Settings]


def _filtered(text: Callable[[np.random.Generator], str]) -> Callable[[np.random.Generator], Settings]:
    return lambda rng: Settings(text(rng))


def _brightness(rng: np.random.Generator) -> str:
    gain, lift = rng.choice([rng.uniform(0.55, 0.8), rng.uniform(1.25, 1.6)]), rng.uniform(-35, 35)
    return f"lutyuv=y='clip((val-128)*{gain:.3f}+128+{lift:.1f},16,235)'"


def _noise(rng: np.random.Generator) -> Settings:
    return Settings(f"noise=alls={rng.integers(8, 24)}:allf=t:all_seed={rng.integers(1, 1 << 30)}", NOISY_CRF)


def _rotation(rng: np.random.Generator) -> str:
    angle = rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)  # radians: 3 to 11 degrees
    return f"rotate={angle:.4f}:bilinear=1,crop=trunc(iw*0.42)*2:trunc(ih*0.42)*2,{BACK_TO_SIZE}"


def _crop(rng: np.random.Generator) -> str:
    share, x, y = rng.uniform(0.3, 0.42), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6)
    place = f"(iw-ow)*{x:.3f}:(ih-oh)*{y:.3f}"
    return f"crop=trunc(iw*{share:.3f})*2:trunc(ih*{share:.3f})*2:{place},{BACK_TO_SIZE}"


KINDS = {
    "re-encoding": Kind(
        "control", "encoded once more, nothing else: the effect of the copy itself", lambda _: Settings()
    ),
    "15-fps": Kind("encoding", "15 frames a second", lambda _: Settings("fps=15")),
    "quarter-resolution": Kind(
        "encoding",
        "a quarter of the pixels: half the width and half the height",
        lambda _: Settings("scale=trunc(iw/4)*2:trunc(ih/4)*2:flags=area+bitexact+accurate_rnd"),
    ),
    "low-bit-rate": Kind(
        "encoding", "strong compression (x264, CRF 36 to 42)", lambda rng: Settings(crf=int(rng.integers(36, 43)))
    ),
    "noise": Kind("quality", "new noise in every frame", _noise),
    "blur": Kind("quality", "Gaussian blur", _filtered(lambda rng: f"gblur=sigma={rng.uniform(1.2, 3):.2f}")),
    "brightness-contrast": Kind("colour", "brighter or darker, more or less contrast", _filtered(_brightness)),
    "colour": Kind(
        "colour",
        "shifted hue and saturation",
        _filtered(lambda rng: f"hue=h={rng.choice([-1, 1]) * rng.uniform(8, 30):.1f}:s={rng.uniform(0.4, 1.7):.2f}"),
    ),
    "greyscale": Kind("colour", "no colour", lambda _: Settings("hue=s=0")),
    "flip": Kind("geometry", "mirrored", lambda _: Settings("hflip")),
    "rotation": Kind("geometry", "rotated by 3 to 11 degrees and enlarged", _filtered(_rotation)),
    "crop": Kind("geometry", "60 to 84 % of each side, enlarged", _filtered(_crop)),
    "text": Kind("distractor", "lines of text that drift", lambda rng: Settings(overlays=random_overlays(rng, "text"))),
    "shapes": Kind(
        "distractor",
        "rectangles, discs and rings that drift",
        lambda rng: Settings(overlays=random_overlays(rng, "shape")),
    ),
    "images": Kind(
        "distractor", "small pictures that drift", lambda rng: Settings(overlays=random_overlays(rng, "image"))
    ),
}


def select_kinds(text: str) -> list[str]:
    """The kinds in a comma-separated list, in the order of KINDS; all of them if it is empty. Raises UsageError."""
    names = [name.strip() for name in text.split(",") if name.strip()] or list(KINDS)
    for name in names:
        if name not in KINDS:
            raise UsageError(f"Unknown degradation {name!r}.", hint=suggest(name, KINDS, label="Degradations"))
    return [name for name in KINDS if name in names]


def random_for(*key: object) -> np.random.Generator:
    """A random generator that depends on `key` only."""
    digest = hashlib.sha256("/".join(map(str, key)).encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def degrade_clip(source: Path, target: Path, kind: str, rng: np.random.Generator) -> None:
    """Write a degraded copy of `source` to `target`: an MP4 with H.264 and the source's audio, written as a whole.

    Raises DataError if the source cannot be decoded, OutputError if the target cannot be written.
    """
    settings = KINDS[kind].settings(rng)
    with writing_to(target) as part:
        try:
            count = _convert(source, part, settings)
        except (av.FFmpegError, IndexError, ValueError) as error:
            if isinstance(error, OSError) and error.filename and Path(error.filename) == part:
                raise  # translated by writing_to
            raise DataError(f"{source} cannot be decoded: {error}.") from error
        if not count:
            raise DataError(f"{source} has no frame that can be decoded.")


def frame_as_jpeg(clip: Path, at: int, width: int) -> bytes:
    """Frame number `at` of a clip (the last one before, if it is shorter) as a JPEG file `width` pixels wide.

    Empty if no frame can be decoded.
    """
    shown: av.VideoFrame | None = None
    with suppress(av.FFmpegError, IndexError), av.open(str(clip), metadata_errors="ignore") as box:
        for number, frame in enumerate(box.decode(box.streams.video[0])):
            shown = frame
            if number == at:
                break
    if shown is None:
        return b""
    height = max(2, round(width * shown.height / shown.width) // 2 * 2)
    small = shown.reformat(width=width, height=height, format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    small.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])


def _convert(source: Path, target: Path, settings: Settings) -> int:
    """Decode, degrade, encode; the number of frames written."""
    count = 0
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with (
        av.open(str(source), metadata_errors="ignore") as box,
        av.open(str(target), "w", format="mp4", options=options) as made,
    ):
        stream = box.streams.video[0]
        stream.thread_count = 1  # one clip per worker
        audio = box.streams.audio[0] if box.streams.audio else None
        sound = made.add_stream_from_template(audio) if audio else None
        encoder: Any = None
        for frame in _degraded(box.decode(stream), stream, settings):
            if encoder is None:
                encoder = _encoder(made, frame, stream, settings)
            count += 1
            made.mux(encoder.encode(frame))
        if encoder is not None:
            made.mux(encoder.encode(None))
        if sound is not None and encoder is not None:
            box.seek(0)
            for packet in box.demux(audio):
                if packet.dts is not None:
                    packet.stream = sound
                    made.mux(packet)
    return count


def _encoder(made: Any, frame: av.VideoFrame, stream: Any, settings: Settings) -> Any:
    rate = 15 if settings.filters.startswith("fps=15") else stream.average_rate or 30
    video = made.add_stream("libx264", rate=rate)
    video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
    video.codec_context.thread_count = 1  # the same bytes on every machine
    video.codec_context.time_base = frame.time_base
    # mbtree off: at 360 pixels width x264 reads memory it never wrote there, and no two files are alike
    video.options = {"preset": "veryfast", "crf": str(settings.crf), "profile": "high", "g": "250", "mbtree": "0"}
    return video


def _degraded(frames: Iterator[av.VideoFrame], stream: Any, settings: Settings) -> Iterator[av.VideoFrame]:
    """The frames, filtered and drawn on, yuv420p."""
    graph: av.filter.Graph | None = None
    done = 0
    size = (0, 0)
    for frame in frames:
        if graph is None or (frame.width, frame.height) != size:  # a stream may change its size
            if graph is not None:
                break  # an encoder cannot: what comes after is left out
            size = (frame.width, frame.height)
            graph = _graph(frame, stream, settings)
        graph.vpush(frame)
        for degraded in _pulled(graph):
            yield draw(degraded, settings.overlays, done)
            done += 1
    if graph is not None:
        graph.vpush(None)
        for degraded in _pulled(graph):
            yield draw(degraded, settings.overlays, done)
            done += 1


def _pulled(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _graph(frame: av.VideoFrame, stream: Any, settings: Settings) -> av.filter.Graph:
    """The filters of one clip, first frame `frame`: upright, even sides, the degradation, yuv420p."""
    turn = UPRIGHT.get(round(frame.rotation), "")
    sideways = "transpose" in turn
    width, height = (frame.height, frame.width) if sideways else (frame.width, frame.height)
    own = settings.filters.format(width=width // 2 * 2, height=height // 2 * 2)
    graph = av.filter.Graph()
    chain = [graph.add_buffer(template=stream)]
    for one in filter(None, [turn, EVEN, *_split(own), "format=yuv420p"]):
        for step in one.split(",") if one == turn else [one]:
            name, _, arguments = step.partition("=")
            chain.append(graph.add(name, arguments or None))
    chain.append(graph.add("buffersink"))
    graph.link_nodes(*chain).configure()
    return graph


def _split(filters: str) -> list[str]:
    """The filters of a chain; commas inside quotes do not separate."""
    parts, quoted = [""], False
    for letter in filters:
        quoted ^= letter == "'"
        if letter == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
