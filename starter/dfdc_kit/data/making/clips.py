"""One pair of clips, a real one and its fake: drawn from a seed, rendered, written."""

import random
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import cv2
import numpy as np

from dfdc_kit.data.making import manipulations as manip
from dfdc_kit.data.making.augment import LOW_QUALITY_CRF, frame_filter, random_change
from dfdc_kit.data.making.degrade import random_for
from dfdc_kit.data.making.people import Array, Image, load, rig
from dfdc_kit.data.making.scene import Footage, Role, cast, film

SIZES = {"640": (640, 360), "1080p": (1920, 1080)}
SECONDS = {"640": 2.0, "1080p": 10.0}
RATES = (Fraction(30000, 1001), Fraction(25), Fraction(25), Fraction(15))
TWO_FACES, ENTERS_LATE, TALL, SILENT, AUDIO_SWAP = 0.12, 0.10, 0.15, 0.15, 0.10  # shares of the pairs
AUGMENTED, DISTRACTED = 0.35, 0.25  # shares of the test pairs, independent of each other
LARGE_CRF_LESS = 7  # large clips have the 2 to 5 Mbit/s of the challenge's
SOUND_HZ = 44100
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


def random_loudness(rng: np.random.Generator, times_s: Array) -> Array:
    """How wide the mouth is in each frame (n,), 0..1: syllables in short phrases."""
    wobble = 1.5 * np.sin(2 * np.pi * 0.7 * times_s)
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3.0, 4.2) * times_s + rng.uniform(0, 6) + wobble)
    phrase = 1 / (1 + np.exp(-6 * np.sin(2 * np.pi * times_s / rng.uniform(1.8, 3.0) + rng.uniform(0, 6)) - 3))
    return np.asarray(beat**1.3 * phrase * rng.uniform(0.5, 1.0), np.float32)


def voice(rng: np.random.Generator, loudness: Array, fps: float) -> Array:
    """A humming voice (samples,) in -1..1 as loud as the mouth is wide: a buzz through three resonances."""
    count = int(len(loudness) / fps * SOUND_HZ)
    t = np.arange(count, dtype=np.float32) / SOUND_HZ
    hum_hz, wobble_hz = rng.uniform(95, 210), rng.uniform(0.6, 1.2)
    phase = 2 * np.pi * np.cumsum(hum_hz * (1 + 0.06 * np.sin(2 * np.pi * wobble_hz * t))) / SOUND_HZ
    formants = np.array([rng.uniform(450, 750), rng.uniform(1000, 1700), rng.uniform(2300, 2900)])
    k = np.arange(1, 22)
    gains = np.exp(-(((k[:, None] * hum_hz - formants) / (90 + 0.06 * formants)) ** 2)).sum(1) + 0.05
    table_phase = np.linspace(0, 2 * np.pi, 1024, endpoint=False)
    table = (gains / k**0.6) @ np.sin(k[:, None] * table_phase)  # one period of the buzz
    buzz = table[(phase / (2 * np.pi) * 1024).astype(np.int64) % 1024]
    level = np.interp(t, np.arange(len(loudness)) / fps, loudness)
    sound = buzz / np.abs(table).max() * level * 0.4 + rng.standard_normal(count, np.float32) * 0.004
    return np.asarray(sound, np.float32)


@dataclass(frozen=True)
class Encoding:
    """How a clip is stored."""

    fps: Fraction
    crf: float  # x264: 0 lossless .. 51 worst
    shrink: float  # down- and upsampling factor before the encode


