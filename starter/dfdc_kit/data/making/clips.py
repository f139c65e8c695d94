"""One pair of clips, a real one and its fake: drawn from a seed, rendered, written."""

import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from dfdc_kit.data.making import manipulations as manip
from dfdc_kit.data.making.augment import LOW_QUALITY_CRF, Change, random_change
from dfdc_kit.data.making.degrade import random_for
from dfdc_kit.data.making.people import Array, load, rig
from dfdc_kit.data.making.scene import Footage, Role, cast, film
from dfdc_kit.data.making.video import Encoding, random_loudness, voice, write_clip

SIZES = {"640": (640, 360), "1080p": (1920, 1080)}
SECONDS = {"640": 2.4, "1080p": 10.0}
RATES = (Fraction(30000, 1001), Fraction(25), Fraction(25), Fraction(15))
TWO_FACES, ENTERS_LATE, TALL, SILENT, AUDIO_SWAP = 0.12, 0.10, 0.15, 0.15, 0.10  # shares of the pairs
AUGMENTED, DISTRACTED = 0.35, 0.25  # shares of the test pairs, independent of each other
LARGE_CRF_LESS = 7  # large clips have the 2 to 5 Mbit/s of the challenge's
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Pair:
    """A real clip and the fake made from it."""

    part: str  # "train", "Public" or "Private"
    index: int
    key: tuple[object, ...]  # seeds everything random about the pair
    size: tuple[int, int]
    seconds: float
    fps: Fraction
    roles: tuple[Role, ...]
    family: str
    donor: str  # empty if the family needs none
    audio_swap: bool
    silent: bool
    augmentation: str  # empty: none
    distractor: str

    @property
    def names(self) -> tuple[str, str]:
        """File names of the real clip and of the fake: random letters."""
        rng = random.Random("/".join(map(str, ("names", *self.key))))
        real, fake = ("".join(rng.choices(LETTERS, k=10)) + ".mp4" for _ in range(2))
        return real, fake

    @property
    def people(self) -> list[str]:
        """Everyone whose face is used, the donor last."""
        return list(dict.fromkeys([role.person for role in self.roles] + ([self.donor] if self.donor else [])))


def random_pair(seed: int, part: str, index: int, size: str, people: list[str]) -> Pair:
    """Pair number `index` of a part; depends on nothing but the arguments."""
    key = (seed, size, part, index)
    rng = random_for("plan", *key)
    w, h = SIZES[size]
    tall = rng.random() < TALL
    chosen = [str(name) for name in rng.permutation(people)]
    two = rng.random() < TWO_FACES and len(people) > 2 and not tall
    late = float(rng.uniform(0.15, 0.45)) if rng.random() < ENTERS_LATE else 0.0
    families = [name for name in manip.FAMILIES if part == "Private" or name not in manip.UNSEEN]
    family = str(families[rng.integers(len(families))])
    first, others = chosen[0], chosen[1:]
    donor = "" if family in manip.OWN_FACE else others[-1]
    if family == "nearest-neighbour-morph":
        donor = manip.nearest(first, others)
    if two:
        left, right = Role(first, 0, 0, 0), Role(next(n for n in others if n != donor), 0, 0, 0)
        heights = rng.uniform(0.27, 0.40, 2)
        sides = (0.28, 0.72) if rng.random() < 0.5 else (0.72, 0.28)
        spots = [
            Role(role.person, float(t), x + float(rng.uniform(-0.04, 0.04)), _eye_line(rng, float(t)), 0.0)
            for role, t, x in zip((left, right), heights, sides, strict=True)
        ]
    else:
        height = float(
            rng.uniform(0.16, 0.30) if tall else rng.choice([rng.uniform(0.22, 0.36), rng.uniform(0.36, 0.58)])
        )
        middle = float(rng.uniform(0.40, 0.60) if tall else rng.uniform(0.27, 0.73))
        spots = [Role(first, height, middle, _eye_line(rng, height), late)]
    test = part != "train"
    return Pair(
        part=part,
        index=index,
        key=key,
        size=(h, w) if tall else (w, h),
        seconds=SECONDS[size],
        fps=RATES[rng.integers(len(RATES))],
        roles=tuple(spots),
        family=family,
        donor=donor,
        silent=bool(rng.random() < SILENT),
        audio_swap=bool(rng.random() < AUDIO_SWAP),
        augmentation=random_change(rng, "augmentation") if rng.random() < AUGMENTED and test else "",
        distractor=random_change(rng, "distractor") if rng.random() < DISTRACTED and test else "",
    )


def _eye_line(rng: np.random.Generator, height: float) -> float:
    return float(rng.uniform(max(0.36, 0.62 * height + 0.05), 0.54))


def shoot(pair: Pair) -> tuple[Footage, Array]:
    """The original frames of a pair, and how wide the first person's mouth is in each."""
    rng = random_for("scene", *pair.key)
    count = round(pair.seconds * float(pair.fps))
    times_s = np.arange(count, dtype=np.float32) / np.float32(float(pair.fps))
    speech = random_loudness(rng, times_s)
    actors = [
        cast(role, load(role.person), rig(role.person), pair.size, times_s, speech if k == 0 else 0 * speech, rng)
        for k, role in enumerate(pair.roles)
    ]
    return film(actors, pair.size, times_s, rng, hand_px=1.2 * min(pair.size) / 360), speech


def make_pair(pair: Pair, real_path: Path, fake_path: Path | None) -> int:
    """Write those of the two clips that are missing, each under a temporary name first; how many were missing."""
    cv2.setNumThreads(1)
    rng = random_for("fake", *pair.key)
    how = manip.random_recipe(rng)
    wanted = [path for path in (real_path, fake_path) if path is not None and not path.exists()]
    if not wanted:
        return 0
    footage, speech = shoot(pair)
    draw = random_for("encoding", *pair.key)
    crf, shrink = int(draw.integers(24, 31)), float(max(1.0, draw.uniform(0.85, 1.5)))
    sound = None if pair.silent else voice(random_for("voice", *pair.key), speech, float(pair.fps))
    for path in wanted:
        frames, spoken = iter(footage.frames), sound
        if path == fake_path:
            frames = manip.manipulate(footage, pair.family, pair.donor, how, rng)
            if pair.audio_swap and not pair.silent:
                spoken = voice(random_for("other voice", *pair.key), speech[::-1], float(pair.fps))
        for name in filter(None, (pair.augmentation, pair.distractor)):
            frames = Change(name, random_for(name, *pair.key)).apply(frames)
        # a fake is a few percent smaller than its original: each clip's own quality hides it
        own = LOW_QUALITY_CRF if pair.augmentation == "low-quality" else crf
        own += int(random_for("quality", path.name, *pair.key).integers(-2, 3))
        own -= LARGE_CRF_LESS if max(pair.size) > 1000 else 0
        part = path.with_name(f".{path.name}.part")
        write_clip(part, frames, Encoding(pair.fps, own, shrink), spoken)
        part.replace(path)
    return len(wanted)
