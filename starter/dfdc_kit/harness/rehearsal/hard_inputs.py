"""Hard inputs: damaged and unusual videos made from ordinary clips, and advice for submissions that fail on them."""

import random
import re
from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from dfdc_kit.errors import DataError, UsageError, suggest
from dfdc_kit.files import write_bytes
from dfdc_kit.harness.rehearsal import footage
from dfdc_kit.harness.rehearsal.footage import Footage, encode, only_audio, read_footage, resized, rotated, top_boxes
from dfdc_kit.submission.code import CodeSubmission

HEADER_BYTES = 400  # of a file cut off inside its index: it cannot be opened
GARBAGE_BYTES = 1 << 16
LONG_CLIP_S = 100  # a clip of the challenge lasts 10 s
LONG_RATE = Fraction(12)
FRAMES_4K = 12
RELEASE_NAMES = range(4000, 8000)  # the validation set of the later release: 4000.mp4 to 7999.mp4


class ExpectedBehaviour(StrEnum):
    """What a good submission does with an input. A fallback is a fixed prediction, listed in `fallbacks.csv`."""

    FALLBACK = "a fallback"  # there is no picture in it
    EITHER = "a prediction or a fallback"
    PREDICTION = "a prediction"  # any player shows it


class Reader(NamedTuple):
    """A library that reads videos: how to recognise it, and what it does with files it cannot read."""

    pattern: str  # a regular expression, searched in the submission's sources
    unreadable: str
    rotation: str = "Rotate each frame as the file's display matrix says, or detect faces in any orientation."


READERS = {
    "cv2": Reader(
        r"\bVideoCapture\s*\(",
        "cv2.VideoCapture raises no error: check cap.isOpened() and the first value of cap.read(). Handle ok == False.",
        "cv2 rotates frames by itself: width and height of the array may be swapped. Read them from frame.shape.",
    ),
    "av": Reader(
        r"\bav\.open\s*\(",
        "Catch av.FFmpegError (av.AVError in old versions) around opening and decoding; check container.streams.video.",
        "PyAV does not rotate frames: use frame.rotation, or detect faces in any orientation.",
    ),
    "decord": Reader(
        r"\b(?:import|from)\s+decord\b",
        "Catch both RuntimeError and decord.DECORDError: decord raises either, on opening and on decoding.",
        "decord rotates frames by itself: width and height of the array may be swapped.",
    ),
    "imageio": Reader(
        r"\bimageio(?:\.v\d)?\.(?:get_reader|mimread|imiter|imopen|imread)|\biio\.im",
        "Catch OSError, RuntimeError and (past the last frame) IndexError around imageio's opening and reading.",
    ),
    "torchvision": Reader(
        r"\bread_video(?:_timestamps)?\s*\(",
        "torchvision.io.read_video may return no frames instead of an error: check len(frames), catch RuntimeError.",
    ),
}
OTHER_READER = Reader("", "Catch the error that your video reader raises, or check the value that it returns for one.")


def readers_of(submission: CodeSubmission) -> list[Reader]:
    """The video readers that the submission's own Python files and notebooks use; [OTHER_READER] if none is known."""
    texts = [path.read_bytes() for path in submission.files() if path.suffix in (".py", ".ipynb")]
    source = "\n".join(text.decode("utf-8", errors="replace") for text in texts)
    return [reader for reader in READERS.values() if re.search(reader.pattern, source)] or [OTHER_READER]


class HardInput(NamedTuple):
    """One kind of hard input."""

    code: str
    title: str
    expected: ExpectedBehaviour
    make: Callable[[Footage], bytes]
    fix: str  # for a submission that fails on it; {unreadable} and {rotation} are filled in for its reader
    suffix: str = ".mp4"
    release_name: bool = False  # named by a number, as in the organizers' later release
    hypothetical: bool = False  # no known test file is like this: a failure is a warning

    @property
    def decodable(self) -> bool:
        """Whether at least one frame can be decoded."""
        return self.expected is not ExpectedBehaviour.FALLBACK

    def fix_for(self, readers: list[Reader]) -> str:
        """The advice, in terms of the readers that the submission uses."""
        return self.fix.format(
            unreadable=" ".join(reader.unreadable for reader in readers),
            rotation=" ".join(reader.rotation for reader in readers),
        )


