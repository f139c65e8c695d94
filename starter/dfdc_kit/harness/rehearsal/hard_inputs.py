"""Hard inputs: videos of the kinds that broke reruns of the challenge, made on the spot from ordinary clips."""

import random
from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import msgspec

from dfdc_kit.errors import DataError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.harness.rehearsal import footage
from dfdc_kit.harness.rehearsal.footage import Footage, boxes, encode, only_sound, read_footage, resized, turned

HEADER_BYTES = 400  # of a file cut off inside its index: it cannot be opened
GARBAGE_BYTES = 1 << 16
TEN_CLIPS_S = 100  # a clip of the challenge lasts 10 s
LONG_RATE = Fraction(12)
FRAMES_4K = 12
RELEASE_NAMES = range(4000, 8000)  # the validation set of the later release: 4000.mp4 to 7999.mp4


class ExpectedBehaviour(StrEnum):
    """What a good submission does with an input. A fallback is a prior, and a line in `fallbacks.csv` that says so."""

    FALLBACK = "a fallback"  # there is no picture in it
    EITHER = "a prediction or a fallback"
    PREDICTION = "a prediction"  # any player shows it


class HardInput(NamedTuple):
    """One kind of hard input."""

    code: str
    title: str
    wanted: ExpectedBehaviour
    make: Callable[[Footage], bytes]
    fix: str  # for a submission that stumbles over it
    suffix: str = ".mp4"
    release_name: bool = False  # a number for a name, as in the organizers' later release

    @property
    def decodable(self) -> bool:
        """Whether at least one picture can be had from it."""
        return self.wanted is not ExpectedBehaviour.FALLBACK


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A hard input on disk, under the name of its kind."""

    code: str
    path: Path


CATCH = "Catch the decoder's own error (av.FFmpegError) around opening and decoding; write the prior, and a fallback."
SHAPE = "Resize every frame to the model's own size; never expect 1920x1080."
FEW = "Take what frames there are; with none left, write the prior and a fallback."
CLOCK = "Choose frames by counting what was decoded, not by time or by the frame rate in the header."
NO_FACE = "Expect 0, 1 or many faces; without one, write a prior and a fallback."
NAMES = "Take names as they stand in sample_submission.csv: no list of your own, no pattern, no glob."

HARD_INPUTS: tuple[HardInput, ...] = (
    HardInput("zero-bytes", "an empty file", ExpectedBehaviour.FALLBACK, lambda _: b"", CATCH),
    HardInput(
        "truncated-header",
        "cut off inside the index",
        ExpectedBehaviour.FALLBACK,
        lambda clip: clip.ordinary[:HEADER_BYTES],
        CATCH,
    ),
    HardInput(
        "truncated-half",
        "cut off in the middle",
        ExpectedBehaviour.EITHER,
        lambda clip: clip.ordinary[: len(clip.ordinary) // 2],
        FEW,
    ),
    HardInput(
        "truncated-end",
        "the last tenth is missing",
        ExpectedBehaviour.EITHER,
        lambda clip: clip.ordinary[: len(clip.ordinary) * 9 // 10],
        FEW,
    ),
    HardInput(
        "no-moov",
        "no moov box: pictures without an index",
        ExpectedBehaviour.FALLBACK,
        lambda clip: _no_moov(clip),
        CATCH,
    ),
    HardInput("garbage", "random bytes", ExpectedBehaviour.FALLBACK, lambda clip: _garbage(clip), CATCH),
    HardInput(
        "no-audio",
        "no audio track",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(clip.first, sound=False),
        "Look whether there is an audio stream before using it.",
    ),
    HardInput(
        "audio-only",
        "no video track",
        ExpectedBehaviour.FALLBACK,
        lambda clip: only_sound(float(len(clip.first) / footage.RATE)),
        "Look whether there is a video stream; if not, write the prior and a fallback.",
    ),
    HardInput("one-frame", "a single frame", ExpectedBehaviour.EITHER, lambda clip: encode(clip.first[:1]), FEW),
    HardInput(
        "rotated",
        "portrait by a rotation flag",
        ExpectedBehaviour.PREDICTION,
        lambda clip: turned(clip.ordinary),
        "Turn frames by frame.rotation (PyAV does not), or use a detector that finds faces lying on their side.",
    ),
    HardInput(
        "15-fps",
        "15 frames a second",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(clip.first[::2], rate=Fraction(15)),
        CLOCK,
    ),
    HardInput(
        "variable-rate",
        "variable frame rate",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(clip.first, times_ms=[40 * n + (n % 5) * 7 for n in range(len(clip.first))]),
        CLOCK,
    ),
    HardInput(
        "quarter-size",
        "a quarter of the size",
        ExpectedBehaviour.PREDICTION,
        lambda clip: _scaled(clip, Fraction(1, 4)),
        SHAPE,
    ),
    HardInput("odd-size", "odd width and height", ExpectedBehaviour.PREDICTION, lambda clip: _odd(clip), SHAPE),
    HardInput(
        "4k",
        "3840x2160",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(resized(frame, 3840, 2160) for frame in clip.first[:FRAMES_4K]),
        f"{SHAPE} Do it at once: 300 frames of 4K are 7 GB.",
    ),
    HardInput(
        "ten-times-as-long",
        f"{TEN_CLIPS_S} s long",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(
            (clip.first[n % len(clip.first)] for n in range(int(TEN_CLIPS_S * LONG_RATE))), rate=LONG_RATE
        ),
        "Keep only the frames that you want, and stop reading after the last of them.",
    ),
    HardInput(
        "black",
        "black pictures",
        ExpectedBehaviour.EITHER,
        lambda clip: encode([footage.black(*clip.size)] * len(clip.first)),
        f"{NO_FACE} Guard divisions: a black picture has neither contrast nor noise.",
    ),
    HardInput(
        "no-face",
        "a landscape with nobody in it",
        ExpectedBehaviour.EITHER,
        lambda clip: encode(footage.landscape(*clip.size, n) for n in range(len(clip.first))),
        NO_FACE,
    ),
    HardInput(
        "two-faces", "two people beside each other", ExpectedBehaviour.PREDICTION, lambda clip: _two(clip), NO_FACE
    ),
    HardInput(
        "hevc",
        "HEVC in an MP4",
        ExpectedBehaviour.PREDICTION,
        lambda clip: encode(clip.first, codec="libx265", options={"x265-params": "log-level=none"}),
        "Use a decoder with HEVC (PyAV's wheels have it); else it is a case for the prior and a fallback.",
    ),
    HardInput(
        "upper-case-suffix",
        "a name that ends in .MP4",
        ExpectedBehaviour.PREDICTION,
        lambda clip: clip.ordinary,
        NAMES,
        ".MP4",
    ),
    HardInput(
        "release-name",
        "a name as in the later release, such as 4000.mp4",
        ExpectedBehaviour.PREDICTION,
        lambda clip: clip.ordinary,
        f"{NAMES} Read the column as text: a table reader may take such names for numbers once .mp4 is off.",
        release_name=True,
    ),
)


def chosen(codes: list[str]) -> tuple[HardInput, ...]:
    """The hard inputs with these codes, in the table's order; all of them for none. Raises UsageError."""
    known = [hard.code for hard in HARD_INPUTS]
    for code in codes:
        if code not in known:
            raise UsageError(f"There is no hard input {code!r}.", hint=f"Hard inputs: {', '.join(known)}")
    return tuple(hard for hard in HARD_INPUTS if not codes or hard.code in codes)


