"""A small network looks at crops of the faces in 16 frames of a video; the face most like a fake decides.

Videos are read and searched for faces on every core (frames.py, faces.py, crops.py) while the network (model.py) looks
at batches of crops of earlier videos (predict.py), on the GPU if there is one. How far an answer may leave 0.5 was
measured on held-out originals by train.py. `weights.npz` and `model.json` are what train.py leaves.
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
EVERY = 50  # videos between two lines of progress


def own_folder() -> Path:
    """Where the files lie that travel with this script: beside it, or on Kaggle in an attached dataset."""
    attached = (folder for place in ("*", "datasets/*/*") for folder in sorted(Path("/kaggle/input").glob(place)))
    for folder in (BESIDE, *attached):
        if (folder / "weights.npz").is_file():
            return folder
    raise FileNotFoundError("weights.npz is neither beside main.py nor in a dataset under /kaggle/input")


sys.path.insert(0, str(own_folder()))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from calibrate import PRIOR, shrink_and_clip  # noqa: E402
from crops import crops_of  # noqa: E402
from frames import UnusableError, cores, in_order  # noqa: E402
from model import load  # noqa: E402
from predict import Faces, Scorer, video_logit  # noqa: E402


def faces_of(path: Path, *, fast: bool) -> Faces:
    """The crops of each face of a video; `fast` as for `stills` of frames.py. Raises UnusableError."""
    return [[crop.rgb for crop in crops] for crops in crops_of(path, fast=fast)]


def write_csv(name: str, header: tuple[str, str], rows: Iterable[tuple[str, object]]) -> None:
    """Into the working folder, under its final name only when whole."""
    part = Path(f"{name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    part.replace(name)


class Ledger:
    """What became of each video so far, and a line about it now and then."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.labels: dict[str, float] = {}
        self.fallbacks: dict[str, str] = {}
        self.started = time.perf_counter()

    def usable(self, results: Iterable[Faces | UnusableError]) -> Iterator[tuple[str, Faces]]:
        """Name and faces of each video that has some; the others get the prior, and a line in fallbacks.csv."""
        for name, result in zip(self.names, results, strict=True):
            if isinstance(result, UnusableError):
                print(f"{name}: {result}, predicted the prior {PRIOR}", flush=True)
                self.fallbacks[name] = str(result)
                self.put(name, PRIOR)
            else:
                yield name, result

    def put(self, name: str, label: float) -> None:
        """One video more."""
        self.labels[name] = label
        done = len(self.labels)
        if done % EVERY == 0 or done == len(self.names):
            seconds = (time.perf_counter() - self.started) / done
            print(f"{done}/{len(self.names)}, {seconds:.2f} s a video, {len(self.fallbacks)} fallbacks", flush=True)

    def write(self) -> None:
        """Rows in the order of the sample submission."""
        rows = [(name, self.labels[name]) for name in self.names]
        write_csv("fallbacks.csv", ("filename", "reason"), self.fallbacks.items())
        write_csv("submission.csv", ("filename", "label"), rows)


def main() -> None:
    """One row for each row of the mounted sample_submission.csv, which the hidden rerun replaces."""
    folder = own_folder()
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)  # on a processor, every core has a batch of its own
    scorer = Scorer(load(folder / "weights.npz"), device, cores())
    with (INPUT / "sample_submission.csv").open(newline="", encoding="utf-8") as file:
        ledger = Ledger([row["filename"] for row in csv.DictReader(file)])
    results = in_order(
        partial(faces_of, fast=model.get("fast", False)), (INPUT / "test_videos" / name for name in ledger.names)
    )
    for name, logits in scorer.videos(ledger.usable(results)):
        logit = np.array(video_logit(logits))
        ledger.put(name, float(shrink_and_clip(logit, model["shrinkage"], model["clip"])))
    ledger.write()


if __name__ == "__main__":
    main()
