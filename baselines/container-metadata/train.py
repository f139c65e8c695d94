"""Fit model.json on training folders: python train.py TRAIN_FOLDER ... (each holds mp4 files and metadata.json).

How far predictions may move away from 0.5 is chosen on held-out videos, which share no original with the counted ones.
A setting is used only if it beats the constant 0.5 there by more than two standard errors; if none does, the model
predicts 0.5. The loss printed at the end comes from a second, outer split: nothing was chosen on its held-out videos.

Both classes weigh the same in the table and in every loss, because the tests are half FAKE and half REAL and training
folders are not.
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

from main import FIELDS, UnusableVideoError, all_fields, to_probability

FALLBACK = 0.5  # prediction for a video that cannot be used
LN2 = math.log(2)  # loss of the constant 0.5, whatever the labels
FOLDS = 5
MIN_ORIGINALS = 10  # of each class; with fewer, the model predicts 0.5
PSEUDOCOUNTS = (10.0, 3.0, 1.0)  # of each class, added to every cell; most careful first
SHRINKAGES = (0.25, 0.5, 0.75, 1.0)
CLIPS = (0.05, 0.01)
STANDARD_ERRORS = 2.0  # margin over the constant, because the best of many settings is optimistic

Setting = tuple[float, float, float]  # pseudocount, shrinkage, clip
CONSTANT: Setting = (PSEUDOCOUNTS[0], 0.0, CLIPS[0])


class Video(NamedTuple):
    """The container fields and label of one video."""

    fields: tuple[str, str]
    fake: bool
    original: str


def read_labels(folder: Path) -> dict[str, tuple[bool, str]]:
    """(is FAKE, original) by name; a REAL video is its own original. Exits with a message if the file is faulty."""
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
        fault = f"not in the challenge's format, {error!r}"
    example = '{"a.mp4": {"label": "FAKE", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}, ...}'
    raise SystemExit(f"{path}: {fault}. Expected: {example}.")


def load(folders: list[Path]) -> list[Video]:
    """The usable videos of all folders; prints the others."""
    videos = []
    for folder in folders:
        labels = read_labels(folder)
        for name, result in zip(labels, all_fields(folder / name for name in labels), strict=True):
            if isinstance(result, UnusableVideoError):
                print(f"{name}: {result}, skipped", flush=True)
            else:
                videos.append(Video(result, *labels[name]))
    return videos


def save(model: dict, path: Path) -> None:
    """Write JSON atomically. Exits with a message if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(model, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise SystemExit(f"{path}: {error.strerror}. Choose a writable file: --out FILE") from None


def fit(videos: list[Video], pseudocount: float) -> dict[str, float]:
    """The logit of each pair of fields, as if the classes were balanced."""
    count = Counter((" ".join(video.fields), video.fake) for video in videos)
    fakes = sum(video.fake for video in videos)
    weight = (len(videos) - fakes) / max(fakes, 1)  # of a FAKE video relative to a REAL one
    cells = sorted({cell for cell, _ in count})
    return {
        cell: math.log((count[cell, True] * weight + pseudocount) / (count[cell, False] + pseudocount))
        for cell in cells
    }


def folds(videos: list[Video]) -> list[tuple[list[Video], list[Video]]]:
    """(counted, held-out) videos that share no original; empty if a class has fewer than MIN_ORIGINALS."""
    if min(len({video.original for video in videos if video.fake == fake}) for fake in (False, True)) < MIN_ORIGINALS:
        return []
    order = sorted({video.original for video in videos}, key=lambda name: hashlib.sha256(name.encode()).digest())
    fold = {original: position % FOLDS for position, original in enumerate(order)}
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
    p = {cell: to_probability(logit, shrinkage, clip) for cell, logit in logits.items()}
    predictions = ((p.get(" ".join(video.fields), FALLBACK), video.fake) for video in videos)
    return [-math.log(prediction if fake else 1 - prediction) for prediction, fake in predictions]


def mean_and_error(videos: list[Video], loss: list[float]) -> tuple[float, float]:
    """Class-balanced mean and its standard error; videos of one original count as one observation."""
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
    """The setting whose held-out gain over the constant is largest minus STANDARD_ERRORS."""
    best, best_bound = CONSTANT, LN2
    splits = folds(videos)
    held_out = [video for _, held in splits for video in held]
    for pseudocount in PSEUDOCOUNTS if splits else ():
        fitted = [(fit(counted, pseudocount), held) for counted, held in splits]
        for setting in itertools.product((pseudocount,), SHRINKAGES, CLIPS):
            loss = [value for logits, held in fitted for value in losses(held, logits, setting)]
            mean, error = mean_and_error(held_out, loss)
            if mean + STANDARD_ERRORS * error < best_bound:
                best, best_bound = setting, mean + STANDARD_ERRORS * error
    return best


def report(videos: list[Video]) -> dict:
    """The loss on an outer held-out split, on which nothing was fitted or chosen; printed beside the constant's."""
    loss, held_out = [], []
    for counted, held in folds(videos):
        setting = choose(counted)
        loss += losses(held, fit(counted, setting[0]), setting)
        held_out += held
    if not loss:
        print(f"Fewer than {MIN_ORIGINALS} originals in a class: the held-out loss is unknown.")
        return {"n": 0}
    mean, error = mean_and_error(held_out, loss)
    originals = len({video.original for video in videos})
    print(f"held-out log loss {mean:.4f} (+/- {error:.4f}; n = {len(loss)}, {originals} originals, ", end="")
    print(f"both classes weighted equally); constant 0.5: {LN2:.4f}")
    return {"n": len(loss), "originals": originals, "log_loss": mean, "standard_error": error, "constant": LN2}


def main(argv: list[str] | None = None) -> None:
    """Read the videos, choose a setting, fit, report, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="holds mp4 files and metadata.json")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    args = parser.parse_args(argv)
    videos = load(args.folder)
    if len({video.fake for video in videos}) < 2:
        raise SystemExit(f"{', '.join(map(str, args.folder))}: expected FAKE and REAL videos, found one class only.")
    setting = pseudocount, shrinkage, clip = choose(videos)
    if setting == CONSTANT:
        print("No setting beats the constant by more than two standard errors: this model predicts 0.5.")
    count = Counter((" ".join(video.fields), "FAKE" if video.fake else "REAL") for video in videos)
    for (cell, label), videos_in_cell in sorted(count.items()):
        print(f"  {cell}: {videos_in_cell} {label}")
    model = {
        "fields": list(FIELDS),
        "logits": fit(videos, pseudocount),
        "shrinkage": shrinkage,
        "clip": clip,
        "fallback": FALLBACK,
        "held_out": report(videos),
        "made_with": {
            "command": f"python train.py {' '.join(folder.resolve().name for folder in args.folder)}",
            "data": {"videos": len(videos), "fake": sum(video.fake for video in videos)},
            "pseudocount": pseudocount,
            "python": platform.python_version(),
            "av": version("av"),
        },
    }
    save(model, args.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
