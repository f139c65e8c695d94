"""What happens to some test clips before their one encode: augmentations, and distractors drawn over the frames."""

from collections.abc import Callable
from itertools import count, cycle

import cv2
import numpy as np

from dfdc_kit.data.making.degrade import draw_on, random_overlays
from dfdc_kit.data.making.people import Image

Filter = Callable[[Image], Image]


def frame_filter(name: str, rng: np.random.Generator) -> Filter:
    """A function that changes the frames of one clip, in their order; the same seed changes every clip alike."""
    return DISTRACTORS[name](rng) if name in DISTRACTORS else AUGMENTATIONS[name](rng)


def _overlay(kind: str) -> Callable[[np.random.Generator], Filter]:
    def start(rng: np.random.Generator) -> Filter:
        overlays, number = random_overlays(rng, kind), count()

        def change(frame: Image) -> Image:
            picture = frame.copy()
            draw_on(picture, overlays, next(number))
            return picture

        return change

    return start


def _half_rate(_: np.random.Generator) -> Filter:
    fresh = cycle((True, False))
    shown: Image = np.empty(0, np.uint8)

    def change(frame: Image) -> Image:
        nonlocal shown
        shown = frame if next(fresh) else shown
        return shown

    return change


def _brightness(rng: np.random.Generator) -> Filter:
    gain, lift = float(rng.choice([rng.uniform(0.55, 0.8), rng.uniform(1.2, 1.5)])), float(rng.uniform(-25, 25))
    return lambda frame: np.asarray(cv2.convertScaleAbs(frame, None, gain, max(lift, 0)), np.uint8)


def _grey(_: np.random.Generator) -> Filter:
    def change(frame: Image) -> Image:
        return np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)

    return change


def _blur(rng: np.random.Generator) -> Filter:
    share = rng.uniform(0.003, 0.008)
    return lambda frame: np.asarray(cv2.GaussianBlur(frame, (0, 0), share * frame.shape[0]), np.uint8)


def _noise(rng: np.random.Generator) -> Filter:
    bank = rng.standard_normal((1024, 1024), np.float32) * rng.uniform(6, 14) + 128
    grain = np.tile(np.clip(bank, 0, 255).astype(np.uint8), (2, 3))

    def change(frame: Image) -> Image:
        h, w = frame.shape[:2]
        y, x = rng.integers(0, (900, 1000))
        return np.asarray(
            cv2.addWeighted(frame, 1.0, cv2.merge([grain[y : y + h, x : x + w]] * 3), 1.0, -128.0), np.uint8
        )

    return change


def _mirror(_: np.random.Generator) -> Filter:
    return lambda frame: np.asarray(cv2.flip(frame, 1), np.uint8)


def _rotation(rng: np.random.Generator) -> Filter:
    angle_deg = float(rng.choice([-1, 1]) * rng.uniform(4, 12))

    def change(frame: Image) -> Image:
        h, w = frame.shape[:2]
        matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle_deg, 1.15)
        return np.asarray(cv2.warpAffine(frame, matrix, (w, h), borderMode=cv2.BORDER_REFLECT), np.uint8)

    return change


def _quarter_resolution(_: np.random.Generator) -> Filter:
    def change(frame: Image) -> Image:
        h, w = frame.shape[:2]
        small = cv2.resize(frame, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)

    return change


def _unchanged(_: np.random.Generator) -> Filter:
    return lambda frame: frame


AUGMENTATIONS: dict[str, Callable[[np.random.Generator], Filter]] = {
    "15-fps": _half_rate,  # every second frame is shown twice
    "quarter-resolution": _quarter_resolution,
    "low-quality": _unchanged,  # a higher CRF in the one encode
    "brightness": _brightness,
    "greyscale": _grey,
    "blur": _blur,
    "noise": _noise,
    "mirror": _mirror,
    "rotation": _rotation,
}
DISTRACTORS = {f"{kind}-overlay": _overlay(kind) for kind in ("text", "shape", "image")}
LOW_QUALITY_CRF = 38


def random_change(rng: np.random.Generator, kind: str) -> str:
    """The name of a random augmentation or distractor."""
    names = list(AUGMENTATIONS) if kind == "augmentation" else list(DISTRACTORS)
    return names[rng.integers(len(names))]
