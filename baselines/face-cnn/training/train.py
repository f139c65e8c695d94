"""Train on the challenge's data:  python training/train.py TRAIN_FOLDER   (or FACES, from extract.py)

Writes weights.npz and model.json into model/, where main.py reads them. The network's blocks stay as they are: their
statistics are computed once for --pairs pairs of a real and a fake face, and a logistic regression is fitted on them,
which takes seconds. Faces that are extracted on the way are kept in --work.

The regression's strength and how far predictions may move away from 0.5 are chosen on held-out videos, which share no
original with the training videos: by --split (a CSV from `dfdc data split`: rows `train` are trained on, rows
`validation` held out), or else by cross-validation with --folds parts, and then the model is fitted on all videos.
Without a clear gain over the constant 0.5, predictions stay close to it.
"""

import argparse
import csv
import hashlib
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import common
import cv2
import extract
import network
import numpy as np
from batches import Pairs, Recipe, crops_of
from calibrate import SAFE_CLIP, too_few_originals
from common import InputError, at_least, folder_lock, fraction
from frames import cpu_count
from measure import HeldOut, auc, held_out_report, shrunk_loss
from network import MAX_DEVIATIONS, SIDE, FaceNet
from predict import Faces, Scorer, fastest_blocks, video_logit
from shards import SETTINGS, VideoEntry, read_index, read_settings
from sklearn.linear_model import LogisticRegression
from tasks import from_jpeg

FOLDS = 4
PAIRS = 3000
PAIRS_AT_ONCE = 4
SELF_BLENDED = 0.0
STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01)  # of the regression: scikit-learn's C, smaller is simpler
ITERATIONS = 300
MIN_SPREAD = 1e-3  # standard deviation of a statistic
MAX_HELD_OUT = 2000  # videos of a split; more would take long and hardly change the choice
PROGRESS_S = 5.0  # seconds between two lines of progress
PACKAGES = ("av", "numpy", "opencv-python-headless", "pyarrow", "scikit-learn")

Split = tuple[list[VideoEntry], list[VideoEntry]]  # training videos, held-out videos


# ------------------------------------------------------------------------------------------------------------ the data


def usable_videos(faces: Path) -> list[VideoEntry]:
    """The videos with a label and a face; prints how many are skipped and why. Raises InputError."""
    entries = read_index(faces)
    skipped = Counter(
        entry.reason.split(" (")[0] or "no label" for entry in entries if entry.reason or entry.label is None
    )
    for reason, count in sorted(skipped.items()):
        print(f"videos skipped, {reason}: {count}", flush=True)
    entries = [entry for entry in entries if not entry.reason and entry.label is not None]
    labels = Counter(entry.label for entry in entries)
    if not labels[0] or not labels[1]:
        raise InputError(
            f"{faces}: expected FAKE and REAL videos with a face, found {labels[1]} FAKE and {labels[0]} REAL. "
            "Labels come from metadata.json next to the videos when extract.py runs."
        )
    return entries


def folds(entries: list[VideoEntry], count: int, seed: int) -> list[Split]:
    """Cross-validation splits by original; the seed determines the assignment."""
    originals = sorted({entry.original for entry in entries}, key=lambda name: sha256(f"{seed} {name}"))
    fold_of = {name: n % count for n, name in enumerate(originals)}
    return [
        ([e for e in entries if fold_of[e.original] != n], [e for e in entries if fold_of[e.original] == n])
        for n in range(min(count, len(originals)))
    ]


def splits_of(entries: list[VideoEntry], args: argparse.Namespace) -> list[Split]:
    """The split of each training before the last. Raises InputError."""
    splits = [read_split(args.split, entries)] if args.split else folds(entries, args.folds, args.seed)
    if not all(any(entry.label == 0 for entry in train) for train, _ in splits):
        reals = {entry.original for entry in entries if entry.label == 0}
        raise InputError(
            f"With some originals held out, no REAL video is left to train on: originals with a REAL video and a face: "
            f"{len(reals)}. Add videos{', or give another --split' if args.split else ''}."
        )
    return splits


