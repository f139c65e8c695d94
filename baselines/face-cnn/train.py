"""Train on the challenge's data: python train.py TRAIN_FOLDER   (or: python train.py FACES, from extract.py)

Writes weights.npz and model.json, which main.py reads; the work folder keeps checkpoints, metrics.json and curves.png.
Stop it at any time, by Ctrl-C or otherwise: the same command goes on from the last checkpoint.

How far the answers may leave 0.5 is measured on videos whose original no trained video shares: by --split (a CSV from
`dfdc data split`: its side `train` is trained on, `validation` held out), or else by --folds trainings that each hold
some originals out, before the last training on everything. Where that shows no gain over the constant 0.5
beyond doubt, the model's answers stay close to 0.5.
"""

import argparse
import csv
import hashlib
import json
import platform
import signal
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from threading import Event

import extract
import numpy as np
import torch
from batches import Recipe, crops_of
from calibrate import TIMID
from combine import RULES
from fit import Machine, Plan, StoppedError, Training, fit
from frames import cores
from measure import Held, auc, draw_curves, held_out_report, raw_loss
from model import SIDE, START, save
from predict import FaceLogits, Faces, Scorer, batch_size, video_logit
from shards import Entry, read_index
from tasks import from_jpeg

BESIDE = Path(__file__).resolve().parent
FOLDS = 4
CPU_PAIRS = 12
BYTES_PER_CROP = 40 << 20  # of GPU memory in training, mixed precision
PASSES, FEWEST_STEPS, MOST_STEPS = 20, 250, 20_000  # over the real crops
SELF_BLENDED = 1.0
LEARNING_RATE = 1e-3
MEASURED_VIDEOS = 200  # at most, while training
PACKAGES = ("av", "numpy", "opencv-python-headless", "pyarrow", "torch")


class StopError(Exception):
    """What the user must change; the text says what and how."""


# ------------------------------------------------------------------------------------------------------------ the data


def usable(faces: Path) -> list[Entry]:
    """The videos with a label and a face; says how many are left out and why. Raises StopError."""
    entries = read_index(faces)
    left_out = Counter(entry.reason or "no label" for entry in entries if entry.reason or entry.label is None)
    for reason, count in sorted(left_out.items()):
        print(f"{count} videos left out: {reason}", flush=True)
    entries = [entry for entry in entries if not entry.reason and entry.label is not None]
    labels = Counter(entry.label for entry in entries)
    if not labels[0] or not labels[1]:
        raise StopError(
            f"{faces}: {labels[1]} FAKE and {labels[0]} REAL videos with a face; some of each are needed. "
            "Labels come from metadata.json beside the videos when extract.py runs."
        )
    return entries


def folds(entries: list[Entry], count: int, seed: int) -> list[tuple[list[Entry], list[Entry]]]:
    """(trained on, held out) for each fold; originals are dealt out in an order drawn by the seed."""
    originals = sorted({entry.original for entry in entries}, key=lambda name: sha256(f"{seed} {name}"))
    fold_of = {name: n % count for n, name in enumerate(originals)}
    return [
        ([e for e in entries if fold_of[e.original] != n], [e for e in entries if fold_of[e.original] == n])
        for n in range(min(count, len(originals)))
    ]


