"""Compare rules that combine the predictions of a video's frames:  python docs/compare_rules.py [DATA_FOLDER].

Uses the frames and features of face-stats, its regression with one fixed strength, and each rule of combine.py, on
training videos held out by original and on test videos of other people. Predictions are clipped at 0.01 but not shrunk,
so that differences show. DATA_FOLDER: as the challenge's, with train_sample_videos, and with test_videos and
solution/solution.csv where there is a solution. Default: the bundled sample.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "baselines/face-stats"))

from calibrate import interval, losses, to_probability, weights  # noqa: E402
from combine import RULES  # noqa: E402
from frames import UnusableVideoError, map_in_order  # noqa: E402
from main import features, standardise  # noqa: E402
from train import fit_regression, load, pick  # noqa: E402
from training import folds  # noqa: E402

STRENGTH = 0.03  # of the regression: fixed beforehand, not chosen by this table
CLIP = 0.01


def frame_probabilities(values: np.ndarray, fitted: dict) -> np.ndarray:
    """(n_frames,) FAKE probabilities of the frames with the features `values`."""
    logits = standardise(values, fitted) @ np.array(fitted["coefficients"]) + fitted["intercept"]
    return to_probability(logits, 1.0, 1e-6)


def predictions(x: list[np.ndarray], fitted: dict) -> dict[str, np.ndarray]:
    """(n,) predictions by rule; "median of features" combines the features instead of the probabilities."""
    frames = [frame_probabilities(values, fitted) for values in x]
    by_rule = {name: np.array([rule(p) for p in frames]) for name, rule in RULES.items()}
    medians = [np.median(values, axis=0, keepdims=True) for values in x]
    by_rule["median of features"] = np.array([frame_probabilities(median, fitted)[0] for median in medians])
    return by_rule


def figures(p: np.ndarray, y: np.ndarray, originals: np.ndarray) -> str:
    """Two table cells: log loss with its interval, AUC."""
    loss = losses(y, np.clip(p, CLIP, 1 - CLIP))
    low, high = interval(loss, y, originals, seed=0)
    return f"{weights(y) @ loss:.3f} ({low:.3f} to {high:.3f}) | {roc_auc_score(y, p):.2f}"


def test_set(folder: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Features, labels and pairs of the usable test videos."""
    with (folder / "solution/solution.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["filename"]: int(row["label"]) for row in csv.DictReader(file)}
    pair = {name: name for name in labels}
    if (folder / "provenance/clips.csv").is_file():
        with (folder / "provenance/clips.csv").open(newline="", encoding="utf-8") as file:
            pair |= {row["filename"]: row["original"] or row["filename"] for row in csv.DictReader(file)}
    results = zip(labels, map_in_order(features, (folder / "test_videos" / name for name in labels)), strict=True)
    kept = {name: values for name, values in results if not isinstance(values, UnusableVideoError)}
    return list(kept.values()), np.array([labels[name] for name in kept]), np.array([pair[name] for name in kept])


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"
    x, y, originals = load(folder / "train_sample_videos")
    splits = folds(y, originals)
    rows = np.concatenate([held for _, held in splits])
    by_fold = [predictions(pick(x, held), fit_regression(pick(x, train), y[train], STRENGTH)) for train, held in splits]
    has_solution = (folder / "solution/solution.csv").is_file()
    x_test, y_test, pairs = test_set(folder) if has_solution else ([], y[:0], originals[:0])
    on_test = predictions(x_test, fit_regression(x, y, STRENGTH)) if has_solution else {}
    head = [f"{len(rows)} training videos, held out by original: log loss", "AUC"]
    head += [f"{len(y_test)} test videos, other people: log loss", "AUC"] if has_solution else []
    print(f"| rule | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for rule in by_fold[0]:
        held_out = np.concatenate([fold[rule] for fold in by_fold])
        cells = [figures(held_out, y[rows], originals[rows])]
        cells += [figures(on_test[rule], y_test, pairs)] if has_solution else []
        print(f"| {rule.replace('_', ' ')} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