class MadeInput(NamedTuple):
    """A hard input on disk, named after its code."""

    code: str
    path: Path


UNREADABLE = "{unreadable} Then write a fallback prediction, and list the file in fallbacks.csv."
NO_VIDEO = "Check that the file has a video stream. {unreadable}"
SHAPE = "Resize every frame to the model's input size; do not assume 1920x1080."
FEW_FRAMES = "Use the frames that can be decoded; if there are none, write a fallback prediction."
FRAME_COUNT = "Choose frames by counting what is decoded, not by time or by the frame rate in the header."
FACES = "Handle 0, 1 and many faces; without a face, write a fallback prediction."
NAMES = "Read file names from sample_submission.csv, not from a list of your own or a pattern such as *.mp4."
FALLBACK, EITHER, PREDICTION = ExpectedBehaviour.FALLBACK, ExpectedBehaviour.EITHER, ExpectedBehaviour.PREDICTION

HARD_INPUTS: tuple[HardInput, ...] = (
    HardInput("zero-bytes", "an empty file", FALLBACK, lambda _: b"", UNREADABLE),
    HardInput("truncated-header", "cut off in the index", FALLBACK, lambda c: c.ordinary[:HEADER_BYTES], UNREADABLE),
    HardInput("truncated-half", "only the first half", EITHER, lambda c: _first_part(c, 1, 2), FEW_FRAMES),
    HardInput("truncated-end", "without the last tenth", EITHER, lambda c: _first_part(c, 9, 10), FEW_FRAMES),
    HardInput("no-moov", "no moov box: frames without an index", FALLBACK, lambda c: _no_moov(c), UNREADABLE),
    HardInput(
        "garbage", "random bytes", FALLBACK, lambda c: random.Random(c.seed).randbytes(GARBAGE_BYTES), UNREADABLE
    ),
    HardInput(
        "no-audio",
        "no audio track",
        PREDICTION,
        lambda c: encode(c.first, audio=False),
        "Check that the file has an audio stream before you use it.",
    ),
    HardInput("audio-only", "no video track", FALLBACK, lambda c: only_audio(len(c.first) / footage.RATE), NO_VIDEO),
    HardInput("one-frame", "a single frame", EITHER, lambda c: encode(c.first[:1]), FEW_FRAMES),
    HardInput("rotated", "portrait by a rotation flag", PREDICTION, lambda c: rotated(c.ordinary), "{rotation}"),
    HardInput("15-fps", "15 frames a second", PREDICTION, lambda c: encode(c.first[::2], rate=15), FRAME_COUNT),
    HardInput(
        "variable-rate",
        "variable frame rate",
        PREDICTION,
        lambda c: encode(c.first, times_ms=[40 * n + (n % 5) * 7 for n in range(len(c.first))]),
        FRAME_COUNT,
    ),
    HardInput("quarter-size", "a quarter of the size", PREDICTION, lambda c: _quarter_size(c), SHAPE),
    HardInput("odd-size", "odd width and height", PREDICTION, lambda c: _odd_size(c), SHAPE),
    HardInput(
        "4k",
        "3840x2160",
        PREDICTION,
        lambda c: encode([resized(frame, 3840, 2160) for frame in c.first[:FRAMES_4K]]),
        f"{SHAPE} Resize while decoding: 300 frames of 4K take 7 GB.",
    ),
    HardInput(
        "ten-times-as-long",
        f"{LONG_CLIP_S} s long",
        PREDICTION,
        lambda c: encode([c.first[n % len(c.first)] for n in range(int(LONG_CLIP_S * LONG_RATE))], rate=LONG_RATE),
        "Keep only the frames you need, and stop reading after the last of them.",
    ),
    HardInput(
        "black",
        "black frames",
        EITHER,
        lambda c: encode([footage.black(*c.size)] * len(c.first)),
        f"{FACES} Guard divisions: a black frame has no contrast and no noise.",
    ),
    HardInput(
        "no-face",
        "a landscape without people",
        EITHER,
        lambda c: encode([footage.landscape(*c.size, n) for n in range(len(c.first))]),
        FACES,
    ),
    HardInput("two-faces", "two people side by side", PREDICTION, lambda c: _two_faces(c), FACES),
    HardInput(
        "hevc",
        "HEVC in an MP4",
        PREDICTION,
        lambda c: encode(c.first, codec="libx265", options={"x265-params": "log-level=none"}),
        "Use a reader with an HEVC decoder (the wheels of PyAV, OpenCV and decord have one), or write a fallback.",
    ),
    HardInput(
        "upper-case-suffix", "named .MP4", PREDICTION, lambda c: c.ordinary, NAMES, suffix=".MP4", hypothetical=True
    ),
    HardInput(
        "release-name",
        "named as in the later release, such as 4000.mp4",
        PREDICTION,
        lambda c: c.ordinary,
        f"{NAMES} Read the column as text: without .mp4, pandas would parse such a name as a number.",
        release_name=True,
    ),
)