def make(
    folder: Path, clips: list[Path], seed: int, inputs: tuple[HardInput, ...] = HARD_INPUTS
) -> tuple[list[Made], dict[str, str]]:
    """Write each hard input into `folder` as <code><suffix>; those written, and why others were left out.

    The same clips, seed and library versions give the same bytes. Raises DataError if a clip cannot be decoded.
    """
    try:
        material = read_footage(clips, seed)
        pictures = bool(material.first and material.second)
    except (av.FFmpegError, OSError, IndexError):
        pictures = False
    if not pictures:
        raise DataError(
            f"Hard inputs are made from the first clips of {clips[0].parent}, which cannot be decoded.",
            hint="Give a folder of sound clips: --data DIR",
        )
    made, left_out = [], {}
    for hard in inputs:
        try:
            content = hard.make(material)
        except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            left_out[hard.code] = f"this machine's PyAV cannot encode it: {error}"
            continue
        path = folder / f"{hard.code}{hard.suffix}"
        write_bytes(path, content)
        made.append(Made(code=hard.code, path=path))
    return made, left_out


def new_name(rng: random.Random, hard: HardInput | None = None) -> str:
    """A name as the challenge gives them, ten small letters; or what a hard input wants instead."""
    if hard is not None and hard.release_name:
        return f"{rng.choice(RELEASE_NAMES)}.mp4"
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))
    return letters + (".mp4" if hard is None else hard.suffix)


def _no_moov(clip: Footage) -> bytes:
    return b"".join(content for name, content in boxes(clip.ordinary) if name != b"moov")


def _garbage(clip: Footage) -> bytes:
    return random.Random(clip.seed).randbytes(GARBAGE_BYTES)


def _scaled(clip: Footage, share: Fraction) -> bytes:
    width, height = (max(2, int(side * share) // 2 * 2) for side in clip.size)
    return encode(resized(frame, width, height) for frame in clip.first)


def _odd(clip: Footage) -> bytes:
    """H.264 has odd sizes only with full colour."""
    width, height = clip.size
    return encode(resized(frame, width - 1, height - 1, "yuv444p") for frame in clip.first)


def _two(clip: Footage) -> bytes:
    return encode(footage.side_by_side(*pair) for pair in zip(clip.first, clip.second, strict=False))
