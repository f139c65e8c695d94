"""A small CNN classifies crops of the faces in 16 frames of a video; the face most like a fake decides.

All code and weights it needs are in `model/`. Videos are decoded and searched for faces on every core (frames.py,
faces.py, crops.py) while the network (network.py) classifies crops of earlier videos (predict.py), on the GPU if there
is one and PyTorch is installed. `training/train.py` writes `model/weights.npz` and `model/model.json`, and measures on
held-out originals how far predictions may move away from 0.5.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

MOUNTS = [Path(f"/kaggle/input/{place}deepfake-detection-challenge") for place in ("competitions/", "")]  # now, in 2020
INPUT = Path(os.environ.get("DFDC_INPUT_DIR") or next(filter(Path.is_dir, MOUNTS), MOUNTS[-1]))
BESIDE = Path(globals().get("__file__", "main.py")).resolve().parent  # a notebook cell has no __file__
PROGRESS_EVERY = 50  # videos


def model_folder() -> Path:
    """The folder model/: next to this script, or on Kaggle in an attached data set."""
    attached = (folder for place in ("*", "datasets/*/*") for folder in sorted(Path("/kaggle/input").glob(place)))
    for folder in (BESIDE, *attached):
        if (folder / "model/weights.npz").is_file():
            return folder / "model"
    raise FileNotFoundError(
        "model/weights.npz is missing: neither next to main.py nor in a data set under /kaggle/input"
    )


sys.path.insert(0, str(model_folder()))

import numpy as np  # noqa: E402
from calibrate import FALLBACK, to_probability  # noqa: E402
from crops import crops_of  # noqa: E402
from frames import UnusableVideoError, cpu_count, map_in_order  # noqa: E402
from network import load  # noqa: E402
from predict import Faces, Scorer, fastest_blocks, video_logit  # noqa: E402


def faces_of(path: Path, *, fast: bool) -> Faces:
    """The crops of each face of a video; `fast` as for `sample_frames`. Raises UnusableVideoError."""
    return [[crop.rgb for crop in crops] for crops in crops_of(path, fast=fast)]


def write_csv(name: str, header: tuple[str, str], rows: Iterable[tuple[str, object]]) -> None:
    """Write a CSV file into the working folder, atomically."""
    part = Path(f"{name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    part.replace(name)


class Predictions:
    """Predictions and fallbacks so far; prints progress."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.labels: dict[str, float] = {}
        self.fallbacks: dict[str, str] = {}
        self.started = time.perf_counter()

    def usable(self, results: Iterable[Faces | UnusableVideoError]) -> Iterator[tuple[str, Faces]]:
        """Name and faces of each usable video; the others get the fallback prediction and a line in fallbacks.csv."""
        for name, result in zip(self.names, results, strict=True):
            if isinstance(result, UnusableVideoError):
                print(f"{name}: {result}, used the fallback prediction {FALLBACK}", flush=True)
                self.fallbacks[name] = str(result)
                self.add(name, FALLBACK)
            else:
                yield name, result

    def add(self, name: str, label: float) -> None:
        """Add the prediction of one video."""
        self.labels[name] = label
        done = len(self.labels)
        if done % PROGRESS_EVERY == 0 or done == len(self.names):
            seconds = (time.perf_counter() - self.started) / done
            print(f"{done}/{len(self.names)}, {seconds:.2f} s per video, {len(self.fallbacks)} fallbacks", flush=True)

    def write(self) -> None:
        """Write both CSV files, rows in the order of the sample submission."""
        rows = [(name, self.labels[name]) for name in self.names]
        write_csv("fallbacks.csv", ("filename", "reason"), self.fallbacks.items())
        write_csv("submission.csv", ("filename", "label"), rows)


def main() -> None:
    """One row for each row of the mounted sample_submission.csv, which the hidden rerun replaces."""
    folder = model_folder()
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    scorer = Scorer(load(folder / "weights.npz", fastest_blocks()), cpu_count())
    with (INPUT / "sample_submission.csv").open(newline="", encoding="utf-8") as file:
        predictions = Predictions([row["filename"] for row in csv.DictReader(file)])
    results = map_in_order(
        partial(faces_of, fast=model.get("fast", False)), (INPUT / "test_videos" / name for name in predictions.names)
    )
    for name, logits in scorer.videos(predictions.usable(results)):
        logit = np.array(video_logit(logits))
        predictions.add(name, float(to_probability(logit, model["shrinkage"], model["clip"])))
    predictions.write()


if __name__ == "__main__":
    main()
