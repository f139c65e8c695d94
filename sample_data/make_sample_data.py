"""Make the sample data: 16 training and 16 test clips in the layout of the challenge.

    python sample_data/make_sample_data.py [--out DIR] [--only NAME.mp4]

Everything is made from the pictures in sources/ and fixed seeds, so the same
package versions give the same bytes: Python 3.11, numpy 2.4.6,
opencv-python-headless 4.13.0.92, av 18.1.0. Other versions give nearly the same frames.
Takes about a minute on two cores. With --only, one clip is written into DIR.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads would slow this down

import numpy as np
from making.forge import forge
from making.portrait import REAL_PEOPLE, Array, Placement, Portrait, load
from making.scene import Footage, film
from making.video import Tape, loudness, voice, write

HERE = Path(__file__).resolve().parent
NAME_SEED = 20191322  # a seed whose name order is even over labels and over Usage
NTSC, PAL, SLOW = Fraction(30000, 1001), Fraction(25), Fraction(15)
SWAY_MARGIN = 0.03  # fraction of the frame height
WIDE, TALL = (640, 360), (360, 640)


@dataclass(frozen=True)
class Pair:
    """A real clip and its fake.

    `cast` lists the people: name, face height, x and y of the face, as fractions of the frame.
    """

    seed: int
    folder: str  # "train" or "test"
    cast: tuple[tuple[str, float, float, float], ...]
    donor: str | None  # None: the first person's face is blended with a changed copy of itself
    size: tuple[int, int] = WIDE
    fps: Fraction = NTSC
    frames: int = 72
    sound: bool = True
    crf: int = 24
    shrink: float = 1.0  # downsampling factor before the encode, see Tape
    usage: str = ""  # test only: Public or Private

    @property
    def people(self) -> list[str]:
        """Everyone whose face is used, the donor last."""
        return [name for name, *_ in self.cast] + ([self.donor] if self.donor else [])


PAIRS: tuple[Pair, ...] = (
    Pair(101, "train", (("ada", 0.46, 0.50, 0.46),), "fumi", crf=24, shrink=1.0),
    Pair(102, "train", (("chidi", 0.40, 0.38, 0.45),), None, fps=PAL, frames=60, crf=23, shrink=1.3),
    Pair(103, "train", (("fumi", 0.36, 0.62, 0.48),), "ada", crf=25, shrink=1.5),
    Pair(104, "train", (("gael", 0.50, 0.45, 0.46),), "ivo", sound=False, crf=26, shrink=1.15),
    Pair(105, "train", (("ivo", 0.42, 0.55, 0.45),), None, fps=SLOW, frames=36, crf=23, shrink=1.4),
    Pair(106, "train", (("astronaut", 0.50, 0.50, 0.42),), None, crf=24, shrink=1.0),
    Pair(107, "train", (("chidi", 0.34, 0.28, 0.48), ("ada", 0.32, 0.72, 0.50)), "gael", crf=22, shrink=1.2),
    Pair(108, "train", (("gael", 0.26, 0.50, 0.42),), None, size=TALL, fps=PAL, frames=60, crf=25, shrink=1.0),
    Pair(201, "test", (("bo", 0.44, 0.52, 0.46),), "emil", usage="Public", crf=25, shrink=1.25),
    Pair(202, "test", (("dora", 0.40, 0.42, 0.47),), None, usage="Private", sound=False, crf=24, shrink=1.0),
    Pair(203, "test", (("emil", 0.48, 0.50, 0.46),), "bo", usage="Private", crf=23, shrink=1.5),
    Pair(204, "test", (("hana", 0.38, 0.62, 0.47),), "juno", fps=PAL, frames=60, usage="Public", crf=26, shrink=1.0),
    Pair(205, "test", (("juno", 0.45, 0.45, 0.46),), None, fps=SLOW, frames=36, usage="Public", crf=24, shrink=1.3),
    Pair(206, "test", (("hopper", 0.30, 0.50, 0.42),), None, size=TALL, usage="Private", crf=23, shrink=1.2),
    Pair(
        207, "test", (("dora", 0.33, 0.72, 0.50), ("bo", 0.33, 0.28, 0.47)), "hana", usage="Private", crf=22, shrink=1.1
    ),
    Pair(208, "test", (("juno", 0.52, 0.55, 0.47),), "hana", fps=PAL, frames=60, usage="Public", crf=26, shrink=1.45),
)


@dataclass(frozen=True)
class Clip:
    """One file to write."""

    name: str
    pair: Pair
    fake: bool
    partner: str

    @property
    def folder(self) -> str:
        """Name of its folder in the data set."""
        return {"train": "train_sample_videos", "test": "test_videos"}[self.pair.folder]


def all_clips() -> list[Clip]:
    """Every clip with its random name, sorted by name."""
    rng = random.Random(NAME_SEED)  # noqa: S311
    clips = []
    for pair in PAIRS:
        real, fake = ("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10)) + ".mp4" for _ in range(2))
        clips += [Clip(real, pair, False, fake), Clip(fake, pair, True, real)]
    return sorted(clips, key=lambda clip: clip.name)


def place(person: Portrait, pair: Pair, height: float, x: float, y: float) -> Placement:
    """Convert fractions of the frame to a scale and a position in pixels."""
    frame = np.array(pair.size, np.float64)
    scale, at = height * frame[1] / person.face_height, frame * (x, y)
    if person.name in REAL_PEOPLE:  # a photograph must cover the frame, even when it sways
        still, margin = np.array(person.alpha.shape[::-1]), SWAY_MARGIN * frame[1]
        scale = max(scale, float(((frame + 2 * margin) / still).max()))
        at = np.clip(at, frame + margin - scale * (still - person.centre), scale * person.centre - margin)
    return Placement(scale, float(at[0]), float(at[1]))


@lru_cache(maxsize=1)
def shoot(pair: Pair) -> tuple[Footage, Array | None]:
    """The original frames of a pair and its audio."""
    rng = np.random.default_rng(pair.seed)
    speech = loudness(rng, pair.frames, float(pair.fps))
    sound = voice(rng, speech, float(pair.fps)) if pair.sound else None
    cast = [(person := load(name), place(person, pair, *where)) for name, *where in pair.cast]
    return film(cast, pair.size, pair.frames, float(pair.fps), speech, pair.seed + 1000), sound


def make_clip(clip: Clip, path: Path) -> None:
    """Render the frames, manipulate them if the clip is a fake, encode."""
    pair = clip.pair
    footage, sound = shoot(pair)
    frames = footage.frames
    if clip.fake:
        donor = load(pair.donor) if pair.donor else None
        frames = forge(frames, footage.faces[pair.cast[0][0]], donor, pair.seed + 2000)
    write(path, frames, Tape(pair.fps, pair.crf, pair.shrink, pair.sound), sound)


def write_table(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    """A CSV file with LF line ends."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header.split(","))
        table.writerows(rows)


