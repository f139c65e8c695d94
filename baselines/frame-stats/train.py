"""Fit model.json on a training folder: python train.py TRAIN_FOLDER (mp4 files and metadata.json).

How far the answers may leave 0.5 is measured, never assumed: on videos whose original no fitted video shares, by the
rule in calibrate.py; where they do not show a gain over the constant, it stays next to 0.5. The loss printed at the
end is of a second, outer split: no choice was made on the videos it is counted on.

Both classes weigh the same, in the fit and in every loss, because the tests are half FAKE and half REAL and training
folders are not: the prior of the model is 0.5.
"""

import argparse
from pathlib import Path

import numpy as np
from calibrate import PRIOR, TIMID, Setting, choose, shrink_and_clip, timid
from main import FEATURES, UnusableError, all_features, standardise
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from training import folds, provenance, read_clips, read_seed, report, save

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C of the regression, simplest model first


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, n_features), labels (n,) 1 = FAKE, originals (n,); names the videos that cannot be used."""
    clips = read_clips(folder)
    values, labels, originals = [], [], []
    for number, (clip, result) in enumerate(zip(clips, all_features(c.path for c in clips), strict=True), 1):
        if isinstance(result, UnusableError):
            print(f"{clip.path.name}: {result}, left out", flush=True)
        else:
            values.append(result)
            labels.append(clip.fake)
            originals.append(clip.original)
        if number % 50 == 0:
            print(f"{number}/{len(clips)} videos read", flush=True)
    if len(set(labels)) < 2:
        raise SystemExit(f"{folder}: FAKE and REAL videos are both needed; {len(values)} of {len(clips)} can be read.")
    return np.array(values), np.array(labels, dtype=np.int64), np.array(originals)


def fit(x: np.ndarray, y: np.ndarray, strength: float) -> dict:
    """Scaler and regression as plain numbers."""
    scaler = StandardScaler().fit(x)
    z = standardise(x, scaler.mean_, scaler.scale_)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000).fit(z, y)
    return {
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
    }


def logits(x: np.ndarray, fitted: dict) -> np.ndarray:
    """(n,) before shrinkage."""
    z = standardise(x, np.array(fitted["mean"]), np.array(fitted["scale"]))
    return z @ np.array(fitted["coefficients"]) + fitted["intercept"]


def tune(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> Setting:
    """Strength of the regression, shrinkage and clip, chosen on videos that were held out in turn."""
    splits = folds(y, originals)
    if not splits:
        return timid(STRENGTHS[0], logits(x, fit(x, y, STRENGTHS[0])))
    rows = np.concatenate([held for _, held in splits])
    guesses = {
        strength: np.concatenate([logits(x[held], fit(x[seen], y[seen], strength)) for seen, held in splits])
        for strength in STRENGTHS
    }
    return choose(guesses, y[rows], originals[rows])


def held_out(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """(n,) predictions, each by a model fitted and tuned without the video's original; NaN where none could be."""
    p = np.full(len(y), np.nan)
    for seen, held in folds(y, originals):
        strength, shrinkage, clip = tune(x[seen], y[seen], originals[seen])
        p[held] = shrink_and_clip(logits(x[held], fit(x[seen], y[seen], strength)), shrinkage, clip)
    return p


def main() -> None:
    """Read, choose, fit, report, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="holds mp4 files and metadata.json, as train_sample_videos does")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    options.add_argument("--seed", type=read_seed, default=0, help="of the bootstrap; nothing else is random")
    asked = options.parse_args()
    x, y, originals = load(asked.folder)
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
        "held_out": report(held_out(x, y, originals), y, originals, asked.seed),
        "made_with": {
            "C": strength,
            **provenance(asked.folder, y, asked.seed, ("av", "numpy", "scikit-learn")),
        },
    }
    save(model, asked.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
