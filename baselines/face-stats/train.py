"""Fit model.json on a training folder: python train.py TRAIN_FOLDER (mp4 files and metadata.json).

Each still of a video is fitted, all videos of a class together weighing as much as those of the other. How far answers
may leave 0.5 is chosen on videos whose original no fitted video shares, by the rule in calibrate.py. The loss printed
at the end is of a second, outer split: no choice was made on the videos it is counted on. A second of a processor for
each video, and one line of JSON for each number: nothing here needs a GPU.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from calibrate import PRIOR, TIMID, Setting, choose, shrink_and_clip, timid, weights
from frames import UnusableError, in_order
from main import STILLS, features, logit, standardise
from residuals import FEATURES
from sklearn.linear_model import LogisticRegression
from training import folds, provenance, read_clips, read_seed, report, save

STRENGTHS = (0.01, 0.03, 0.1, 0.3)  # C of the regression, simplest model first

Stills = list[np.ndarray]  # one (n_stills, n_features) a video


def load(folder: Path, *, fast: bool = False) -> tuple[Stills, np.ndarray, np.ndarray]:
    """Features, labels (n,) 1 = FAKE, originals (n,); names the videos that cannot be used."""
    clips = read_clips(folder)
    values, labels, originals = [], [], []
    results = in_order(partial(features, fast=fast), (clip.path for clip in clips))
    for number, (clip, result) in enumerate(zip(clips, results, strict=True), 1):
        if isinstance(result, UnusableError):
            print(f"{clip.path.name}: {result}, left out", flush=True)
        else:
            values.append(result)
            labels.append(clip.fake)
            originals.append(clip.original)
        if number % 50 == 0:
            print(f"{number}/{len(clips)} videos read", flush=True)
    if len(set(labels)) < 2:
        raise SystemExit(f"{folder}: FAKE and REAL videos with a face are both needed; {len(values)} videos have one.")
    return values, np.array(labels, dtype=np.int64), np.array(originals)


def fit(x: Stills, y: np.ndarray, strength: float) -> dict:
    """Scaler and regression as plain numbers."""
    rows = np.concatenate(x)  # (n_stills in all, n_features)
    video = np.repeat(np.arange(len(x)), [len(values) for values in x])
    weight = (weights(y) * len(y) / [len(values) for values in x])[video]  # a video weighs 1 on average, however long
    fitted = {"mean": rows.mean(axis=0).tolist(), "scale": np.maximum(rows.std(axis=0), 1e-9).tolist()}
    model = LogisticRegression(C=strength, max_iter=5000)
    model.fit(standardise(rows, fitted), y[video], sample_weight=weight)
    return fitted | {"coefficients": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}


def guesses(x: Stills, fitted: dict) -> np.ndarray:
    """(n,) logits of videos before shrinkage."""
    return np.array([logit(values, fitted) for values in x])


def pick(x: Stills, rows: np.ndarray) -> Stills:
    """The videos with these numbers."""
    return [x[row] for row in rows]


def tune(x: Stills, y: np.ndarray, originals: np.ndarray) -> Setting:
    """Strength of the regression, shrinkage and clip, chosen on videos that were held out in turn."""
    splits = folds(y, originals)
    if not splits:
        return timid(STRENGTHS[0], guesses(x, fit(x, y, STRENGTHS[0])))
    rows = np.concatenate([held for _, held in splits])
    offered = {
        strength: np.concatenate(
            [guesses(pick(x, held), fit(pick(x, seen), y[seen], strength)) for seen, held in splits]
        )
        for strength in STRENGTHS
    }
    return choose(offered, y[rows], originals[rows])


def held_out(x: Stills, y: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """(n,) predictions, each by a model fitted and tuned without the video's original; NaN where none could be."""
    p = np.full(len(y), np.nan)
    for seen, held in folds(y, originals):
        strength, shrinkage, clip = tune(pick(x, seen), y[seen], originals[seen])
        fitted = fit(pick(x, seen), y[seen], strength)
        p[held] = shrink_and_clip(guesses(pick(x, held), fitted), shrinkage, clip)
    return p


def main() -> None:
    """Read, choose, fit, report, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="holds mp4 files and metadata.json, as train_sample_videos does")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    options.add_argument("--seed", type=read_seed, default=0, help="of the bootstrap; nothing else is random")
    options.add_argument("--fast", action="store_true", help="read the first third of each video only, here and later")
    asked = options.parse_args()
    x, y, originals = load(asked.folder, fast=asked.fast)
    strength, shrinkage, clip = tune(x, y, originals)
    if clip == TIMID:
        print(f"No setting beats the constant beyond doubt: answers stay from {TIMID} to {1 - TIMID}.")
    print(f"chosen on held-out originals: C {strength}, shrinkage {shrinkage:.3g}, clip {clip}")
    model = {
        "features": list(FEATURES),
        **fit(x, y, strength),
        "shrinkage": shrinkage,
        "clip": clip,
        "prior": PRIOR,
        "fast": asked.fast,
        "held_out": report(held_out(x, y, originals), y, originals, asked.seed),
        "made_with": {
            "C": strength,
            "stills": STILLS,
            **provenance(asked.folder, y, asked.seed, ("av", "numpy", "opencv-python-headless", "scikit-learn")),
        },
    }
    save(model, asked.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
