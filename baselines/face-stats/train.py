"""Fit model.json on a training folder: python train.py TRAIN_FOLDER ... (mp4 files and metadata.json).

A regression is fitted on every frame, and boosted trees on the median of each video's frames; videos and classes are
weighted equally. How far predictions may move away from 0.5 is chosen on held-out videos, which share no original with
the fitted ones (calibrate.py). The loss printed at the end comes from a second, outer split: nothing was chosen on its
held-out videos. No GPU is needed.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from calibrate import FALLBACK, SAFE_CLIP, Setting, choose, safe_setting, to_probability, too_few_originals, weights
from frames import map_in_order
from main import FRAMES, features, logit, standardise
from residuals import FEATURES
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
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

STRENGTH = 0.02  # C of the regression
TREES, LEARNING_RATE, DEPTH, MIN_LEAF, SUBSAMPLE, FEATURES_PER_SPLIT = 150, 0.06, 3, 8, 0.7, 0.25  # usual values

Videos = list[np.ndarray]  # (n_frames, n_features) for each video


def load(*folders: Path, fast: bool = False) -> tuple[Videos, np.ndarray, np.ndarray]:
    """Features, labels (n,) 1 = FAKE, originals (n,); prints the unusable videos."""
    return read_features(
        folders, partial(map_in_order, partial(features, fast=fast)), "FAKE and REAL videos with a face"
    )


def fit(x: Videos, y: np.ndarray) -> dict:
    """The regression and the boosted trees, as `main.logit` needs them."""
    return fit_regression(x, y, STRENGTH) | {"trees": fit_trees(x, y)}


def fit_regression(x: Videos, y: np.ndarray, strength: float) -> dict:
    """Scaler and coefficients of a regression of every frame; `strength`: C, less regularised the higher."""
    rows = np.concatenate(x)  # (total frames, n_features)
    video = np.repeat(np.arange(len(x)), [len(values) for values in x])
    weight = (weights(y) * len(y) / [len(values) for values in x])[
        video
    ]  # a video weighs 1 on average, whatever its number of frames
    fitted = {"mean": rows.mean(axis=0).tolist(), "scale": np.maximum(rows.std(axis=0), 1e-9).tolist()}
    model = LogisticRegression(C=strength, max_iter=5000)
    model.fit(standardise(rows, fitted), y[video], sample_weight=weight)
    return fitted | {"coefficients": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}


def fit_trees(x: Videos, y: np.ndarray) -> list[dict]:
    """Boosted trees on the median of each video's frames: for each tree its nodes, in lists."""
    model = boosting()
    model.fit(np.array([np.median(values, axis=0) for values in x]), y, sample_weight=weights(y) * len(y))
    return [
        {
            "feature": tree.feature.tolist(),
            "threshold": rounded(tree.threshold),
            "left": tree.children_left.tolist(),
            "right": tree.children_right.tolist(),
            "value": rounded(LEARNING_RATE * tree.value[:, 0, 0]),
        }
        for tree in (estimator.tree_ for estimator in model.estimators_[:, 0])
    ]


def boosting() -> GradientBoostingClassifier:
    """The trees, before they are fitted."""
    return GradientBoostingClassifier(
        n_estimators=TREES,
        learning_rate=LEARNING_RATE,
        max_depth=DEPTH,
        min_samples_leaf=MIN_LEAF,
        subsample=SUBSAMPLE,
        max_features=FEATURES_PER_SPLIT,
        init="zero",
        random_state=0,
    )


def rounded(values: np.ndarray) -> list[float]:
    """Six significant digits: half the size of the file."""
    return [float(f"{value:.6g}") for value in values]


def logits(x: Videos, fitted: dict) -> np.ndarray:
    """(n,) logits of videos before shrinkage."""
    return np.array([logit(values, fitted) for values in x])


def pick(x: Videos, rows: np.ndarray) -> Videos:
    """The videos with these row numbers."""
    return [x[row] for row in rows]


def tune(x: Videos, y: np.ndarray, originals: np.ndarray) -> Setting:
    """Shrinkage and clip, chosen by cross-validation."""
    splits = folds(y, originals)
    if not splits:
        return safe_setting(None, logits(x, fit(x, y)))
    rows = np.concatenate([held for _, held in splits])
    held_out_logits = [logits(pick(x, held), fit(pick(x, train), y[train])) for train, held in splits]
    return choose({None: np.concatenate(held_out_logits)}, y[rows], originals[rows])


def held_out(x: Videos, y: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """(n,) predictions by models fitted and tuned without the video's original; NaN where impossible."""
    p = np.full(len(y), np.nan)
    for train, held in folds(y, originals):
        _, shrinkage, clip = tune(pick(x, train), y[train], originals[train])
        p[held] = to_probability(logits(pick(x, held), fit(pick(x, train), y[train])), shrinkage, clip)
    return p


def main(argv: list[str] | None = None) -> None:
    """Read the videos, choose a setting, fit, report, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    parser.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="choose shrinkage and clip on these videos instead"
    )
    parser.add_argument("--seed", type=read_seed, default=0, help="seed of the bootstrap; the trees have their own")
    parser.add_argument(
        "--fast", action="store_true", help="read only the first third of each video, in training and prediction"
    )
    args = parser.parse_args(argv)
    check_writable(args.out)
    x, y, originals = load(*args.folders, fast=args.fast)
    chosen_on = (x, y, originals) if args.calibrate is None else load(args.calibrate, fast=args.fast)
    fitted = fit(x, y)
    if args.calibrate is None:
        _, shrinkage, clip = tune(x, y, originals)
    else:
        _, shrinkage, clip = choose({None: logits(chosen_on[0], fitted)}, *chosen_on[1:])
    if clip == SAFE_CLIP:
        reason = too_few_originals(*chosen_on[1:]) or "No setting clearly beats the constant."
        print(f"{reason} Predictions stay between {SAFE_CLIP} and {1 - SAFE_CLIP}.")
        print(MORE_DATA)
    where = args.calibrate or "held-out originals"
    print(f"chosen on {where}: shrinkage {shrinkage:.3g}, clip {clip}")
    model = {
        "features": list(FEATURES),
        **fitted,
        "shrinkage": shrinkage,
        "clip": clip,
        "fallback": FALLBACK,
        "fast": args.fast,
        "held_out": report(held_out(x, y, originals), y, originals, args.seed),
        "made_with": {
            "calibrated_on": None if args.calibrate is None else args.calibrate.name,
            "frames": FRAMES,
            **provenance(args.folders, y, args.seed, ("av", "numpy", "opencv-python-headless", "scikit-learn")),
        },
    }
    save_model(model, args.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
