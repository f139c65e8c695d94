"""Make the table of a made challenge in baselines/README.md:  python docs/made_results.py MADE runs/*/run.json

One row for each run and kind of clip of the Private part: manipulations that training clips have or not, degraded or
not; the worst first. A FAKE clip counts in the row of its manipulation, together with the REAL clip it was made from.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from results import interval
from sklearn.metrics import roc_auc_score

CLIP = 1e-15
HEAD = "| baseline | clips | n | log loss (95 % interval) | AUC |\n|---|---|---|---|---|"


def kinds_of_clips(made: Path) -> dict[str, tuple[str, str, int]]:
    """Private clip -> its kind, its original, its label (1: FAKE)."""
    with (made / "provenance/clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = {row["manipulation"] for row in rows if row["part"] == "train"}
    family = {row["original"] or row["filename"]: row["manipulation"] for row in rows if row["label"] == "FAKE"}
    found = {}
    for row in rows:
        original = row["original"] or row["filename"]
        if row["part"] == "Private" and original in family:
            seen = "seen" if family[original] in trained else "unseen"
            degraded = "degraded" if row["augmentation"] or row["distractor"] else "clean"
            found[row["filename"]] = (f"{seen} manipulations, {degraded}", original, int(row["label"] == "FAKE"))
    return found


def table_rows(run: Path, clips: dict[str, tuple[str, str, int]]) -> list[tuple[float, str]]:
    """Loss and Markdown row of each kind of clip, the worst first, then of all of them."""
    name = json.loads(run.read_text(encoding="utf-8"))["submission"]
    with (run.parent / "submission.csv").open(newline="", encoding="utf-8") as file:
        predictions = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    rows = []
    for kind in (*sorted({kind for kind, _, _ in clips.values()}), ""):
        chosen = [clip for clip, (of, _, _) in clips.items() if kind in ("", of)]
        y = np.array([clips[clip][2] for clip in chosen])
        p = np.clip([predictions[clip] for clip in chosen], CLIP, 1 - CLIP)
        loss = -np.log(np.where(y == 1, p, 1 - p))
        low, high = interval(loss, np.unique([clips[clip][1] for clip in chosen], return_inverse=True)[1])
        cells = f"{loss.mean():.3f} ({low:.3f} to {high:.3f}) | {roc_auc_score(y, p):.2f}"
        rows.append((float(loss.mean()) if kind else -1.0, f"| `{name}` | {kind or 'all'} | {len(y)} | {cells} |"))
    return sorted(rows, reverse=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="run.json of runs with --data MADE")
    args = parser.parse_args()
    clips = kinds_of_clips(args.made)
    print(HEAD)
    for run in args.runs:
        for _, row in table_rows(run, clips):
            print(row)


if __name__ == "__main__":
    main()
