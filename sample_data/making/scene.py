"""Background, people and camera: the original frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from making.portrait import REAL_PEOPLE, Array, Placement, Portrait, draw, poses, waves


@dataclass(frozen=True)
class Light:
    """Light and camera of one clip."""

    gain: float
    gamma: float
    tint: tuple[float, float, float]  # BGR factors
    noise: float  # standard deviation, grey levels
    contrast: float


@dataclass(frozen=True)
class Footage:
    """The original clip: frames (n, h, w, 3) uint8 BGR, and each person's landmarks (n, points, 2)."""

    frames: list[Array]
    faces: dict[str, list[Array]]


def room(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """A synthetic, blurred background with a few objects, (h, w, 3) float32."""
    w, h = size
    palette = np.array(
        [(196, 205, 208), (150, 168, 178), (120, 128, 110), (176, 160, 140), (92, 104, 128), (142, 172, 190)],
        np.float32,
    )
    wall = palette[rng.integers(len(palette))] * rng.uniform(0.75, 1.1)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    glow = np.exp(-(((x / w - rng.uniform(0, 1)) / 0.6) ** 2 + ((y / h - rng.uniform(0, 0.6)) / 0.8) ** 2))
    image = wall * (0.72 + 0.38 * glow[..., None])
    things = [window, shelf, pictures, door, curtain]
    for index in rng.permutation(len(things))[: rng.integers(2, 4)]:
        things[index](image, rng)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.2, 2.6) * h / 360)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (h, w)).astype(np.float32), (0, 0), 1.5)
    return np.clip(image + 3.5 * grain[..., None], 0, 255)


def rectangle(image: Array, x0: float, y0: float, x1: float, y1: float, colour: Array | tuple[float, ...]) -> None:
    """A filled rectangle in place; corners as fractions of width and height."""
    h, w = image.shape[:2]
    cv2.rectangle(image, (int(x0 * w), int(y0 * h)), (int(x1 * w), int(y1 * h)), tuple(float(c) for c in colour), -1)


def paint(rng: np.random.Generator, low: float, high: float) -> Array:
    """A muted colour, BGR, of a brightness between `low` and `high`."""
    return rng.uniform(low, high) * (1 + rng.uniform(-0.13, 0.13, 3))


def window(image: Array, rng: np.random.Generator) -> None:
    """A bright window with a cross of bars."""
    x, y, width = rng.uniform(-0.1, 0.75), rng.uniform(-0.1, 0.15), rng.uniform(0.2, 0.35)
    rectangle(image, x - 0.015, y - 0.03, x + width + 0.015, y + 0.68, (215, 222, 225))
    rectangle(image, x, y, x + width, y + 0.65, np.array([238, 226, 208]) * rng.uniform(0.7, 1.05))
    rectangle(image, x, y + 0.4, x + width, y + 0.65, np.array([150, 178, 150]) * rng.uniform(0.7, 1.1))
    rectangle(image, x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + 0.65, (212, 218, 222))
    rectangle(image, x, y + 0.30, x + width, y + 0.325, (212, 218, 222))


def shelf(image: Array, rng: np.random.Generator) -> None:
    """Two boards of books."""
    x, width = rng.uniform(-0.1, 0.7), rng.uniform(0.3, 0.45)
    for y in (0.12, 0.42, 0.72):
        rectangle(image, x, y, x + width, y + 0.28, (58, 70, 84))
        at = x + 0.01
        while at < x + width - 0.03:
            thick, tall = rng.uniform(0.012, 0.03), rng.uniform(0.15, 0.24)
            rectangle(image, at, y + 0.26 - tall, at + thick, y + 0.26, paint(rng, 30, 170))
            at += thick + 0.003
        rectangle(image, x - 0.01, y + 0.26, x + width + 0.01, y + 0.29, (74, 100, 128))