class ClipWriter:
    """Encodes frames (h, w, 3) BGR of even size: H.264 High, yuv420p, key frames 250 apart; AAC mono if `sound`."""

    def __init__(self, path: Path, size: tuple[int, int], encoding: Encoding, sound: Array | None) -> None:
        options = {"fflags": "+bitexact", "movflags": "+faststart"}
        self._file = av.open(str(path), "w", format="mp4", options=options)
        self._shrink, self._sound = encoding.shrink, sound
        self._picture = self._file.add_stream("libx264", rate=encoding.fps)
        self._picture.width, self._picture.height = size
        self._picture.pix_fmt, self._picture.thread_count = "yuv420p", 1
        # mbtree off: at a width of 360 x264 reads memory that it never wrote there, and no two files are alike
        self._picture.options = {
            "mbtree": "0",
            "crf": f"{encoding.crf:.2f}",
            "preset": "ultrafast",
            "x264-params": "cabac=1:no-deblock=0:8x8dct=1",  # as files of the challenge, at little cost
            "profile": "high",
            "g": "250",
            "sc_threshold": "0",
        }
        self._track = None
        if sound is not None:
            self._track = self._file.add_stream("aac", rate=SOUND_HZ, layout="mono")
            self._track.bit_rate = 24000
            self._track.options = {"aac_coder": "fast"}

    def __enter__(self) -> Self:
        return self

    def write(self, frame: Image) -> None:
        """Add one frame."""
        planes = _softened_planes(frame, self._shrink)
        self._file.mux(self._picture.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            if failed is None:
                self._finish()
        finally:
            self._file.close()

    def _finish(self) -> None:
        self._file.mux(self._picture.encode(None))
        if self._track is not None and self._sound is not None:
            samples = av.AudioFrame.from_ndarray(self._sound[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts = SOUND_HZ, 0
            self._file.mux(self._track.encode(samples))
            self._file.mux(self._track.encode(None))


def _softened_planes(frame: Image, shrink: float) -> Image:
    """The planes Y, U, V below each other, as OpenCV has I420; down- and upsampled by `shrink`."""
    if shrink <= 1:
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), np.uint8)
    h, w = frame.shape[:2]
    small_h, small_w = (round(side / shrink / 4) * 4 for side in (h, w))
    small = cv2.cvtColor(cv2.resize(frame, (small_w, small_h)), cv2.COLOR_BGR2YUV_I420)
    luma = cv2.resize(small[:small_h], (w, h))
    chroma = small[small_h:].reshape(2, small_h // 2, small_w // 2)
    large = [cv2.resize(plane, (w // 2, h // 2)).reshape(h // 4, w) for plane in chroma]
    return np.asarray(np.r_[luma, *large], np.uint8)


def make_pair(pair: Pair, real_path: Path, fake_path: Path | None) -> int:
    """Write those of the two clips that are missing, each under a temporary name first; how many were missing."""
    cv2.setNumThreads(1)
    wanted = [path for path in (real_path, fake_path) if path is not None and not path.exists()]
    if not wanted:
        return 0
    footage, speech = shoot(pair)
    rng = random_for("fake", *pair.key)
    how = manip.random_recipe(rng)
    change = manip.manipulator(footage, pair.family, pair.donor, how, rng)
    sounds = _sounds(pair, speech)
    with ExitStack() as stack:
        writers = []
        for path in wanted:
            fake = path == fake_path
            writer = ClipWriter(_part(path), pair.size, _encoding(pair, path.name, fake), sounds[fake])
            writers.append(stack.enter_context(writer))
        changes = [name for name in (pair.augmentation, pair.distractor) if name]
        filters = [[frame_filter(name, random_for(name, *pair.key)) for name in changes] for _ in wanted]
        for i in range(len(footage)):
            original = footage.frame(i)
            for path, writer, steps in zip(wanted, writers, filters, strict=True):
                frame = change(i, original) if path == fake_path else original
                for step in steps:
                    frame = step(frame)
                writer.write(frame)
    for path in wanted:
        _part(path).replace(path)
    return len(wanted)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _sounds(pair: Pair, speech: Array) -> tuple[Array | None, Array | None]:
    """The sound of the real clip and of the fake."""
    if pair.silent:
        return None, None
    fps = float(pair.fps)
    real = voice(random_for("voice", *pair.key), speech, fps)
    return real, voice(random_for("other voice", *pair.key), speech[::-1], fps) if pair.audio_swap else real


def _encoding(pair: Pair, name: str, fake: bool) -> Encoding:
    """The encoding of the pair, its quality varied for the clip called `name`.

    At the same quality, a fake is 3 to 5 % smaller than its original: as much as 0.3 of CRF. The variation hides that.
    """
    rng = random_for("encoding", *pair.key)
    crf, shrink = rng.uniform(24, 31), max(1.0, rng.uniform(0.6, 1.5))
    crf = LOW_QUALITY_CRF if pair.augmentation == "low-quality" else crf
    crf -= LARGE_CRF_LESS if max(pair.size) > 1000 else 0
    own = random_for("quality", name, *pair.key).uniform(-3.5, 3.5) - (0.2 if fake else 0.0)
    return Encoding(pair.fps, crf + own, shrink)
