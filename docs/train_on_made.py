"""Train frame-stats and face-stats as the bundled ones were:  python docs/train_on_made.py MADE [--out DIR]

MADE is a folder of `dfdc data make --out MADE --train 600 --test 200 --seed 0`. Training uses its training clips
without the people of the bundled sample's tests, so that nobody in those tests was seen. Regression strength, shrinkage
and clip are chosen on the Public part: other people, partly degraded. The Private part is left for the results.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ("frame-stats", "face-stats")


def sample_test_people() -> set[str]:
    """Everyone whose face is in a test clip of the bundled sample."""
    with (ROOT / "sample_data/sources/clips.csv").open(newline="", encoding="utf-8") as file:
        return {name for row in csv.DictReader(file) if "test" in row["folder"] for name in row["people"].split()}


def link_folders(made: Path, out: Path) -> dict[str, int]:
    """Make `out`/train and `out`/Public: links to clips, and a metadata.json; the number of clips in each."""
    with (made / "provenance/clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unseen = sample_test_people()
    chosen = {
        "train": [row for row in rows if row["part"] == "train" and not unseen & set(row["people"].split())],
        "Public": [row for row in rows if row["part"] == "Public"],
    }
    for name, clips in chosen.items():
        folder = out / name
        folder.mkdir(parents=True)
        source = made / ("train_sample_videos" if name == "train" else "test_videos")
        for row in clips:
            (folder / row["filename"]).symlink_to((source / row["filename"]).resolve())
        entries = {row["filename"]: {"label": row["label"], "original": row["original"] or None} for row in clips}
        (folder / "metadata.json").write_text(json.dumps(entries), encoding="utf-8")
    return {name: len(clips) for name, clips in chosen.items()}


def main() -> None:
    """Link the folders, then train each baseline into its own folder of `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path)
    parser.add_argument("--out", type=Path, default=Path("trained"), help="new folder for links and models")
    args = parser.parse_args()
    print(link_folders(args.made, args.out))
    for name in BASELINES:
        command = [ROOT / "baselines" / name / "train.py", args.out / "train", "--calibrate", args.out / "Public"]
        subprocess.run([sys.executable, *command, "--out", args.out / f"{name}.json"], check=True)


if __name__ == "__main__":
    main()
