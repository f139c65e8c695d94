"""Backgrounds: blurred rooms and gardens with a few objects."""

import cv2
import numpy as np

from dfdc_kit.data.making.people import Array, Image

WALLS = ((196, 205, 208), (150, 168, 178), (120, 128, 110), (176, 160, 140), (92, 104, 128), (142, 172, 190))


def random_room(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """A background (h, w, 3) uint8 BGR of `size` (w, h)."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    if rng.random() < 0.2:
        image = _outdoors(rng, x / w, y / h)
    else:
        wall = np.array(WALLS[rng.integers(len(WALLS))], np.float32) * rng.uniform(0.5, 1.1)
        centre_x, centre_y = rng.uniform(0, 1), rng.uniform(0, 0.6)
        glow = np.exp(-(((x / w - centre_x) / 0.6) ** 2 + ((y / h - centre_y) / 0.8) ** 2))
        image = wall * (0.72 + 0.38 * glow[..., None])
        for index in rng.permutation(len(OBJECTS))[: rng.integers(1, 4)]:
            OBJECTS[index](image, rng)
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3.5) * h / 360)
    grain = cv2.GaussianBlur(rng.standard_normal((h, w), np.float32), (0, 0), 1.5)
    return np.clip(soft + 3.5 * grain[..., None], 0, 255).astype(np.uint8)


def _outdoors(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Sky, a hedge and grass."""
    sky, leaf, grass = np.array((225, 200, 175)), np.array((50, 90, 70)), np.array((60, 125, 105))
    top = rng.uniform(0.15, 0.5) + 0.05 * np.sin(x * rng.uniform(6, 14) + rng.uniform(0, 6))
    bottom = rng.uniform(0.65, 0.95)
    patches = cv2.GaussianBlur(rng.standard_normal(x.shape, np.float32), (0, 0), x.shape[0] / 45)
    patches *= 0.35 / (patches.std() + 1e-6)
    image = np.where((y < top)[..., None], sky, np.where((y < bottom)[..., None], leaf, grass)).astype(np.float32)
    return np.asarray(image * np.where(y < top, 1, 1 + patches)[..., None] * rng.uniform(0.7, 1.05), np.float32)


def _rectangle(image: Array, x0: float, y0: float, x1: float, y1: float, colour: Array | tuple[float, ...]) -> None:
    """Fill a rectangle; corners as fractions of width and height."""
    h, w = image.shape[:2]
    cv2.rectangle(image, (int(x0 * w), int(y0 * h)), (int(x1 * w), int(y1 * h)), tuple(float(c) for c in colour), -1)


def _muted(rng: np.random.Generator, low: float, high: float) -> Array:
    """A muted BGR colour of a brightness between `low` and `high`."""
    return np.asarray(rng.uniform(low, high) * (1 + rng.uniform(-0.13, 0.13, 3)), np.float32)


def _window(image: Array, rng: np.random.Generator) -> None:
    x, y, width = rng.uniform(-0.1, 0.75), rng.uniform(-0.1, 0.15), rng.uniform(0.2, 0.35)
    _rectangle(image, x - 0.015, y - 0.03, x + width + 0.015, y + 0.68, (215, 222, 225))
    _rectangle(image, x, y, x + width, y + 0.65, np.array([238, 226, 208], np.float32) * rng.uniform(0.7, 1.05))
    _rectangle(image, x, y + 0.4, x + width, y + 0.65, np.array([150, 178, 150], np.float32) * rng.uniform(0.7, 1.1))
    _rectangle(image, x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + 0.65, (212, 218, 222))
    _rectangle(image, x, y + 0.30, x + width, y + 0.325, (212, 218, 222))


def _shelf(image: Array, rng: np.random.Generator) -> None:
    x, width = rng.uniform(-0.1, 0.7), rng.uniform(0.3, 0.45)
    for y in (0.12, 0.42, 0.72):
        _rectangle(image, x, y, x + width, y + 0.28, (58, 70, 84))
        at = x + 0.01
        while at < x + width - 0.03:
            thick, tall = rng.uniform(0.012, 0.03), rng.uniform(0.15, 0.24)
            _rectangle(image, at, y + 0.26 - tall, at + thick, y + 0.26, _muted(rng, 30, 170))
            at += thick + 0.003
        _rectangle(image, x - 0.01, y + 0.26, x + width + 0.01, y + 0.29, (74, 100, 128))


def _pictures(image: Array, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(2, 5)):
        (x, y), (width, height) = rng.uniform((0, 0.02), (0.9, 0.5)), rng.uniform((0.07, 0.14), (0.16, 0.28))
        _rectangle(image, x - 0.008, y - 0.014, x + width + 0.008, y + height + 0.014, _muted(rng, 20, 80))
        _rectangle(image, x, y, x + width, y + height, _muted(rng, 110, 210))
        _rectangle(image, x, y + height * rng.uniform(0.4, 0.7), x + width, y + height, _muted(rng, 60, 150))


def _door(image: Array, rng: np.random.Generator) -> None:
    x, wood = rng.uniform(0, 0.8), np.array([120, 150, 175], np.float32) * rng.uniform(0.5, 1.2)
    _rectangle(image, x - 0.015, 0.0, x + 0.235, 1.0, wood * 0.7)
    _rectangle(image, x, 0.02, x + 0.22, 1.0, wood)
    for y in (0.08, 0.55):
        _rectangle(image, x + 0.04, y, x + 0.18, y + 0.38, wood * 0.86)


def _curtain(image: Array, rng: np.random.Generator) -> None:
    w = image.shape[1]
    x, width = rng.choice([-0.02, 0.76]), 0.26
    left, right = max(0, int(x * w)), min(w, int((x + width) * w))
    folds = 0.8 + 0.2 * np.sin(np.linspace(0, rng.uniform(25, 45), right - left))
    image[:, left:right] = (_muted(rng, 80, 180) * folds[:, None]).astype(np.float32)


def _lamp(image: Array, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.4)
    _rectangle(image, x - 0.006, y, x + 0.006, 1.0, (40, 44, 50))
    _rectangle(image, x - 0.06, y, x + 0.06, y + 0.16, np.array([170, 215, 245], np.float32) * rng.uniform(0.8, 1.05))


OBJECTS = (_window, _shelf, _pictures, _door, _curtain, _lamp)
