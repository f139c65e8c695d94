"""Fit model.json on a training folder: python train.py TRAIN_FOLDER (mp4 files and metadata.json).

Every frame of a video is fitted; videos and classes are weighted equally. With --trees, boosted trees on the median of
the frames are added to the regression: worth it from a few hundred videos. How far predictions may move away from 0.5
is chosen on held-out videos, which share no original with the fitted ones (calibrate.py). The loss printed at the end
comes from a second, outer split: nothing was chosen on its held-out videos. No GPU is needed.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from calibrate import FALLBACK, SAFE_CLIP, Setting, choose, safe_setting, to_probability, too_few_originals, weights
from frames import UnusableVideoError, map_in_order
from main import FRAMES, features, logit, standardise
from residuals import FEATURES
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from training import MORE_DATA, check_writable, folds, provenance, read_clips, read_seed, report, save_model

STRENGTHS = (0.01, 0.03, 0.1, 0.3)  # C of the regression, most regularised first
TREES = (15, 30, 60, 120)  # number of boosted trees
LEARNING_RATE, DEPTH, MIN_LEAF, SUBSAMPLE = 0.08, 3, 8, 0.7  # of the trees; usual values, not tuned

Videos = list[np.ndarray]  # (n_frames, n_features) for each video


def load(folder: Path, *, fast: bool = False) -> tuple[Videos, np.ndarray, np.ndarray]:
    """Features, labels (n,) 1 = FAKE, originals (n,); prints the unusable videos."""
    clips = read_clips(folder)
    values, labels, originals = [], [], []
    results = map_in_order(partial(features, fast=fast), (clip.path for clip in clips))
    for number, (clip, result) in enumerate(zip(clips, results, strict=True), 1):
        if isinstance(result, UnusableVideoError):
            print(f"{clip.path.name}: {result}, skipped", flush=True)
        else:
            values.append(result)
            labels.append(clip.fake)
            originals.append(clip.original)
        if number % 50 == 0:
            print(f"{number}/{len(clips)} videos read", flush=True)
    if len(set(labels)) < 2:
        raise SystemExit(
            f"{folder}: expected FAKE and REAL videos with a face; {len(values)} of {len(clips)} videos are usable."
        )
    return values, np.array(labels, dtype=np.int64), np.array(originals)


def fit(x: Videos, y: np.ndarray, strength: float) -> dict:
    """Scaler and regression coefficients."""
    rows = np.concatenate(x)  # (total frames, n_features)
    video = np.repeat(np.arange(len(x)), [len(values) for values in x])
    weight = (weights(y) * len(y) / [len(values) for values in x])[
        video
    ]  # a video weighs 1 on average, whatever its number of frames
    fitted = {"mean": rows.mean(axis=0).tolist(), "scale": np.maximum(rows.std(axis=0), 1e-9).tolist()}
    model = LogisticRegression(C=strength, max_iter=5000)
    model.fit(standardise(rows, fitted), y[video], sample_weight=weight)
    return fitted | {"coefficients": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}


def fit_trees(x: Videos, y: np.ndarray, count: int) -> dict:
    """The least regularised regression, and `count` boosted trees on the median of each video's frames."""
    model = boosting(count)
    model.fit(np.array([np.median(values, axis=0) for values in x]), y, sample_weight=weights(y) * len(y))
    nodes = [tree.tree_ for tree in model.estimators_[:, 0]]
    return fit(x, y, STRENGTHS[-1]) | {
        "trees": [
            {
                "feature": tree.feature.tolist(),
                "threshold": rounded(tree.threshold),
                "left": tree.children_left.tolist(),
                "right": tree.children_right.tolist(),
                "value": rounded(LEARNING_RATE * tree.value[:, 0, 0]),
            }
            for tree in nodes
        ]
    }


def boosting(count: int) -> GradientBoostingClassifier:
    """`count` trees, before they are fitted."""
    return GradientBoostingClassifier(
        n_estimators=count,
        learning_rate=LEARNING_RATE,
        max_depth=DEPTH,
        min_samples_leaf=MIN_LEAF,
        subsample=SUBSAMPLE,
        init="zero",
        random_state=0,
    )


def rounded(values: np.ndarray) -> list[float]:
    """Six significant digits: half the size of the file."""
    return [float(f"{value:.6g}") for value in values]


