"""Ways to make one answer of many stills, on the same features:  python baselines/compare_rules.py [DATA_FOLDER].

The stills and features of face-stats, its regression with one fixed strength, and each rule of combine.py: on training
videos held out by original, and on test videos, whose people nobody was trained on. Nothing is shrunk, so that the
rules can be told apart; answers are clipped at 0.01. DATA_FOLDER: as the challenge's, with train_sample_videos; and
test_videos and solution/solution.csv where the truth is known. Default: the bundled sample.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "face-stats"))

from calibrate import interval, losses, shrink_and_clip, weights  # noqa: E402
from combine import RULES  # noqa: E402
from frames import UnusableError, in_order  # noqa: E402
from main import features, standardise  # noqa: E402
from train import fit, load, pick  # noqa: E402
from training import folds  # noqa: E402

STRENGTH = 0.03  # of the regression: fixed beforehand, not chosen by what this table shows
CLIP = 0.01


def of_stills(values: np.ndarray, fitted: dict) -> np.ndarray:
    """(n_stills,) probabilities of FAKE."""
    logits = standardise(values, fitted) @ np.array(fitted["coefficients"]) + fitted["intercept"]
    return shrink_and_clip(logits, 1.0, 1e-6)


def guesses(x: list[np.ndarray], fitted: dict) -> dict[str, np.ndarray]:
    """For each rule (n,) answers; and for features that were combined before they were judged."""
    stills = [of_stills(values, fitted) for values in x]
    found = {name: np.array([rule(p) for p in stills]) for name, rule in RULES.items()}
    found["median of features first"] = np.array([of_stills(np.median(v, axis=0)[None], fitted)[0] for v in x])
    return found


def figures(p: np.ndarray, y: np.ndarray, originals: np.ndarray) -> str:
    """Two cells: log loss with its interval, AUC."""
    loss = losses(y, np.clip(p, CLIP, 1 - CLIP))
    low, high = interval(loss, y, originals, seed=0)
    return f"{weights(y) @ loss:.3f} ({low:.3f} to {high:.3f}) | {roc_auc_score(y, p):.2f}"


def test_set(folder: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Features, labels and pairs of the test videos that show a face."""
    with (folder / "solution/solution.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["filename"]: int(row["label"]) for row in csv.DictReader(file)}
    pair = {name: name for name in truth}
    if (folder / "sources/clips.csv").is_file():
        with (folder / "sources/clips.csv").open(newline="", encoding="utf-8") as file:
            pair |= {row["filename"]: row["pair"] for row in csv.DictReader(file)}
    results = zip(truth, in_order(features, (folder / "test_videos" / name for name in truth)), strict=True)
    kept = {name: values for name, values in results if not isinstance(values, UnusableError)}
    return list(kept.values()), np.array([truth[name] for name in kept]), np.array([pair[name] for name in kept])


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else HERE.parent / "sample_data"
    x, y, originals = load(folder / "train_sample_videos")
    splits = folds(y, originals)
    rows = np.concatenate([held for _, held in splits])
    of_folds = [guesses(pick(x, held), fit(pick(x, seen), y[seen], STRENGTH)) for seen, held in splits]
    known = (folder / "solution/solution.csv").is_file()
    x_test, y_test, pairs = test_set(folder) if known else ([], y[:0], originals[:0])
    of_test = guesses(x_test, fit(x, y, STRENGTH)) if known else {}
    head = [f"{len(rows)} training videos, held out by original: log loss", "AUC"]
    head += [f"{len(y_test)} test videos, other people: log loss", "AUC"] if known else []
    print(f"| rule | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for rule in of_folds[0]:
        held_out = np.concatenate([fold[rule] for fold in of_folds])
        cells = [figures(held_out, y[rows], originals[rows])]
        cells += [figures(of_test[rule], y_test, pairs)] if known else []
        print(f"| {rule.replace('_', ' ')} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