def read_split(path: Path, entries: list[VideoEntry]) -> Split:
    """The split in a CSV of `dfdc data split` with the columns filename and fold. Raises InputError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"filename", "fold"} <= set(rows.fieldnames or ()):
                raise ValueError(f"its columns are {', '.join(rows.fieldnames or ()) or 'none'}")
            part_of = {row["filename"]: row["fold"] for row in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: not a CSV with the columns filename and fold ({error}). Make one: dfdc data split"
        ) from error
    train, held_out = ([e for e in entries if part_of.get(e.video) == part] for part in ("train", "validation"))
    shared = {e.original for e in train} & {e.original for e in held_out}
    if shared or not train or not held_out:
        raise InputError(
            f"{path}: {len(train)} training videos, {len(held_out)} validation videos, {len(shared)} originals in both"
            f"{' (such as ' + min(shared) + ')' if shared else ''}. Make another: dfdc data split"
        )
    return train, sorted(held_out, key=lambda e: sha256(e.video))[:MAX_HELD_OUT]


def sha256(text: str) -> str:
    """In hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def faces_of(entry: VideoEntry) -> Faces:
    """The crops of each face of a video, as in main.py except for JPEG compression."""
    by_track: dict[int, list[np.ndarray]] = {}
    for crop in crops_of(entry):
        by_track.setdefault(crop.track, []).append(from_jpeg(crop.jpeg))
    return list(by_track.values())


# ------------------------------------------------------------------------------------------------------ the regression


class Rows(NamedTuple):
    """What the regression is fitted on: x (n, STATISTICS) float32, y (n,) 1 = FAKE, originals (n,) names."""

    x: np.ndarray
    y: np.ndarray
    originals: np.ndarray

    def without(self, originals: set[str]) -> "Rows":
        """The rows of other originals."""
        kept = np.array([name not in originals for name in self.originals])
        return Rows(self.x[kept], self.y[kept], self.originals[kept])