def write_tables(out: Path, clips: list[Clip]) -> None:
    """metadata.json, the sample submission, the solution and the table of identities."""
    train = [c for c in clips if c.pair.folder == "train"]
    test = [c for c in clips if c.pair.folder == "test"]
    metadata = {
        c.name: {"label": "FAKE" if c.fake else "REAL", "split": "train", "original": c.partner if c.fake else None}
        for c in train
    }
    (out / "train_sample_videos" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    write_table(out / "sample_submission.csv", "filename,label", [(c.name, 0) for c in test])
    write_table(
        out / "solution" / "solution.csv", "filename,label,Usage", [(c.name, int(c.fake), c.pair.usage) for c in test]
    )
    rows = [(c.name, c.folder, c.pair.seed, c.pair.frames, " ".join(c.pair.people)) for c in clips]
    write_table(out / "sources" / "clips.csv", "filename,folder,pair,frames,people", rows)


def make_all(out: Path) -> None:
    """Make the whole data set in a temporary folder, then move it into place."""
    clips = all_clips()
    folders = ("train_sample_videos", "test_videos", "solution", "sources")
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        for folder in folders:
            (Path(scratch) / folder).mkdir()
        for clip in sorted(clips, key=lambda clip: (clip.pair.seed, clip.name)):  # each pair is rendered once
            make_clip(clip, Path(scratch) / clip.folder / clip.name)
            print(clip.folder, clip.name, flush=True)
        write_tables(Path(scratch), clips)
        for folder in folders[:3]:
            shutil.rmtree(out / folder, ignore_errors=True)
            (Path(scratch) / folder).rename(out / folder)
        (out / "sources").mkdir(exist_ok=True)
        for table in ("sample_submission.csv", "sources/clips.csv"):
            (Path(scratch) / table).replace(out / table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into (default: next to this script)")
    parser.add_argument("--only", metavar="NAME.mp4", help="make this one clip only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only is None:
        make_all(options.out)
        return
    named = [clip for clip in all_clips() if clip.name == options.only]
    if not named:
        parser.error(f"no clip named {options.only}; the names are in sources/clips.csv")
    make_clip(named[0], options.out / options.only)


if __name__ == "__main__":
    main()
