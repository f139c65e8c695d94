"""Fit model.json on a training folder: python train.py TRAIN_FOLDER (mp4 files and metadata.json).

How far the answers may leave 0.5 is measured, never assumed: on videos whose original no fitted video shares. A setting
is taken only if it beats the constant 0.5 there by more than two standard errors; if none does, the model answers
0.5. The loss printed at the end is of a second, outer split: no choice was made on the videos it is counted on.

Both classes weigh the same, in the fit and in every loss, because the tests are half FAKE and half REAL and training
folders are not: the prior of the model is 0.5.
"""

import argparse
import hashlib
import itertools
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from main import FEATURES, UnusableError, all_features, shrink_and_clip, standardise
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

PRIOR = 0.5
LN2 = math.log(2)  # what the prior costs, whatever the labels
FOLDS = 5
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C of the regression, simplest model first
SHRINKAGES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)  # 1 / temperature
CLIPS = (0.1, 0.05, 0.02, 0.01)  # where the held-out videos do not tell, the first
CAUTION = 2.0  # standard errors: the best of many settings flatters itself
RESAMPLES = 2000  # of the bootstrap

Setting = tuple[float, float, float]  # C, shrinkage, clip
CONSTANT: Setting = (STRENGTHS[0], 0.0, CLIPS[0])


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, n_features), labels (n,) 1 = FAKE, originals (n,); names the videos that cannot be used."""
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    names = sorted(metadata)
    values, labels, originals = [], [], []
    for name, result in zip(names, all_features(folder / name for name in names), strict=True):
        if isinstance(result, UnusableError):
            print(f"{name}: {result}, left out", flush=True)
            continue
        values.append(result)
        labels.append(metadata[name]["label"] == "FAKE")
        originals.append(metadata[name].get("original") or name)  # a REAL video is its own original
        if len(values) % 50 == 0:
            print(f"{len(values)}/{len(names)} videos read", flush=True)
    if not values:
        raise SystemExit(f"{folder}: none of its {len(names)} videos can be used.")
    return np.array(values), np.array(labels, dtype=np.int64), np.array(originals)


def weights(y: np.ndarray) -> np.ndarray:
    """(n,), summing to 1: half of it on FAKE, half on REAL."""
    share = np.bincount(y, minlength=2)
    return 0.5 / share[y]


def losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(n,) log loss of each video."""
    return -np.log(np.where(y == 1, p, 1 - p))


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


def folds(y: np.ndarray, originals: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fitted rows, held-out rows) that share no original; fewer than two originals a class cannot be split."""
    fewest = min(len(set(originals[y == label])) for label in (0, 1))
    if fewest < 2:
        return []
    splits = StratifiedGroupKFold(min(FOLDS, fewest)).split(y, y, originals)
    return [(seen, held) for seen, held in splits if len(set(y[seen])) == 2]


def choose(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> Setting:
    """The setting whose held-out gain over the constant is largest after CAUTION standard errors are taken off."""
    best, best_bound = CONSTANT, 0.0
    splits = folds(y, originals)
    for strength in STRENGTHS if splits else ():
        rows = np.concatenate([held for _, held in splits])
        guess = np.concatenate([logits(x[held], fit(x[seen], y[seen], strength)) for seen, held in splits])  # (n,)
        for shrinkage, clip in itertools.product(SHRINKAGES, CLIPS):
            excess = (
                losses(y[rows], shrink_and_clip(guess, shrinkage, clip)) - LN2
            )  # over the constant's; below 0: better
            bound = upper_bound(excess, y[rows], originals[rows])
            if bound < best_bound:
                best, best_bound = (strength, shrinkage, clip), bound
    return best


def upper_bound(excess: np.ndarray, y: np.ndarray, originals: np.ndarray) -> float:
    """Mean and CAUTION standard errors of it; videos of one original are one observation."""
    weight = weights(y)
    mean_of_class = np.array([excess[y == label].mean() for label in (0, 1)])
    _, group = np.unique(originals, return_inverse=True)
    deviation = np.bincount(group, weight * (excess - mean_of_class[y]))  # (n_originals,)
    error = math.sqrt((deviation**2).sum() * len(deviation) / max(len(deviation) - 1, 1))
    return float(mean_of_class.mean()) + CAUTION * error


def held_out(x: np.ndarray, y: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """(n,) predictions, each by a model fitted and tuned without the video's original; NaN where none could be."""
    p = np.full(len(y), np.nan)
    for seen, held in folds(y, originals):
        strength, shrinkage, clip = choose(x[seen], y[seen], originals[seen])
        p[held] = shrink_and_clip(logits(x[held], fit(x[seen], y[seen], strength)), shrinkage, clip)
    return p


