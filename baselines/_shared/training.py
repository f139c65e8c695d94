"""What training needs whatever the model: labels, folds, a held-out report, provenance, a saved model.

Copied from baselines/_shared by `make baselines-sync`: change it there, not in a bundled baseline.
"""

import csv
import errno
import hashlib
import json
import os
import platform
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from calibrate import LN2, interval, losses, weights
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
MORE_DATA = """\
What helps is more data: the challenge's own training videos, or a made challenge of any size:
  dfdc data make --out made --train 600 --test 200
  python train.py made/train_sample_videos"""


def read_seed(text: str) -> int:
    """Read the seed of a random generator, for argparse's `type`."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def add_folders(parser: ArgumentParser) -> None:
    """The training folders, as arguments of a train.py."""
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="TRAIN_FOLDER",
        help="mp4 files and metadata.json, as in train_sample_videos; several: such as degraded copies of the first",
    )


class Clip(NamedTuple):
    """A labelled video."""

    path: Path
    fake: bool
    original: str  # the REAL video it was made from; a REAL video is its own original


def read_clips(folder: Path) -> list[Clip]:
    """The videos listed in `folder`/metadata.json, by name. Exits with a message if the file is faulty.

    Without that file, those of `folder`/solution/solution.csv: a validation folder as `dfdc data split` makes it.
    """
    try:
        solution = folder / "solution" / "solution.csv"
        if solution.is_file() and not (folder / "metadata.json").is_file():
            with solution.open(newline="", encoding="utf-8") as file:
                rows = sorted(csv.DictReader(file), key=lambda row: row["filename"])
            return [
                Clip(
                    folder / "test_videos" / row["filename"],
                    row["label"] == "1",
                    row.get("original") or row["filename"],
                )
                for row in rows
            ]
        metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        return [
            Clip(folder / name, {"FAKE": True, "REAL": False}[entry["label"]], entry.get("original") or name)
            for name, entry in sorted(metadata.items())
        ]
    except OSError as error:
        fault = str(error.strerror)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"not in the challenge's format, {error!r}"
    raise SystemExit(
        f"{folder}/metadata.json: {fault}. Expected: a folder such as train_sample_videos, with mp4 files and "
        '{"a.mp4": {"label": "FAKE", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}, ...}.'
    )


def read_features(
    folders: Sequence[Path], read: Callable[[Iterable[Path]], Iterable[np.ndarray | Exception]], wanted: str
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Features of each usable video, labels (n,) 1 = FAKE, originals (n,); prints the unusable videos.

    `read(paths)`: features, or why there are none, of each. Exits if not both kinds of `wanted` videos are usable.
    """
    clips = [clip for folder in folders for clip in read_clips(folder)]
    values, labels, originals = [], [], []
    for number, (clip, result) in enumerate(zip(clips, read(clip.path for clip in clips), strict=True), 1):
        if isinstance(result, Exception):
            print(f"{clip.path.name}: {result}, skipped", flush=True)
        else:
            values.append(result)
            labels.append(clip.fake)
            originals.append(clip.original)
        if number % 50 == 0:
            print(f"{number}/{len(clips)} videos read", flush=True)
    if len(set(labels)) < 2:
        raise SystemExit(
            f"{', '.join(map(str, folders))}: expected {wanted}; {len(values)} of {len(clips)} videos are usable."
        )
    return values, np.array(labels, dtype=np.int64), np.array(originals)


def folds(y: np.ndarray, originals: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training rows, held-out rows) that share no original; empty with fewer than two originals in a class."""
    fewest = min(len(set(originals[y == label])) for label in (0, 1))
    if fewest < 2:
        return []
    splits = StratifiedGroupKFold(min(FOLDS, fewest)).split(y, y, originals)
    return [(train, held_out) for train, held_out in splits if len(set(y[train])) == 2]


def report(p: np.ndarray, y: np.ndarray, originals: np.ndarray, seed: int) -> dict:
    """Loss and interval of held-out predictions p (n,), NaN where there is none; printed beside the constant's."""
    known = np.isfinite(p)
    if len(set(y[known])) < 2:
        print("Too few originals to hold any out: the held-out loss is unknown.")
        return {"n": 0}
    p, y, originals = p[known], y[known], originals[known]
    loss = losses(y, p)
    mean, (low, high) = float(weights(y) @ loss), interval(loss, y, originals, seed)
    print(f"held-out log loss {mean:.4f} (95 % interval {low:.4f} to {high:.4f}; n = {len(y)}, ", end="")
    print(f"{len(set(originals))} originals, both classes weighted equally); constant 0.5: {LN2:.4f}")
    return {
        "n": len(y),
        "originals": len(set(originals)),
        "log_loss": mean,
        "interval_95": [low, high],
        "constant": LN2,
    }


def provenance(folders: Sequence[Path], y: np.ndarray, seed: int, packages: tuple[str, ...]) -> dict:
    """The data, command, machine and package versions that made a model."""
    return {
        "command": f"python train.py {' '.join(folder.resolve().name for folder in folders)} --seed {seed}",
        "data": {"videos": len(y), "fake": int(y.sum()), "sha256": videos_sha256(folders)},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def videos_sha256(folders: Sequence[Path]) -> str:
    """sha256 over the names and contents of the folders' mp4 files."""
    digest = hashlib.sha256()
    for path in (path for folder in folders for path in sorted(folder.glob("*.mp4"))):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).hexdigest().encode() + b"\n")
    return digest.hexdigest()


def check_writable(path: Path) -> None:
    """Exit with a message if `save_model` could not write `path`: better before training than after."""
    part = path.with_name(f"{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        part.touch()
        part.unlink()
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}. Choose a writable file: --out FILE") from None


def save_model(model: dict, path: Path) -> None:
    """Write the model as JSON, atomically. Exits with a message if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(model, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise SystemExit(f"{path}: {error.strerror}. Choose a writable file: --out FILE") from None
