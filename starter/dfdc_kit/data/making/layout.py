"""Files and tables of a made challenge, in the official layout; what reveals labels is kept apart."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge, SubmissionFile
from dfdc_kit.data.making import augment, clips, manipulations, people
from dfdc_kit.data.making.clips import Pair, random_pair
from dfdc_kit.data.making.degrade import random_for
from dfdc_kit.data.making.make import MakeOptions
from dfdc_kit.errors import OutputError
from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import format_bytes

PROVENANCE = "provenance"
CONSENT = "not needed: this person does not exist (rendered by computer)"
LICENCE = "CC0-1.0"
Pairs = Sequence[tuple[Pair, bool]]  # each with whether its fake is wanted


def split_people(options: MakeOptions) -> dict[str, list[str]]:
    """Part -> people; half train, a quarter Public, a quarter Private, the first ones with `options.people`.

    Parts share no people, with any seed: a model trained on one made challenge meets new people in every other.
    """
    order = [str(name) for name in random_for("people").permutation(people.names())]
    quarter = len(order) // 4
    members = {"Private": order[:quarter], "Public": order[quarter : 2 * quarter], "train": order[2 * quarter :]}
    tests = max(2, (options.people or len(order)) // 4)
    wanted = {"Private": tests, "Public": tests, "train": (options.people or len(order)) - 2 * tests}
    return {part: sorted(some[: wanted[part]]) for part, some in members.items()}


def plan_pairs(options: MakeOptions, members: dict[str, list[str]]) -> Pairs:
    """All pairs; the last one of training or test has no fake where the number of clips is odd."""
    wanted = []
    for count, parts in ((options.train, ("train",)), (options.test, ("Public", "Private"))):
        for number in range((count + 1) // 2):
            part = parts[number % len(parts)]
            pair = random_pair(options.seed, part, number // len(parts), options.size, members[part])
            wanted.append((pair, 2 * number + 1 < count))
    return wanted


@dataclass(frozen=True)
class Layout:
    """Where things are in the folder of a made challenge."""

    out: Path
    challenge: Challenge

    def folder(self, part: str) -> Path:
        """The folder of the clips of `part`."""
        names = self.challenge.data
        return self.out / (names.train_videos if part == "train" else names.test_videos)

    def paths(self, pair: Pair, with_fake: bool) -> tuple[Path, Path | None]:
        """The files of a pair."""
        real, fake = (self.folder(pair.part) / name for name in pair.names)
        return real, fake if with_fake else None

    def prepare(self) -> None:
        """Make the folders, and remove what a killed worker left. Raises OutputError."""
        try:
            for part in ("train", "Public"):
                self.folder(part).mkdir(parents=True, exist_ok=True)
                for left in self.folder(part).glob(".*.part"):
                    left.unlink(missing_ok=True)
        except OSError as error:
            message = f"Cannot write into {self.out}: {error.strerror}."
            raise OutputError(message, hint="Choose a writable folder: --out DIR") from error


def _write_table(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    lines = [header.split(","), *rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(_cell(value) for value in line) + "\n" for line in lines)
    write_bytes(path, text.encode())


def _cell(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return f'"{text}"' if "," in text else text


def write_tables(layout: Layout, pairs: Pairs, options: MakeOptions, members: dict[str, list[str]]) -> tuple[int, int]:
    """Write labels, solution, provenance and the data card; the bytes of all clips, and the number of fakes."""
    names, labels = layout.challenge.data, layout.challenge.submission
    rows = sorted(row for pair, with_fake in pairs for row in _clip_rows(pair, with_fake, labels))
    train = [row for row in rows if row[1] == "train"]
    test = [row for row in rows if row[1] != "train"]
    metadata = {
        str(name): {"label": label, "split": "train", "original": original or None}
        for name, _, label, original, *_ in train
    }
    write_bytes(layout.folder("train") / names.metadata, json.dumps(metadata).encode())
    _write_table(layout.out / names.sample_submission, "filename,label", [(row[0], 0) for row in test])
    solution = layout.out / names.solution
    judged = [(row[0], int(row[2] == labels.positive), row[1], row[3]) for row in test]
    _write_table(solution, "filename,label,Usage,original", judged)
    columns = (
        "filename,part,label,original,manipulation,strength,audio_swap,augmentation,distractor,width,height,fps,people"
    )
    apart = [(row[0], *row[4:9]) for row in test]
    header = "filename,manipulation,strength,audio_swap,augmentation,distractor"
    _write_table(solution.with_name("manipulations.csv"), header, apart)
    consent = [(*row, LICENCE, "none needed: no real person is shown or heard") for row in rows]
    _write_table(layout.out / PROVENANCE / "clips.csv", columns + ",licence,consent", consent)
    part_of = {name: part for part, some in members.items() for name in some}
    known = [
        (r["person"], part_of.get(r["person"], "unused"), r["sex"], r["age"], r["render_seed"], LICENCE, CONSENT)
        for r in people.records()
    ]
    _write_table(
        layout.out / PROVENANCE / "people.csv", "person,part,sex,age,render_seed,licence,consent", sorted(known)
    )
    size = sum(path.stat().st_size for part in ("train", "Public") for path in layout.folder(part).glob("*.mp4"))
    write_bytes(layout.out / "README.md", data_card(options, rows, members, size).encode())
    return size, sum(row[2] == labels.positive for row in rows)


def _clip_rows(pair: Pair, with_fake: bool, labels: SubmissionFile) -> Iterable[tuple[object, ...]]:
    """The rows of a pair in provenance/clips.csv."""
    real, fake = pair.names
    width, height = pair.size
    tail = (pair.augmentation, pair.distractor, width, height, round(float(pair.fps), 3))
    on_screen = " ".join(role.person for role in pair.roles)
    yield (real, pair.part, labels.negative, "", "", "", "", *tail, on_screen)
    if with_fake:
        how = manipulations.random_recipe(random_for("fake", *pair.key))
        swapped = "yes" if pair.audio_swap and not pair.silent else ""
        yield (fake, pair.part, labels.positive, real, pair.family, how.strength, swapped, *tail, " ".join(pair.people))


def data_card(
    options: MakeOptions, rows: Sequence[Sequence[object]], members: dict[str, list[str]], size_bytes: int
) -> str:
    """README.md of a made challenge."""
    by_part = Counter((row[1], row[4]) for row in rows if row[3])  # fakes have an original
    parts = ("train", "Public", "Private")
    table = "\n".join(
        f"| {family} | " + " | ".join(str(by_part[part, family]) for part in parts) + " |"
        for family in manipulations.FAMILIES
    )
    command = f"dfdc data make --out DIR --train {options.train} --test {options.test} --seed {options.seed}"
    command += f" --size {options.size}" + (f" --people {options.people}" if options.people else "")
    counts = ", ".join(f"{len(members[part])} {part}" for part in parts)
    return CARD.format(
        command=command,
        version=__version__,
        clips=f"{len(rows):,}",
        fakes=f"{sum(row[2] == 'FAKE' for row in rows):,}",
        size=format_bytes(size_bytes),
        people=counts,
        table=table,
        unseen=" and ".join(manipulations.UNSEEN),
        augmented=round(100 * clips.AUGMENTED),
        distracted=round(100 * clips.DISTRACTED),
        augmentations=", ".join(augment.AUGMENTATIONS),
        distractors=", ".join(augment.DISTRACTORS),
        two=round(100 * clips.TWO_FACES),
        late=round(100 * clips.ENTERS_LATE),
        silent=round(100 * clips.SILENT),
        audio=round(100 * clips.AUDIO_SWAP),
        numpy=np.__version__,
    )


CARD = """# Made challenge

    {command}

