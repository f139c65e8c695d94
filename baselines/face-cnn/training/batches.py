"""Training pairs: a real and a fake face that differ in nothing but the manipulation.

The fake is either the real crop blended with itself, or a crop of a FAKE video: of the same original, frame and face if
there is one. Both get the same augmentation, so that geometry, colour and quality do not reveal the label.
A pair depends on the seed and its number only.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from blend import compressed, resampled, self_blend
from shards import StoredCrop, VideoEntry, read_crops
from tasks import from_jpeg

Item = TypeVar("Item")
CACHED_VIDEOS = 512  # 0.25 MB each


@lru_cache(CACHED_VIDEOS)
def crops_of(entry: VideoEntry) -> list[StoredCrop]:
    """The crops of a video; the last CACHED_VIDEOS are cached."""
    return read_crops(entry)


class Sample(NamedTuple):
    """A crop, (side, side, 3) uint8 RGB, its label, 1 = FAKE, and the original of its video."""

    crop: np.ndarray
    label: int
    original: str


@dataclass(frozen=True)
class Recipe:
    """How pairs are made; `side`: pixels of the network's square input."""

    seed: int
    self_blended: float  # fraction of the fakes that are made from the real crop
    side: int


class Pairs:
    """Pair number n is `pairs[n]`: a real and a fake sample."""

    def __init__(self, entries: list[VideoEntry], recipe: Recipe) -> None:
        self.recipe = recipe
        self.reals = [entry for entry in entries if entry.label == 0]
        self.fakes = [entry for entry in entries if entry.label == 1]
        self.fakes_of: dict[str, list[VideoEntry]] = defaultdict(list)
        for entry in self.fakes:
            self.fakes_of[entry.original].append(entry)

    def __getitem__(self, number: int) -> tuple[Sample, Sample]:
        rng = np.random.default_rng((self.recipe.seed, number))
        entry = source = pick(self.reals, rng)
        crop = pick(crops_of(entry), rng)
        real = from_jpeg(crop.jpeg)
        if not self.fakes or rng.random() < self.recipe.self_blended:
            real, fake = self_blend(real, crop.landmarks, rng)
        else:
            source = pick(self.fakes_of.get(entry.video) or self.fakes, rng)
            fake = from_jpeg(counterpart(crop, crops_of(source)).jpeg)
        augmentation = Augmentation.random(rng, self.recipe.side)
        return Sample(augmentation(real), 0, entry.original), Sample(augmentation(fake), 1, source.original)


def counterpart(crop: StoredCrop, candidates: list[StoredCrop]) -> StoredCrop:
    """The same frame and face in another video, or the nearest."""
    return min(candidates, key=lambda other: (other.track != crop.track, abs(other.frame - crop.frame)))


def pick(items: list[Item], rng: np.random.Generator) -> Item:
    """One of the items, uniformly."""
    return items[rng.integers(len(items))]


@dataclass(frozen=True)
class Augmentation:
    """A change of geometry, colour and quality that is applied to both crops of a pair."""

    side: int
    scale: float
    angle: float  # degrees
    shift: tuple[float, float]  # fractions of the side
    flip: bool
    contrast: float
    brightness: np.ndarray  # (3,) grey levels
    downsampling: float  # down- and upsampling factor
    noise: float  # standard deviation, grey levels
    blur: float  # standard deviation, pixels
    grey: bool
    cover: tuple[float, ...]  # left, top, right, bottom of a plain rectangle, fractions of the side; empty: none
    quality: int  # of JPEG; 0: none
    noise_seed: int

    @classmethod
    def random(cls, rng: np.random.Generator, side: int) -> "Augmentation":
        """Like the challenge's test set: lower resolution, noise, blur, no colour, shapes, stronger compression."""
        left, top, width, height = rng.uniform((0, 0, 0.05, 0.05), (0.8, 0.8, 0.35, 0.35))
        return cls(
            side=side,
            scale=rng.uniform(0.9, 1.2),
            angle=rng.uniform(-8, 8),
            shift=(rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06)),
            flip=rng.random() < 0.5,
            contrast=rng.uniform(0.8, 1.25),
            brightness=rng.uniform(-15, 15) + rng.uniform(-8, 8, 3),
            downsampling=rng.uniform(1.0, 2.5) if rng.random() < 0.3 else 1.0,
            noise=rng.uniform(0, 6) if rng.random() < 0.3 else 0.0,
            blur=rng.uniform(0.3, 1.5) if rng.random() < 0.1 else 0.0,
            grey=rng.random() < 0.05,
            cover=(left, top, left + width, top + height) if rng.random() < 0.1 else (),
            quality=int(rng.integers(30, 100)) if rng.random() < 0.5 else 0,
            noise_seed=int(rng.integers(1 << 31)),
        )

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """(h, h, 3) uint8 to (side, side, 3) uint8."""
        centre, side = crop.shape[0] / 2, self.side
        matrix = cv2.getRotationMatrix2D((centre, centre), self.angle, self.scale * side / crop.shape[0])
        matrix[:, 2] += side / 2 - centre + np.array(self.shift) * side
        picture = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        if self.flip:
            picture = picture[:, ::-1]
        picture = (picture.astype(np.float32) - 128) * self.contrast + 128 + self.brightness.astype(np.float32)
        if self.downsampling > 1:
            picture = resampled(picture, self.downsampling)
        if self.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        if self.grey:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        if self.cover:
            left, top, right, bottom = (round(part * side) for part in self.cover)
            picture[top:bottom, left:right] = 128 + 4 * self.brightness
        if self.noise:
            noise = np.random.default_rng(self.noise_seed).standard_normal(picture.shape, np.float32)
            picture = picture + self.noise * noise
        picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        if self.quality:
            picture = compressed(picture, self.quality)
        return np.ascontiguousarray(picture)