def rows_of_pairs(net: FaceNet, pairs: Pairs, count: int) -> Rows:
    """Statistics of pairs 0 to `count` - 1, computed on all cores, or on the GPU."""
    cv2.setNumThreads(1)  # pairs are made in several threads

    def compute(start: int) -> Rows:
        samples = [sample for n in range(start, min(start + PAIRS_AT_ONCE, count)) for sample in pairs[n]]
        x = net.statistics(np.stack([sample.crop for sample in samples]))
        return Rows(x, np.array([s.label for s in samples]), np.array([s.original for s in samples]))

    parts: list[Rows] = []
    pool, printed = ThreadPoolExecutor(cpu_count()), time.monotonic()
    try:
        for part in pool.map(compute, range(0, count, PAIRS_AT_ONCE)):
            parts.append(part)
            if time.monotonic() - printed >= PROGRESS_S:
                printed = time.monotonic()
                print(f"statistics of {len(parts) * PAIRS_AT_ONCE}/{count} pairs", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def fit(rows: Rows, strengths: tuple[float, ...]) -> dict[str, np.ndarray]:
    """A regression for each strength, as arrays of `network.REGRESSION`: weight (STATISTICS, k), bias (k,).

    Raises InputError if the rows have one class only.
    """
    if len(set(rows.y.tolist())) < 2:
        raise InputError("With some originals held out, no REAL or no FAKE face is left. Raise --pairs.")
    centre, spread = rows.x.mean(axis=0), np.maximum(rows.x.std(axis=0), MIN_SPREAD)
    deviations = np.clip((rows.x - centre) / spread, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    fitted = [LogisticRegression(C=c, max_iter=ITERATIONS).fit(deviations, rows.y) for c in strengths]
    weight = np.stack([model.coef_[0] for model in fitted], axis=1)
    bias = np.concatenate([model.intercept_ for model in fitted])
    arrays = {"centre": centre, "spread": spread, "weight": weight, "bias": bias}
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def held_out_logits(net: FaceNet, rows: Rows, splits: list[Split]) -> HeldOut:
    """Logits of all held-out videos, for each of STRENGTHS, from regressions on `rows` of other originals."""
    videos: list[VideoEntry] = []
    logits: list[list[float]] = []  # of each video, for each strength
    for n, (_, held_out) in enumerate(splits):
        net.set_regression(fit(rows.without({entry.original for entry in held_out}), STRENGTHS))
        print(f"held-out part {n + 1} of {len(splits)}: {len(held_out)} videos", flush=True)
        for entry, faces in Scorer(net, cpu_count()).videos((entry, faces_of(entry)) for entry in held_out):
            videos.append(entry)
            logits.append([video_logit([crops[:, k] for crops in faces]) for k in range(len(STRENGTHS))])
    return HeldOut(
        y=np.array([entry.label for entry in videos]),
        logits=dict(zip(STRENGTHS, np.array(logits).T, strict=True)),
        originals=np.array([entry.original for entry in videos]),
    )


# ------------------------------------------------------------------------------------------------------ what is written


def provenance(args: argparse.Namespace, train: list[VideoEntry], device: str) -> dict[str, object]:
    """The command, data, machine and package versions that made the model."""
    named = {"pairs": args.pairs, "self-blended": args.self_blended, "seed": args.seed}
    if args.split:
        named["split"] = args.split.name
    else:
        named["folds"] = args.folds
    options = [f"--{name} {value}" for name, value in named.items()]
    return {
        "command": " ".join(["python train.py", *(source.resolve().name for source in args.sources), *options]),
        "videos": len(train),
        "fake": sum(entry.label == 1 for entry in train),
        "originals": len({entry.original for entry in train}),
        "machine": f"{platform.system()} {platform.machine()}, {cpu_count()} cores, {device}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def write_json(path: Path, content: object) -> None:
    """Write JSON, atomically."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


# --------------------------------------------------------------------------------------------------------- the command


def find_faces(sources: list[Path], work: Path) -> Path:
    """The given folder of faces, or a new one extracted from the given videos. Raises InputError."""
    if len(sources) == 1 and (sources[0] / "index.csv").is_file():
        return sources[0]
    if len(sources) == 1 and (sources[0] / SETTINGS).is_file():
        raise InputError(f"{sources[0]} has no index.csv: extract.py did not finish. Run it again, it resumes.")
    faces = work / "faces"
    if code := extract.main([*map(str, sources), "--out", str(faces)]):
        sys.exit(code)
    return faces


def run(args: argparse.Namespace) -> None:
    """Compute statistics, choose strength, shrinkage and clip, fit, write the model. Raises InputError."""
    faces = find_faces(args.sources, args.work)
    entries, crops = usable_videos(faces), read_settings(faces)
    splits = splits_of(entries, args)
    train = splits[0][0] if args.split else entries
    net = network.load(None, fastest_blocks())
    print(f"{len(train)} training videos, {args.pairs} pairs on {net.blocks.device}", flush=True)
    rows = rows_of_pairs(net, Pairs(train, Recipe(args.seed, args.self_blended, SIDE)), args.pairs)
    results = held_out_logits(net, rows, splits)
    for strength, logits in results.logits.items():
        loss = shrunk_loss(results.y, logits)
        ranking = auc(results.y, logits)
        print(f"held out, strength {strength}: log loss {loss:.3f} at the best shrinkage, AUC {ranking:.3f}")
    chosen = results.choose()
    if chosen.clip == SAFE_CLIP:
        reason = too_few_originals(results.y, results.originals) or "No setting clearly beats the constant."
        print(f"{reason} Predictions stay between {SAFE_CLIP} and {1 - SAFE_CLIP}.")
        print("What helps is more data: the challenge's own training videos, or a made challenge of any size:")
        print("  dfdc data make --out made --train 600 --test 200")
    print(f"chosen on held-out videos: strength {chosen.model}, shrinkage {chosen.shrinkage:.3g}, clip {chosen.clip}")
    model = {
        "shrinkage": chosen.shrinkage,
        "clip": chosen.clip,
        "fast": crops["fast"],
        "held_out": held_out_report(results, args.seed),
        "made_with": {**provenance(args, train, net.blocks.device), "crops": crops, "strength": chosen.model},
    }
    regression = fit(rows, (chosen.model,))
    network.save({name: value.squeeze() for name, value in regression.items()}, args.out / "weights.npz")
    write_json(args.out / "model.json", model)
    print(f"wrote {args.out / 'weights.npz'} and model.json; next: dfdc run {common.SUBMISSION}")


def check_writable(folder: Path) -> None:
    """Create the folder and a file in it, before minutes of work. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong usage, 4 not written, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="a folder made by extract.py, or folders of videos")
    parser.add_argument(
        "--out", type=Path, default=common.SUBMISSION / "model", help="folder of weights.npz, model.json"
    )
    parser.add_argument("--work", type=Path, default=Path("face-cnn-training"), help="folder for extracted faces")
    parser.add_argument("--split", type=Path, help="CSV with the columns filename and fold, from: dfdc data split")
    parser.add_argument("--folds", type=at_least(2), default=FOLDS, help="cross-validation parts, without --split")
    parser.add_argument("--pairs", type=at_least(1), default=PAIRS, help="of faces (default: %(default)s)")
    parser.add_argument(
        "--self-blended",
        type=fraction,
        default=SELF_BLENDED,
        help="fraction of the fakes (default: %(default)s)",
    )
    parser.add_argument("--seed", type=at_least(0), default=0)
    args = parser.parse_args(argv)
    try:
        check_writable(args.work)
        check_writable(args.out)
        with folder_lock(args.work):
            run(args)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error}. Free some space, or choose another --work or --out.", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("\nstopped; nothing was written but extracted faces", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