class Classifier(NamedTuple):
    """How to fit one, and the settings to choose from, simplest first: `strength` everywhere below."""

    setting: str  # what the strength is
    fit: Callable[[Videos, np.ndarray, Any], dict]
    strengths: tuple[float, ...]


REGRESSION = Classifier("C", fit, STRENGTHS)
WITH_TREES = Classifier("trees", fit_trees, TREES)


def logits(x: Videos, fitted: dict) -> np.ndarray:
    """(n,) logits of videos before shrinkage."""
    return np.array([logit(values, fitted) for values in x])


def pick(x: Videos, rows: np.ndarray) -> Videos:
    """The videos with these row numbers."""
    return [x[row] for row in rows]


def tune(x: Videos, y: np.ndarray, originals: np.ndarray, kind: Classifier) -> Setting:
    """Strength, shrinkage and clip, chosen by cross-validation."""
    splits = folds(y, originals)
    if not splits:
        return safe_setting(kind.strengths[0], logits(x, kind.fit(x, y, kind.strengths[0])))
    rows = np.concatenate([held for _, held in splits])
    candidates = {
        strength: np.concatenate(
            [logits(pick(x, held), kind.fit(pick(x, train), y[train], strength)) for train, held in splits]
        )
        for strength in kind.strengths
    }
    return choose(candidates, y[rows], originals[rows])


def tune_on(
    x: Videos, y: np.ndarray, kind: Classifier, others: Videos, labels: np.ndarray, originals: np.ndarray
) -> Setting:
    """Strength, shrinkage and clip, chosen on other videos: degraded ones, of other people."""
    candidates = {strength: logits(others, kind.fit(x, y, strength)) for strength in kind.strengths}
    return choose(candidates, labels, originals)


def held_out(x: Videos, y: np.ndarray, originals: np.ndarray, kind: Classifier) -> np.ndarray:
    """(n,) predictions by models fitted and tuned without the video's original; NaN where impossible."""
    p = np.full(len(y), np.nan)
    for train, held in folds(y, originals):
        strength, shrinkage, clip = tune(pick(x, train), y[train], originals[train], kind)
        fitted = kind.fit(pick(x, train), y[train], strength)
        p[held] = to_probability(logits(pick(x, held), fitted), shrinkage, clip)
    return p


def main(argv: list[str] | None = None) -> None:
    """Read the videos, choose a setting, fit, report, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds mp4 files and metadata.json, as train_sample_videos does")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    parser.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="choose strength, shrinkage and clip on these videos instead"
    )
    parser.add_argument("--seed", type=read_seed, default=0, help="seed of the bootstrap; nothing else is random")
    parser.add_argument(
        "--fast", action="store_true", help="read only the first third of each video, in training and prediction"
    )
    parser.add_argument("--trees", action="store_true", help="add boosted trees to the regression")
    args = parser.parse_args(argv)
    kind = WITH_TREES if args.trees else REGRESSION
    check_writable(args.out)
    x, y, originals = load(args.folder, fast=args.fast)
    chosen_on = (x, y, originals) if args.calibrate is None else load(args.calibrate, fast=args.fast)
    strength, shrinkage, clip = (
        tune(x, y, originals, kind) if args.calibrate is None else tune_on(x, y, kind, *chosen_on)
    )
    if clip == SAFE_CLIP:
        reason = too_few_originals(*chosen_on[1:]) or "No setting clearly beats the constant."
        print(f"{reason} Predictions stay between {SAFE_CLIP} and {1 - SAFE_CLIP}.")
        print(MORE_DATA)
    where = args.calibrate or "held-out originals"
    print(f"chosen on {where}: {kind.setting} {strength}, shrinkage {shrinkage:.3g}, clip {clip}")
    model = {
        "features": list(FEATURES),
        **kind.fit(x, y, strength),
        "shrinkage": shrinkage,
        "clip": clip,
        "fallback": FALLBACK,
        "fast": args.fast,
        "held_out": report(held_out(x, y, originals, kind), y, originals, args.seed),
        "made_with": {
            kind.setting: strength,
            "calibrated_on": None if args.calibrate is None else args.calibrate.name,
            "frames": FRAMES,
            **provenance(args.folder, y, args.seed, ("av", "numpy", "opencv-python-headless", "scikit-learn")),
        },
    }
    save_model(model, args.out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None
