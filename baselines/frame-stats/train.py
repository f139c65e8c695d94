"""Fit model.json on a training folder: python train.py TRAIN_FOLDER ... (mp4 files and metadata.json).

How far predictions may move away from 0.5 is chosen on held-out videos, which share no original with the fitted ones
(calibrate.py); without a clear gain over the constant they stay close to 0.5. The loss printed at the end comes from a
second, outer split: nothing was chosen on its held-out videos.

Both classes weigh the same in the fit and in every loss, because the tests are half FAKE and half REAL and training
folders are not.
"""

import argparse
from pathlib import Path

import numpy as np
from calibrate import FALLBACK, SAFE_CLIP, Setting, choose, safe_setting, to_probability, too_few_originals
from main import FEATURES, all_features, standardise
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from training import (
    MORE_DATA,
    add_folders,
    check_writable,
    folds,
    provenance,
    read_features,
    read_seed,
    report,
    save_model,
)

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C of the regression, most regularised first


def load(*folders: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, n_features), labels (n,) 1 = FAKE, originals (n,); prints the unusable videos."""
    values, labels, originals = read_features(folders, all_features, "FAKE and REAL videos")
    return np.array(values), labels, originals


def fit(x: np.ndarray, y: np.ndarray, strength: float) -> dict:
    """Scaler and regression coefficients."""
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
    """(n,) logits before shrinkage."""
    z = standardise(x, np.array(fitted["mean"]), np.array(fitted["scale"]))
    return z @ np.array(fitted["coefficients"]) + fitted["intercept"]


def tune(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> Setting:
    """Regression strength, shrinkage and clip, chosen by cross-validation."""
    splits = folds(y, originals)
    if not splits:
        return safe_setting(STRENGTHS[0], logits(x, fit(x, y, STRENGTHS[0])))
    rows = np.concatenate([held for _, held in splits])
    candidates = {
        strength: np.concatenate([logits(x[held], fit(x[train], y[train], strength)) for train, held in splits])
        for strength in STRENGTHS
    }
    return choose(candidates, y[rows], originals[rows])


def tune_on(x: np.ndarray, y: np.ndarray, others: np.ndarray, labels: np.ndarray, originals: np.ndarray) -> Setting:
    """Regression strength, shrinkage and clip, chosen on other videos: degraded ones, of other people."""
    candidates = {strength: logits(others, fit(x, y, strength)) for strength in STRENGTHS}
    return choose(candidates, labels, originals)


def held_out(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """(n,) predictions by models fitted and tuned without the video's original; NaN where impossible."""
    p = np.full(len(y), np.nan)
    for train, held in folds(y, originals):
        strength, shrinkage, clip = tune(x[train], y[train], originals[train])
        p[held] = to_probability(logits(x[held], fit(x[train], y[train], strength)), shrinkage, clip)
    return p


def main(argv: list[str] | None = None) -> None:
    """Read the videos, choose a setting, fit, report, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    parser.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="choose strength, shrinkage and clip on these videos instead"
    )
    parser.add_argument("--seed", type=read_seed, default=0, help="seed of the bootstrap; nothing else is random")
    args = parser.parse_args(argv)
    check_writable(args.out)
    x, y, originals = load(*args.folders)
    chosen_on = (x, y, originals) if args.calibrate is None else load(args.calibrate)
    strength, shrinkage, clip = tune(x, y, originals) if args.calibrate is None else tune_on(x, y, *chosen_on)
    if clip == SAFE_CLIP:
        reason = too_few_originals(*chosen_on[1:]) or "No setting clearly beats the constant."
        print(f"{reason} Predictions stay between {SAFE_CLIP} and {1 - SAFE_CLIP}.")
        print(MORE_DATA)
    print(f"chosen on {args.calibrate or 'held-out originals'}: C {strength}, shrinkage {shrinkage:.3g}, clip {clip}")
    model = {
        "features": list(FEATURES),
        **fit(x, y, strength),
        "shrinkage": shrinkage,
        "clip": clip,
        "fallback": FALLBACK,
        "held_out": report(held_out(x, y, originals), y, originals, args.seed),
        "made_with": {
            "C": strength,
            "calibrated_on": None if args.calibrate is None else args.calibrate.name,
            **provenance(args.folders, y, args.seed, ("av", "numpy", "scikit-learn")),
        },
    }
    save_model(model, args.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
