"""Fit model.json on training folders: python train.py TRAIN_FOLDER ... (each holds mp4 files and metadata.json).

How far the answers may leave 0.5 is measured, never assumed: on videos whose original no counted video shares. A
setting is taken only if it beats the constant 0.5 there by more than two standard errors; if none does, the model
answers 0.5. The loss printed at the end is of a second, outer split: no choice was made on the videos it is counted on.

Both classes weigh the same, in the table and in every loss, because the tests are half FAKE and half REAL and training
folders are not: the prior of the model is 0.5.
"""

import argparse
import hashlib
import itertools
import json
import math
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from main import FIELDS, UnusableError, all_fields, shrink_and_clip

PRIOR = 0.5
LN2 = math.log(2)  # what the prior costs, whatever the labels
FOLDS = 5
FEWEST = 10  # originals of each class: with fewer, nothing is believed
DOUBTS = (10.0, 3.0, 1.0)  # videos of each class that every cell begins with, most careful first
SHRINKAGES = (0.25, 0.5, 0.75, 1.0)
CLIPS = (0.05, 0.01)
CAUTION = 2.0  # standard errors: the best of many settings flatters itself

Setting = tuple[float, float, float]  # doubt, shrinkage, clip
CONSTANT: Setting = (DOUBTS[0], 0.0, CLIPS[0])


class Video(NamedTuple):
    """What is known of one video."""

    fields: tuple[str, str]
    fake: bool
    original: str


def read_labels(folder: Path) -> dict[str, tuple[bool, str]]:
    """Whether a video is FAKE, and its original (a REAL one is its own), by name; ends with a sentence if faulty."""
    path = folder / "metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: ({"FAKE": True, "REAL": False}[entry["label"]], entry.get("original") or name)
            for name, entry in sorted(metadata.items())
        }
    except OSError as error:
        fault = str(error.strerror)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"not of the challenge's form, {error!r}"
    form = '{"a.mp4": {"label": "FAKE", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}, ...}'
    raise SystemExit(f"{path}: {fault}. Expected: {form}.")


def load(folders: list[Path]) -> list[Video]:
    """All videos of all folders; names those that cannot be used."""
    videos = []
    for folder in folders:
        labels = read_labels(folder)
        for name, result in zip(labels, all_fields(folder / name for name in labels), strict=True):
            if isinstance(result, UnusableError):
                print(f"{name}: {result}, left out", flush=True)
            else:
                videos.append(Video(result, *labels[name]))
    return videos