def pictures(image: Array, rng: np.random.Generator) -> None:
    """A few framed pictures."""
    for _ in range(rng.integers(2, 5)):
        x, y, width, height = (
            rng.uniform(0, 0.9),
            rng.uniform(0.02, 0.5),
            rng.uniform(0.07, 0.16),
            rng.uniform(0.14, 0.28),
        )
        rectangle(image, x - 0.008, y - 0.014, x + width + 0.008, y + height + 0.014, paint(rng, 20, 80))
        rectangle(image, x, y, x + width, y + height, paint(rng, 110, 210))
        rectangle(image, x, y + height * rng.uniform(0.4, 0.7), x + width, y + height, paint(rng, 60, 150))


def door(image: Array, rng: np.random.Generator) -> None:
    """A door with panels."""
    x, wood = rng.uniform(0, 0.8), np.array([120, 150, 175]) * rng.uniform(0.5, 1.2)
    rectangle(image, x - 0.015, 0.0, x + 0.235, 1.0, wood * 0.7)
    rectangle(image, x, 0.02, x + 0.22, 1.0, wood)
    for y in (0.08, 0.55):
        rectangle(image, x + 0.04, y, x + 0.18, y + 0.38, wood * 0.86)


def curtain(image: Array, rng: np.random.Generator) -> None:
    """Folds of cloth along one side."""
    _h, w = image.shape[:2]
    x, width = rng.choice([-0.02, 0.76]), 0.26
    left, right = max(0, int(x * w)), min(w, int((x + width) * w))
    folds = 0.8 + 0.2 * np.sin(np.linspace(0, rng.uniform(25, 45), right - left))
    image[:, left:right] = (paint(rng, 80, 180) * folds[:, None]).astype(np.float32)


def light(rng: np.random.Generator) -> Light:
    """Random light and camera."""
    warm = rng.uniform(-0.07, 0.07)
    return Light(
        rng.uniform(0.75, 1.08),
        rng.uniform(0.9, 1.15),
        (1 - warm, 1.0, 1 + warm),
        rng.uniform(1.2, 3.6),
        rng.uniform(0.9, 1.05),
    )


def expose(image: Array, lamp: Light, flicker: float, rng: np.random.Generator) -> Array:
    """Light and sensor: tint, gain, gamma, noise that is a little soft; back to uint8."""
    lit = np.clip(image * np.array(lamp.tint, np.float32) * lamp.gain * flicker / 255, 0, 1) ** lamp.gamma
    lit = (lit - 0.45) * lamp.contrast + 0.45
    grain = rng.normal(0, lamp.noise, image.shape).astype(np.float32)
    grain = 0.6 * grain + 0.8 * cv2.GaussianBlur(grain, (0, 0), 0.8)
    return np.clip(lit * 255 + grain, 0, 255).round().astype(np.uint8)


def film(
    cast: list[tuple[Portrait, Placement]], size: tuple[int, int], frames: int, fps: float, speech: Array, seed: int
) -> Footage:
    """Render the people, each with their own motion; a photograph keeps its own background."""
    rng = np.random.default_rng(seed)
    back, lamp = room(rng, size), light(rng)
    motions = [
        poses(rng, frames, fps, speech if i == 0 else 0 * speech, 0.8 if p.name in REAL_PEOPLE else 1.0)
        for i, (p, _) in enumerate(cast)
    ]
    flicker = 1 + 0.012 * waves(rng, np.arange(frames) / fps, 0.3, 3.0)
    hand = 1.2 * np.stack([waves(rng, np.arange(frames) / fps, 0.3, 1.5) for _ in range(2)], 1)
    shots: list[Array] = []
    faces: dict[str, list[Array]] = {p.name: [] for p, _ in cast}
    for i in range(frames):
        shake = np.float32([[1, 0, hand[i, 0]], [0, 1, hand[i, 1]]])
        image = cv2.warpAffine(back, shake, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for (person, place), motion in zip(cast, motions, strict=True):
            here = Placement(place.scale, place.x + hand[i, 0], place.y + hand[i, 1])
            colours, alpha, points = draw(person, motion[i], here, size)
            image = image * (1 - alpha[..., None]) + colours
            faces[person.name].append(points)
        shots.append(expose(image, lamp, float(flicker[i]), rng))
    return Footage(shots, faces)
