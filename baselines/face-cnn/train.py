"""Train on the challenge's data: python train.py TRAIN_FOLDER   (or: python train.py FACES, from extract.py)

Writes weights.npz and model.json, which main.py reads; the work folder keeps checkpoints, metrics.json and curves.png.
Stop it at any time, by Ctrl-C or otherwise: the same command goes on from the last checkpoint.

How far the answers may leave 0.5 is measured on videos whose original no trained video shares: by --split (a CSV from
`dfdc data split`: its side `train` is trained on, `validation` held out), or else by --folds trainings that each hold
some originals out, before the last training on everything. So is the step to stop after. Where that
shows no gain over the constant 0.5 beyond doubt, the model's answers stay close to 0.5.
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

import extract
import numpy as np
import torch
from batches import Recipe, crops_of
from calibrate import TIMID
from fit import Machine, Plan, Row, StoppedError, Training, fit, kept, read_checkpoint
from frames import cores
from lock import alone_in
from measure import Held, auc, draw_curves, held_out_report, raw_loss
from model import SIDE, START
from options import at_least, share
from predict import Faces, Scorer, batch_size, video_logit
from shards import SETTINGS, Entry, StopError, how_cut, read_index
from tasks import from_jpeg

BESIDE = Path(__file__).resolve().parent
FOLDS = 4
CPU_PAIRS = 12
BYTES_PER_CROP = 40 << 20  # of GPU memory in training, mixed precision
PASSES, FEWEST_STEPS, MOST_STEPS = 20, 250, 20_000  # over the real crops
SELF_BLENDED = 1.0
MOST_HELD_OUT = 2000  # videos of a split; more of them would cost hours and move the choice by nothing
LEARNING_RATE = 1e-3
PACKAGES = ("av", "numpy", "opencv-python-headless", "pyarrow", "torch")


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


def rounds_of(entries: list[Entry], asked: argparse.Namespace) -> list[tuple[list[Entry], list[Entry]]]:
    """(trained on, held out) of each training before the last. Raises StopError."""
    rounds = [split_by(asked.split, entries)] if asked.split else folds(entries, asked.folds, asked.seed)
    if not all(any(entry.label == 0 for entry in train) for train, _ in rounds):
        reals = {entry.original for entry in entries if entry.label == 0}
        raise StopError(
            f"With some originals held out, no REAL video is left to train on: there are {len(reals)} originals with a "
            f"REAL video and a face. Give more videos{', or another --split' if asked.split else ''}."
        )
    return rounds


def split_by(path: Path, entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """(trained on, held out) as a CSV with the columns filename and side says. Raises StopError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"filename", "side"} <= set(rows.fieldnames or ()):
                raise ValueError(f"its columns are {', '.join(rows.fieldnames or ()) or 'none'}")
            sides = {row["filename"]: row["side"] for row in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise StopError(
            f"{path}: not a CSV with the columns filename and side ({error}). Make one: dfdc data split"
        ) from error
    train, held = ([e for e in entries if sides.get(e.video) == side] for side in ("train", "validation"))
    shared = {e.original for e in train} & {e.original for e in held}
    if shared or not train or not held:
        raise StopError(
            f"{path}: {len(train)} videos to train on, {len(held)} held out, {len(shared)} originals on both sides"
            f"{' (such as ' + min(shared) + ')' if shared else ''}. Make another: dfdc data split"
        )
    return train, sorted(held, key=lambda e: sha256(e.video))[:MOST_HELD_OUT]


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

    def train(self, name: str, entries: list[Entry], held: list[Entry], last: int) -> list[Row]:
        """Train on `entries` up to the step `last`; what was measured on `held` on the way."""
        training = Training(self.plan_for(entries, held), self.machine)
        fit(training, entries, self.checkpoint(name), last, lambda now: measured(now, held), self.stop)
        return training.history

    def plan_for(self, entries: list[Entry], held: list[Entry]) -> Plan:
        """The plan, with what is trained on and what is held out."""
        trained, out = (json.dumps([(e.video, e.label, e.original, e.crops) for e in some]) for some in (entries, held))
        return replace(self.plan, videos_sha256=sha256(trained), held_sha256=sha256(out))

    def checkpoint(self, name: str) -> Path:
        """Where a training leaves what it needs to go on."""
        return self.work / f"{name}.pt"


def measured(training: Training, held: list[Entry]) -> Row:
    """Of held-out videos the log odds, and loss and area under the curve before any calibration; nothing of none."""
    if not held:
        return {}
    scorer = Scorer(training.net, training.machine.device, cores=1)  # each batch has all threads for itself
    found = scorer.videos((entry.video, faces_of(entry)) for entry in held)
    y, logits = np.array([entry.label for entry in held]), np.array([video_logit(faces) for _, faces in found])
    return {"held_out_loss": raw_loss(y, logits), "held_out_auc": auc(y, logits), "held_out_logits": logits.tolist()}


def hold_out(job: Job, rounds: list[tuple[list[Entry], list[Entry]]], histories: dict[str, list[Row]]) -> Held:
    """Train once a round; what the networks said about the videos that each of them never saw. Fills `histories`."""
    for n, (train, held) in enumerate(rounds):
        histories[f"fold-{n}"] = job.train(f"fold-{n}", train, held, job.plan.steps)
        leave_curves(job.work, histories)
    everyone = [entry for _, held in rounds for entry in held]
    rows = [histories[f"fold-{n}"] for n in range(len(rounds))]  # each as long: measured after the same steps
    return Held(
        y=np.array([entry.label for entry in everyone]),
        guesses={
            now[0]["step"]: np.concatenate([row["held_out_logits"] for row in now]) for now in zip(*rows, strict=True)
        },
        originals=np.array([entry.original for entry in everyone]),
    )


# -------------------------------------------------------------------------------------------------- what is left behind


def leave_curves(work: Path, histories: dict[str, list[Row]]) -> None:
    """metrics.json and curves.png, as far as it has come."""
    write_json(work / "metrics.json", histories)
    draw_curves(work / "curves.png", histories)


def provenance(asked: argparse.Namespace, plan: Plan, entries: list[Entry], device: str) -> dict[str, object]:
    """What the model was made from and with."""
    named = {"folds": asked.folds, "steps": asked.steps, "pairs": asked.pairs, "seed": asked.seed}
    options = [f"--{name} {value}" for name, value in named.items() if value is not None]
    if asked.split:
        options.append(f"--split {asked.split.name}")
    return {
        "command": " ".join(["python train.py", *(source.resolve().name for source in asked.sources), *options]),
        "videos": len(entries),
        "fake": sum(entry.label == 1 for entry in entries),
        "plan": asdict(plan),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores, {device}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


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
    if len(sources) == 1 and (sources[0] / SETTINGS).is_file():
        raise StopError(f"{sources[0]} has no index.csv: extract.py has not come to its end. Run it again, it goes on.")
    faces = work / "faces"
    if code := extract.main([*map(str, sources), "--out", str(faces)]):
        sys.exit(code)
    return faces


def pairs_for(machine: Machine, work: Path) -> int:
    """As many as before, where a training stands in `work`: free memory may be another now. Else by memory."""
    if (begun := work / "fold-0.pt").exists():
        return int(read_checkpoint(begun, torch.device("cpu"))["plan"]["recipe"]["pairs"])
    return batch_size(machine.device, BYTES_PER_CROP) // 2 if machine.device.type == "cuda" else CPU_PAIRS


def plan_for(entries: list[Entry], machine: Machine, asked: argparse.Namespace, cut: dict[str, object]) -> Plan:
    """Batch by memory, steps by the number of real crops; what was asked for goes first."""
    pairs = asked.pairs or pairs_for(machine, asked.work)
    crops = sum(entry.crops for entry in entries if entry.label == 0)
    steps = asked.steps or min(MOST_STEPS, max(FEWEST_STEPS, PASSES * crops // pairs))
    recipe = Recipe(seed=asked.seed, pairs=pairs, self_blended=asked.self_blended, side=SIDE)
    start = hashlib.sha256(START.read_bytes()).hexdigest()
    return Plan(asked.seed, steps, recipe, LEARNING_RATE, start, videos_sha256="", held_sha256="", cut=cut)


def run(asked: argparse.Namespace, stop: Event) -> None:
    """All trainings, then the choice of shrinkage and clip, then the files. Raises StopError, StoppedError."""
    machine = Machine.this(cores(), asked.checkpoint_s)
    faces = find_faces(asked.sources, asked.work)
    entries, cut = usable(faces), how_cut(faces)
    rounds = rounds_of(entries, asked)
    job = Job(plan_for(entries, machine, asked, cut), machine, asked.work, stop)
    print(f"{len(entries)} videos, {job.plan.steps} steps of {job.plan.recipe.pairs} pairs on {machine.device}")
    histories: dict[str, list[Row]] = {}
    held_out = hold_out(job, rounds, histories)
    chosen = held_out.choose()
    final, (trained, held) = "fold-0", rounds[0]
    if not asked.split:
        final, trained, held = "all", entries, []
        histories[final] = job.train(final, trained, held, last=chosen.model)
        leave_curves(asked.work, histories)
    if chosen.clip == TIMID:
        print("Nothing beats the constant 0.5 on held-out videos beyond doubt: the answers stay close to it.")
    print(f"chosen on held-out videos: step {chosen.model}, shrinkage {chosen.shrinkage:.3g}, clip {chosen.clip}")
    model = {
        "shrinkage": chosen.shrinkage,
        "clip": chosen.clip,
        "fast": cut["fast"],
        "held_out": held_out_report(held_out, asked.seed),
        "made_with": {
            **provenance(asked, job.plan_for(trained, held), trained, machine.device.type),
            "stopped_after": chosen.model,
        },
    }
    shutil.copyfile(kept(job.checkpoint(final), chosen.model), asked.out / "weights.npz")
    write_json(asked.out / "model.json", model)
    print(f"wrote {asked.out / 'weights.npz'} and model.json; next: dfdc run {asked.out}")


def find_out_now(folder: Path) -> None:
    """Whether the folder can be made and written, before hours of training. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong usage, 4 not written, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="a folder made by extract.py, or folders of videos")
    parser.add_argument("--out", type=Path, default=BESIDE, help="folder of weights.npz and model.json")
    parser.add_argument("--work", type=Path, default=Path("face-cnn-training"), help="checkpoints and curves")
    parser.add_argument("--split", type=Path, help="CSV with the columns filename and side, from: dfdc data split")
    parser.add_argument(
        "--folds", type=at_least(2), default=FOLDS, help="trainings that hold originals out, without --split"
    )
    parser.add_argument("--steps", type=at_least(1), help="of one training (default: by the number of real crops)")
    parser.add_argument("--pairs", type=at_least(1), help="in a batch (default: by memory; as before, when it goes on)")
    parser.add_argument("--self-blended", type=share, default=SELF_BLENDED, help="share of the fakes, 0 to 1")
    parser.add_argument("--checkpoint-s", type=at_least(0.0), default=60.0, help="seconds between two checkpoints")
    parser.add_argument("--seed", type=at_least(0), default=0)
    asked = parser.parse_args(argv)
    stop = Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        find_out_now(asked.work)
        find_out_now(asked.out)
        with alone_in(asked.work):
            run(asked, stop)
    except StopError as fault:
        print(fault, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error}. Free some space, or choose another --work or --out.", file=sys.stderr)
        return 4
    except StoppedError as where:
        print(f"{where}; the same command goes on from there", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGINT, previous)
    return 0


if __name__ == "__main__":
    sys.exit(main())