def split_by(path: Path, entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """(trained on, held out) as a CSV with the columns filename and side says. Raises StopError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            sides = {row["filename"]: row["side"] for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise StopError(f"{path}: not a split ({error}). Make one: dfdc data split") from error
    train, held = ([e for e in entries if sides.get(e.video) == side] for side in ("train", "validation"))
    shared = {e.original for e in train} & {e.original for e in held}
    if shared or not train or not held:
        raise StopError(
            f"{path}: {len(train)} videos to train on, {len(held)} held out, {len(shared)} originals on both sides"
            f"{' (such as ' + min(shared) + ')' if shared else ''}. Make another: dfdc data split"
        )
    return train, held


def sha256(text: str) -> str:
    """In hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def faces_of(entry: Entry) -> Faces:
    """The crops of each face of a video, as main.py has them but for JPEG."""
    by_track: dict[int, list[np.ndarray]] = {}
    for crop in crops_of(entry):
        by_track.setdefault(crop.track, []).append(from_jpeg(crop.jpeg))
    return list(by_track.values())


# -------------------------------------------------------------------------------------------------------- the trainings


@dataclass(frozen=True)
class Job:
    """Everything that the trainings of one command share."""

    plan: Plan
    machine: Machine
    work: Path
    stop: Event

    def train(self, name: str, entries: list[Entry], held: list[Entry]) -> tuple[Training, list[FaceLogits]]:
        """Train on `entries`; the training, and the log odds of the crops of the videos in `held`."""
        listed = json.dumps([(e.video, e.label, e.original, e.crops) for e in entries])
        training = Training(replace(self.plan, videos_sha256=sha256(listed)), self.machine)
        few = held[:: max(1, len(held) // MEASURED_VIDEOS)]
        fit(training, entries, self.work / f"{name}.pt", lambda now: measured(now, few), self.stop)
        return training, logits(training, held)


def logits(training: Training, held: list[Entry]) -> list[FaceLogits]:
    """Log odds of every crop of each video."""
    scorer = Scorer(training.net, training.machine.device, cores=1)  # each batch has all threads for itself
    return [found for _, found in scorer.videos((entry.video, faces_of(entry)) for entry in held)]


def by_rule(found: list[FaceLogits], rule: str) -> np.ndarray:
    """(n,) log odds of videos."""
    return np.array([video_logit(faces, rule) for faces in found])


def measured(training: Training, held: list[Entry]) -> dict[str, float]:
    """Loss and area under the curve on held-out videos, before any calibration; nothing where none are held out."""
    if not held:
        return {}
    y, guess = np.array([entry.label for entry in held]), by_rule(logits(training, held), next(iter(RULES)))
    return {"held_out_loss": raw_loss(y, guess), "held_out_auc": auc(y, guess)}


# -------------------------------------------------------------------------------------------------- what is left behind


def write(asked: argparse.Namespace, job: Job, training: Training, held: Held, entries: list[Entry]) -> None:
    """weights.npz and model.json into --out."""
    chosen = held.choose()
    if chosen.clip == TIMID:
        print("Nothing beats the constant 0.5 on held-out videos beyond doubt: the answers stay close to it.")
    print(
        f"on {len(held.y)} held-out videos: rule {chosen.model}, shrinkage {chosen.shrinkage:.3g}, clip {chosen.clip}"
    )
    plan = asdict(training.plan)
    model = {
        "rule": chosen.model,
        "shrinkage": chosen.shrinkage,
        "clip": chosen.clip,
        "held_out": held_out_report(held, asked.seed),
        "made_with": {
            "command": f"python train.py {' '.join(source.resolve().name for source in asked.sources)}",
            "videos": len(entries),
            "fake": sum(entry.label == 1 for entry in entries),
            "plan": plan,
            "device": job.machine.device.type,
            "threads": torch.get_num_threads(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    save(training.net, asked.out / "weights.npz")
    write_json(asked.out / "model.json", model)
    print(f"wrote {asked.out / 'weights.npz'} and model.json; next: dfdc run {asked.out}")


def write_json(path: Path, content: object) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


# --------------------------------------------------------------------------------------------------------- the command


def find_faces(sources: list[Path], work: Path) -> Path:
    """A folder of faces: the one that was given, or one made of the videos that were. Raises StopError."""
    if len(sources) == 1 and (sources[0] / "index.csv").is_file():
        return sources[0]
    faces = work / "faces"
    if code := extract.main([*map(str, sources), "--out", str(faces)]):
        sys.exit(code)
    return faces


def plan_for(entries: list[Entry], machine: Machine, asked: argparse.Namespace) -> Plan:
    """Batch by memory, steps by the number of real crops; what was asked for goes first."""
    pairs = asked.pairs or (
        batch_size(machine.device, BYTES_PER_CROP) // 2 if machine.device.type == "cuda" else CPU_PAIRS
    )
    crops = sum(entry.crops for entry in entries if entry.label == 0)
    steps = asked.steps or min(MOST_STEPS, max(FEWEST_STEPS, PASSES * crops // pairs))
    recipe = Recipe(seed=asked.seed, pairs=pairs, self_blended=asked.self_blended, side=SIDE)
    start = hashlib.sha256(START.read_bytes()).hexdigest()
    return Plan(asked.seed, steps, recipe, LEARNING_RATE, start_sha256=start, videos_sha256="")


def run(asked: argparse.Namespace, stop: Event) -> None:
    """All trainings, then the choice of shrinkage and clip, then the files. Raises StopError, StoppedError."""
    asked.work.mkdir(parents=True, exist_ok=True)
    machine = Machine.this(cores(), asked.checkpoint_s)
    faces = find_faces(asked.sources, asked.work)
    entries = usable(faces)
    job = Job(plan_for(entries, machine, asked), machine, asked.work, stop)
    print(f"{len(entries)} videos, {job.plan.steps} steps of {job.plan.recipe.pairs} pairs on {machine.device}")
    rounds = [split_by(asked.split, entries)] if asked.split else folds(entries, asked.folds, asked.seed)
    histories: dict[str, list[dict[str, float]]] = {}
    found: list[FaceLogits] = []
    for n, (train, held) in enumerate(rounds):
        training, of_held = job.train(f"fold-{n}", train, held)
        histories[f"fold-{n}"] = training.history
        found += of_held
    if not asked.split:
        training, _ = job.train("all", entries, [])
        histories["all"] = training.history
    all_held = [entry for _, held in rounds for entry in held]
    held_out = Held(
        y=np.array([entry.label for entry in all_held]),
        guesses={rule: by_rule(found, rule) for rule in RULES},
        originals=np.array([entry.original for entry in all_held]),
    )
    write_json(asked.work / "metrics.json", histories)
    draw_curves(asked.work / "curves.png", histories)
    write(asked, job, training, held_out, entries)


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong usage, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="a folder made by extract.py, or folders of videos")
    parser.add_argument("--out", type=Path, default=BESIDE, help="folder of weights.npz and model.json")
    parser.add_argument("--work", type=Path, default=Path("face-cnn-training"), help="checkpoints and curves")
    parser.add_argument("--split", type=Path, help="CSV with the columns filename and side, from: dfdc data split")
    parser.add_argument("--folds", type=int, default=FOLDS, help="trainings that hold originals out, without --split")
    parser.add_argument("--steps", type=int, help="of one training (default: by the number of real crops)")
    parser.add_argument("--pairs", type=int, help="in a batch (default: by memory)")
    parser.add_argument("--self-blended", type=float, default=SELF_BLENDED, help="share of the fakes, 0 to 1")
    parser.add_argument("--checkpoint-s", type=float, default=60.0, help="seconds between two checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    stop = Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        run(asked, stop)
    except (StopError, ValueError) as fault:
        print(fault, file=sys.stderr)
        return 2
    except StoppedError as where:
        print(f"{where}; the same command goes on from there", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGINT, previous)
    return 0


if __name__ == "__main__":
    sys.exit(main())