def interval(loss: np.ndarray, y: np.ndarray, originals: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the weighted mean loss, resampling originals."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(originals, return_inverse=True)
    n = group.max() + 1
    sums = np.stack([np.bincount(group, (y == label) * loss) for label in (0, 1)])  # (2, n_originals)
    counts = np.stack([np.bincount(group, y == label) for label in (0, 1)])
    drawn = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).T  # (n_originals, RESAMPLES)
    per_class = (sums @ drawn) / np.maximum(counts @ drawn, 1)  # (2, RESAMPLES)
    usable = (counts @ drawn > 0).all(axis=0)  # a resample without one class has no balanced loss
    low, high = np.quantile(per_class.mean(axis=0)[usable], (0.025, 0.975))
    return float(low), float(high)


def report(x: np.ndarray, y: np.ndarray, originals: np.ndarray, seed: int) -> dict:
    """Held-out loss with its interval, printed beside the constant's."""
    p = held_out(x, y, originals)
    known = np.isfinite(p)
    if len(set(y[known])) < 2:
        print("Too few originals to hold any out: the loss is unknown.")
        return {"n": 0}
    y, originals = y[known], originals[known]
    loss = losses(y, p[known])
    mean, (low, high) = float(weights(y) @ loss), interval(loss, y, originals, seed)
    print(f"held-out log loss {mean:.4f} (95 % interval {low:.4f} to {high:.4f}; n = {len(y)}, ", end="")
    print(f"{len(set(originals))} originals, both classes weighing the same); the constant 0.5: {LN2:.4f}")
    return {
        "n": len(y),
        "originals": len(set(originals)),
        "log_loss": mean,
        "interval_95": [low, high],
        "constant": LN2,
    }


def fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of the folder's mp4 files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.mp4")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).hexdigest().encode() + b"\n")
    return digest.hexdigest()


def main() -> None:
    """Read, choose, fit, report, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="holds mp4 files and metadata.json, as train_sample_videos does")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "model.json")
    options.add_argument("--seed", type=int, default=0, help="of the bootstrap; nothing else is random")
    asked = options.parse_args()
    x, y, originals = load(asked.folder)
    if len(set(y)) < 2:
        raise SystemExit(f"{asked.folder}: FAKE and REAL videos are both needed.")
    strength, shrinkage, clip = choose(x, y, originals)
    if shrinkage == 0:
        print("No setting beats the constant by more than two standard errors: this model answers 0.5.")
    print(f"chosen on held-out originals: C {strength}, shrinkage {shrinkage}, clip {clip}")
    model = {
        "features": list(FEATURES),
        **fit(x, y, strength),
        "shrinkage": shrinkage,
        "clip": clip,
        "prior": PRIOR,
        "held_out": report(x, y, originals, asked.seed),
        "made_with": {
            "command": f"python train.py {asked.folder.resolve().name} --seed {asked.seed}",
            "data": {"videos": len(y), "fake": int(y.sum()), "sha256": fingerprint(asked.folder)},
            "C": strength,
            "python": platform.python_version(),
            **{name: version(name) for name in ("av", "numpy", "scikit-learn")},
        },
    }
    asked.out.write_text(json.dumps(model, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
