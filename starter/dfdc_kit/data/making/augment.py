"""What happens to some test clips before their one encode: augmentations, and distractors drawn over the frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from dfdc_kit.data.making.overlays import draw_on, random_overlays
from dfdc_kit.data.making.people import Image

Filter = Callable[[Image], Image]


@dataclass(frozen=True)
class Change:
    """A named change of a clip; the same seed changes the real clip and its fake alike."""

    name: str
    rng: np.random.Generator

    def apply(self, frames: Iterable[Image]) -> Iterator[Image]:
        """The changed frames (h, w, 3) uint8 BGR, as many and as large as before."""
        if self.name in DISTRACTORS:
            overlays = random_overlays(self.rng, self.name.removesuffix("-overlay"))
            for number, frame in enumerate(frames):
                picture = frame.copy()
                draw_on(picture, overlays, number)
                yield picture
        elif self.name == "15-fps":
            held: Image | None = None
            for number, frame in enumerate(frames):
                held = frame if held is None or number % 2 == 0 else held
                yield held
        else:
            change = AUGMENTATIONS[self.name](self.rng)
            yield from map(change, frames)


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
    "15-fps": _unchanged,  # every second frame is shown twice
    "quarter-resolution": _quarter_resolution,
    "low-quality": _unchanged,  # a higher CRF in the one encode
    "brightness": _brightness,
    "greyscale": _grey,
    "blur": _blur,
    "noise": _noise,
    "mirror": _mirror,
    "rotation": _rotation,
}
DISTRACTORS = ("text-overlay", "shape-overlay", "image-overlay")
LOW_QUALITY_CRF = 38


def random_change(rng: np.random.Generator, kind: str) -> str:
    """The name of a random augmentation or distractor."""
    names = list(AUGMENTATIONS) if kind == "augmentation" else list(DISTRACTORS)
    return names[rng.integers(len(names))]