def save(model: dict, path: Path) -> None:
    """Whole or not at all. Ends the program with a sentence if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(model, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise SystemExit(f"{path}: {error.strerror}. Choose a folder that can be written: --out FILE") from None


def fit(videos: list[Video], doubt: float) -> dict[str, float]:
    """The logit of each pair of fields, as if both classes were as many."""
    count = Counter((" ".join(video.fields), video.fake) for video in videos)
    fakes = sum(video.fake for video in videos)
    weight = (len(videos) - fakes) / max(fakes, 1)  # of a FAKE video against a REAL one
    cells = sorted({cell for cell, _ in count})
    return {cell: math.log((count[cell, True] * weight + doubt) / (count[cell, False] + doubt)) for cell in cells}


def folds(videos: list[Video]) -> list[tuple[list[Video], list[Video]]]:
    """(counted, held out) that share no original; none if a class has too few originals."""
    if min(len({video.original for video in videos if video.fake == fake}) for fake in (False, True)) < FEWEST:
        return []
    order = sorted({video.original for video in videos}, key=lambda name: hashlib.sha256(name.encode()).digest())
    fold = {original: place % FOLDS for place, original in enumerate(order)}
    return [
        (
            [video for video in videos if fold[video.original] != held],
            [video for video in videos if fold[video.original] == held],
        )
        for held in range(FOLDS)
    ]


def losses(videos: list[Video], logits: dict[str, float], setting: Setting) -> list[float]:
    """The log loss of each video."""
    _, shrinkage, clip = setting
    p = {cell: shrink_and_clip(logit, shrinkage, clip) for cell, logit in logits.items()}
    guesses = ((p.get(" ".join(video.fields), PRIOR), video.fake) for video in videos)
    return [-math.log(guess if fake else 1 - guess) for guess, fake in guesses]


def mean_and_error(videos: list[Video], loss: list[float]) -> tuple[float, float]:
    """The mean, both classes weighing the same, and its standard error; videos of one original are one observation."""
    of_class: dict[bool, list[float]] = {False: [], True: []}
    for video, value in zip(videos, loss, strict=True):
        of_class[video.fake].append(value)
    mean = {fake: sum(values) / len(values) for fake, values in of_class.items()}
    deviation: Counter[str] = Counter()
    for video, value in zip(videos, loss, strict=True):
        deviation[video.original] += (value - mean[video.fake]) / 2 / len(of_class[video.fake])
    n = len(deviation)
    return sum(mean.values()) / 2, math.sqrt(sum(d * d for d in deviation.values()) * n / max(n - 1, 1))


def choose(videos: list[Video]) -> Setting:
    """The setting whose held-out gain over the constant is largest after CAUTION standard errors are taken off."""
    best, best_bound = CONSTANT, LN2
    splits = folds(videos)
    held_out = [video for _, held in splits for video in held]
    for doubt in DOUBTS if splits else ():
        fitted = [(fit(counted, doubt), held) for counted, held in splits]
        for setting in itertools.product((doubt,), SHRINKAGES, CLIPS):
            loss = [value for logits, held in fitted for value in losses(held, logits, setting)]
            mean, error = mean_and_error(held_out, loss)
            if mean + CAUTION * error < best_bound:
                best, best_bound = setting, mean + CAUTION * error
    return best


def report(videos: list[Video]) -> dict:
    """The held-out loss, fitted and chosen without the videos it is counted on, printed beside the constant's."""
    loss, held_out = [], []
    for counted, held in folds(videos):
        setting = choose(counted)
        loss += losses(held, fit(counted, setting[0]), setting)
        held_out += held
    if not loss:
        print(f"Fewer than {FEWEST} originals of a class: the loss is unknown.")
        return {"n": 0}
    mean, error = mean_and_error(held_out, loss)
    originals = len({video.original for video in videos})
    print(f"held-out log loss {mean:.4f} (+/- {error:.4f}; n = {len(loss)}, {originals} originals, ", end="")
    print(f"both classes weighing the same); the constant 0.5: {LN2:.4f}")
    return {"n": len(loss), "originals": originals, "log_loss": mean, "standard_error": error, "constant": LN2}


def main() -> None:
    """Read, choose, fit, report, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, nargs="+", help="holds mp4 files and metadata.json")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    asked = options.parse_args()
    videos = load(asked.folder)
    if len({video.fake for video in videos}) < 2:
        raise SystemExit(f"{', '.join(map(str, asked.folder))}: FAKE and REAL videos are both needed.")
    setting = doubt, shrinkage, clip = choose(videos)
    if setting == CONSTANT:
        print("No setting beats the constant by more than two standard errors: this model answers 0.5.")
    count = Counter((" ".join(video.fields), "FAKE" if video.fake else "REAL") for video in videos)
    for (cell, label), videos_in_cell in sorted(count.items()):
        print(f"  {cell}: {videos_in_cell} {label}")
    model = {
        "fields": list(FIELDS),
        "logits": fit(videos, doubt),
        "shrinkage": shrinkage,
        "clip": clip,
        "prior": PRIOR,
        "held_out": report(videos),
        "made_with": {
            "command": f"python train.py {' '.join(folder.resolve().name for folder in asked.folder)}",
            "data": {"videos": len(videos), "fake": sum(video.fake for video in videos)},
            "doubt": doubt,
            "python": platform.python_version(),
            "av": version("av"),
        },
    }
    save(model, asked.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