Made by dfdc-starter-kit {version} with numpy {numpy}: {clips} clips, {fakes} of them FAKE, {size}. The same
command with the same package versions on the same kind of processor gives the same bytes, whatever the number of
workers.

**Good for** learning whether a pipeline trains, generalizes to unseen people and manipulations, and survives degraded
video; for rehearsing a competition. **Not good for** claims about real deepfakes: people are rendered stills that are
warped, rooms are drawn, and the manipulations are simple. A score here says nothing about a score on real video.

## What is in it

- REAL clips and FAKE ones made from their frames, both with the same light, noise, loss of quality and one encode, its
  quality drawn anew for each clip (CRF 20 to 35). Parts share no people: {people} people.
- Of the pairs, about {two} % show two faces (the first one is manipulated), in {late} % the person walks in after a
  while, {silent} % are silent, and in {audio} % the fake has another voice as well.
- Training clips are clean. About {augmented} % of the test pairs are augmented and {distracted} % have a distractor,
  both clips of a pair alike. Augmentations: {augmentations}. Distractors: {distractors}.
- The Private part holds people and manipulations that neither training nor the Public part has: {unseen}.

Fakes by manipulation:

| manipulation | train | Public | Private |
|---|---|---|---|
{table}

face-swap: another person's face warped onto the landmarks. self-blend: the own face with changed colours, sharpness and
position. nearest-neighbour-morph: a morph with the most similar person. low-resolution: a swap as a small generator
makes it, upsampled. expression-transfer: the own face driven by another performance. colour-mismatch: a swap whose
skin colour fits badly.

## Files

| path | what |
|---|---|
| `train_sample_videos/` | training clips and `metadata.json`, in the official format |
| `test_videos/` | test clips, no labels |
| `sample_submission.csv` | the test names; the label is the integer 0, as in the official file |
| `solution/solution.csv` | `filename,label,Usage,original`; 1 is FAKE. A submission must not see this folder |
| `solution/manipulations.csv` | what was done to each test clip |
| `provenance/people.csv` | every person: source, consent, licence |
| `provenance/clips.csv` | every clip: label, original, manipulation, consent, licence. Not for submissions either |

## Consent and licence

No real person is shown or heard. The people are rendered from the MakeHuman base mesh and its morph targets (CC0-1.0);
rooms and voices are computed. All clips and tables: CC0-1.0, as far as any rights exist.
"""