def select(codes: list[str]) -> tuple[HardInput, ...]:
    """The hard inputs with these codes, in the order of HARD_INPUTS; all of them for no codes. Raises UsageError."""
    known = [hard.code for hard in HARD_INPUTS]
    for code in codes:
        if code not in known:
            raise UsageError(f"Unknown hard input {code!r}.", hint=suggest(code, known, label="Hard inputs"))
    return tuple(hard for hard in HARD_INPUTS if not codes or hard.code in codes)


def make(
    folder: Path, clips: list[Path], seed: int, inputs: tuple[HardInput, ...] = HARD_INPUTS
) -> tuple[list[MadeInput], dict[str, str]]:
    """Write each hard input into `folder` as <code><suffix>; those written, and why others were left out.

    The same clips, seed and library versions give the same bytes. Raises DataError if a clip cannot be decoded.
    """
    try:
        material = read_footage(clips, seed)
        readable = bool(material.first and material.second)
    except (av.FFmpegError, OSError, IndexError):
        readable = False
    if not readable:
        raise DataError(
            f"Cannot decode the first clips of {clips[0].parent}, from which hard inputs are made.",
            hint="Use a folder of intact clips: --data DIR",
        )
    made, left_out = [], {}
    for hard in inputs:
        try:
            content = hard.make(material)
        except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            left_out[hard.code] = f"PyAV on this machine cannot encode it: {error}"
            continue
        path = folder / f"{hard.code}{hard.suffix}"
        write_bytes(path, content)
        made.append(MadeInput(hard.code, path))
    return made, left_out


def new_name(rng: random.Random, hard: HardInput | None = None) -> str:
    """A random file name of ten lower-case letters, as in the challenge; or of the form that a hard input needs."""
    if hard is not None and hard.release_name:
        return f"{rng.choice(RELEASE_NAMES)}.mp4"
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))
    return letters + (".mp4" if hard is None else hard.suffix)


def _first_part(clip: Footage, numerator: int, denominator: int) -> bytes:
    return clip.ordinary[: len(clip.ordinary) * numerator // denominator]


def _no_moov(clip: Footage) -> bytes:
    return b"".join(content for name, content in top_boxes(clip.ordinary) if name != b"moov")


def _quarter_size(clip: Footage) -> bytes:
    width, height = (max(2, side // 4 // 2 * 2) for side in clip.size)
    return encode([resized(frame, width, height) for frame in clip.first])


def _odd_size(clip: Footage) -> bytes:
    """H.264 allows odd sizes only without chroma subsampling."""
    width, height = clip.size
    return encode([resized(frame, width - 1, height - 1, "yuv444p") for frame in clip.first])


def _two_faces(clip: Footage) -> bytes:
    return encode([footage.side_by_side(*pair) for pair in zip(clip.first, clip.second, strict=False)])
