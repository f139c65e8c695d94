"""Distractors: text, shapes and small pictures that are drawn over the frames of a clip and drift."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
import numpy.typing as npt

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
