"""Train on the challenge's data:  python training/train.py TRAIN_FOLDER   (or FACES, from extract.py)

Writes weights.npz and model.json into model/, where main.py reads them; the work folder keeps checkpoints, metrics.json
and curves.png. It can be stopped at any time, by Ctrl-C or a kill: the same command resumes from the last checkpoint.

How far predictions may move away from 0.5 is measured on held-out videos, which share no original with the training
videos: by --split (a CSV from `dfdc data split`: rows `train` are trained on, rows `validation` held out), or else by
cross-validation with --folds trainings before the last one on all videos. So is the step to stop after. Without a clear
gain over the constant 0.5, predictions stay close to it.
"""

import argparse
import csv
import hashlib
import json
import platform
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from threading import Event

import common
import extract
import numpy as np
import torch
from batches import Recipe, crops_of
from calibrate import SAFE_CLIP, too_few_originals
from common import InputError, at_least, folder_lock, fraction
from fit import PRETRAINED, Machine, Plan, Row, StoppedError, Training, fit, read_checkpoint, weights_file
from frames import cpu_count
from measure import HeldOut, auc, draw_curves, held_out_report, raw_loss
from network import SIDE
from predict import Faces, Scorer, batch_size, video_logit
from shards import SETTINGS, VideoEntry, read_index, read_settings
from tasks import from_jpeg

FOLDS = 4
CPU_PAIRS = 12
BYTES_PER_CROP = 40 << 20  # of GPU memory in training, mixed precision
PASSES, MIN_STEPS, MAX_STEPS = 20, 250, 20_000  # over the real crops
SELF_BLENDED = 1.0
MAX_HELD_OUT = 2000  # videos of a split; more would cost hours and hardly change the choice
LEARNING_RATE = 1e-3
PACKAGES = ("av", "numpy", "opencv-python-headless", "pyarrow", "torch")

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


# -------------------------------------------------------------------------------------------------------- the trainings


@dataclass(frozen=True)
class Job:
    """What the trainings of one command share."""

    plan: Plan
    machine: Machine
    work: Path
    stop: Event

    def train(self, name: str, entries: list[VideoEntry], held_out: list[VideoEntry], last: int) -> list[Row]:
        """Train on `entries` up to step `last`; returns the evaluations on `held_out`."""
        training = Training(self.plan_for(entries, held_out), self.machine)
        fit(training, entries, self.checkpoint(name), last, lambda now: evaluate(now, held_out), self.stop)
        return training.history

    def plan_for(self, entries: list[VideoEntry], held_out: list[VideoEntry]) -> Plan:
        """The plan with digests of the training and the held-out videos."""
        train, validation = (
            sha256(json.dumps([(e.video, e.label, e.original, e.crops) for e in part])) for part in (entries, held_out)
        )
        return replace(self.plan, videos_sha256=train, held_out_sha256=validation)

    def checkpoint(self, name: str) -> Path:
        """The checkpoint of a training."""
        return self.work / f"{name}.pt"


def evaluate(training: Training, held_out: list[VideoEntry]) -> Row:
    """Logits of the held-out videos, and their loss and AUC before calibration; empty without held-out videos."""
    if not held_out:
        return {}
    scorer = Scorer(training.net, training.machine.device, cores=1)  # each batch uses all threads
    scored = scorer.videos((entry.video, faces_of(entry)) for entry in held_out)
    y, logits = np.array([entry.label for entry in held_out]), np.array([video_logit(faces) for _, faces in scored])
    return {"held_out_loss": raw_loss(y, logits), "held_out_auc": auc(y, logits), "held_out_logits": logits.tolist()}


def train_splits(job: Job, splits: list[Split], histories: dict[str, list[Row]]) -> HeldOut:
    """Train once per split; returns the predictions for all held-out videos. Fills `histories`."""
    for n, (train, held_out) in enumerate(splits):
        histories[f"fold-{n}"] = job.train(f"fold-{n}", train, held_out, job.plan.steps)
        write_curves(job.work, histories)
    videos = [entry for _, held_out in splits for entry in held_out]
    rows = [histories[f"fold-{n}"] for n in range(len(splits))]  # of equal length: evaluated after the same steps
    return HeldOut(
        y=np.array([entry.label for entry in videos]),
        logits={
            now[0]["step"]: np.concatenate([row["held_out_logits"] for row in now]) for now in zip(*rows, strict=True)
        },
        originals=np.array([entry.original for entry in videos]),
    )


# ------------------------------------------------------------------------------------------------------ what is written


def write_curves(work: Path, histories: dict[str, list[Row]]) -> None:
    """Write metrics.json and curves.png of the trainings so far."""
    write_json(work / "metrics.json", histories)
    draw_curves(work / "curves.png", histories)


def provenance(args: argparse.Namespace, plan: Plan, entries: list[VideoEntry], device: str) -> dict[str, object]:
    """The command, data, machine and package versions that made the model."""
    named = {"folds": args.folds, "steps": args.steps, "pairs": args.pairs, "seed": args.seed}
    options = [f"--{name} {value}" for name, value in named.items() if value is not None]
    if args.split:
        options.append(f"--split {args.split.name}")
    return {
        "command": " ".join(["python train.py", *(source.resolve().name for source in args.sources), *options]),
        "videos": len(entries),
        "fake": sum(entry.label == 1 for entry in entries),
        "plan": asdict(plan),
        "machine": f"{platform.system()} {platform.machine()}, {cpu_count()} cores, {device}",
        "threads": torch.get_num_threads(),
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


def pairs_for(machine: Machine, work: Path) -> int:
    """Pairs per batch: those of a training in `work`, because free memory may have changed; else by free memory."""
    if (checkpoint := work / "fold-0.pt").exists():
        return int(read_checkpoint(checkpoint, torch.device("cpu"))["plan"]["recipe"]["pairs"])
    return batch_size(machine.device, BYTES_PER_CROP) // 2 if machine.device.type == "cuda" else CPU_PAIRS


def plan_for(entries: list[VideoEntry], machine: Machine, args: argparse.Namespace, crops: dict[str, object]) -> Plan:
    """Batch size by memory and steps by the number of real crops, unless given as options."""
    pairs = args.pairs or pairs_for(machine, args.work)
    real_crops = sum(entry.crops for entry in entries if entry.label == 0)
    steps = args.steps or min(MAX_STEPS, max(MIN_STEPS, PASSES * real_crops // pairs))
    recipe = Recipe(seed=args.seed, pairs=pairs, self_blended=args.self_blended, side=SIDE)
    pretrained = hashlib.sha256(PRETRAINED.read_bytes()).hexdigest()
    return Plan(args.seed, steps, recipe, LEARNING_RATE, pretrained, "", "", crops, args.residual)


def run(args: argparse.Namespace, stop: Event) -> None:
    """Run all trainings, choose step, shrinkage and clip, write the model. Raises InputError, StoppedError."""
    machine = Machine.this(cpu_count(), args.checkpoint_s, args.workers)
    faces = find_faces(args.sources, args.work)
    entries, crops = usable_videos(faces), read_settings(faces)
    splits = splits_of(entries, args)
    job = Job(plan_for(entries, machine, args, crops), machine, args.work, stop)
    print(f"{len(entries)} videos, {job.plan.steps} steps of {job.plan.recipe.pairs} pairs on {machine.device}")
    histories: dict[str, list[Row]] = {}
    results = train_splits(job, splits, histories)
    chosen = results.choose()
    final, (train, held_out) = "fold-0", splits[0]
    if not args.split:
        final, train, held_out = "all", entries, []
        histories[final] = job.train(final, train, held_out, last=chosen.model)
        write_curves(args.work, histories)
    if chosen.clip == SAFE_CLIP:
        reason = too_few_originals(results.y, results.originals) or "No setting clearly beats the constant."
        print(f"{reason} Predictions stay between {SAFE_CLIP} and {1 - SAFE_CLIP}.")
        print("What helps is more data: the challenge's own training videos, or a made challenge of any size:")
        print("  dfdc data make --out made --train 600 --test 200")
    print(f"chosen on held-out videos: step {chosen.model}, shrinkage {chosen.shrinkage:.3g}, clip {chosen.clip}")
    model = {
        "shrinkage": chosen.shrinkage,
        "clip": chosen.clip,
        "fast": crops["fast"],
        "held_out": held_out_report(results, args.seed),
        "made_with": {
            **provenance(args, job.plan_for(train, held_out), train, machine.device.type),
            "stopped_after": chosen.model,
        },
    }
    shutil.copyfile(weights_file(job.checkpoint(final), chosen.model), args.out / "weights.npz")
    write_json(args.out / "model.json", model)
    print(f"wrote {args.out / 'weights.npz'} and model.json; next: dfdc run {common.SUBMISSION}")


def check_writable(folder: Path) -> None:
    """Create the folder and a file in it, before hours of training. Raises OSError."""
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
    parser.add_argument("--work", type=Path, default=Path("face-cnn-training"), help="checkpoints and curves")
    parser.add_argument("--split", type=Path, help="CSV with the columns filename and fold, from: dfdc data split")
    parser.add_argument("--folds", type=at_least(2), default=FOLDS, help="cross-validation folds, without --split")
    parser.add_argument("--steps", type=at_least(1), help="per training (default: by the number of real crops)")
    parser.add_argument("--pairs", type=at_least(1), help="per batch (default: by memory; the same when resumed)")
    parser.add_argument("--self-blended", type=fraction, default=SELF_BLENDED, help="fraction of the fakes, 0 to 1")
    parser.add_argument("--residual", action="store_true", help="show the network the upsampling residual, too")
    parser.add_argument("--workers", type=at_least(0), help="processes that make batches (default: by cores)")
    parser.add_argument("--checkpoint-s", type=at_least(0.0), default=60.0, help="seconds between two checkpoints")
    parser.add_argument("--seed", type=at_least(0), default=0)
    args = parser.parse_args(argv)
    stop = Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        check_writable(args.work)
        check_writable(args.out)
        with folder_lock(args.work):
            run(args, stop)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error}. Free some space, or choose another --work or --out.", file=sys.stderr)
        return 4
    except StoppedError as error:
        print(f"{error}; the same command resumes from there", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGINT, previous)
    return 0


if __name__ == "__main__":
    sys.exit(main())
