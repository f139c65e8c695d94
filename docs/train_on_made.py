"""Train frame-stats, face-stats and face-cnn as the bundled ones were:  python docs/train_on_made.py MADE [--out DIR]

MADE is a folder of `dfdc data make --out MADE --train 600 --test 200 --seed 0`. Clips with people of the sample's
tests are left out, so that nobody in those tests was seen. What is not fitted (regression strength,
shrinkage, clip) is chosen on the Public part: other people, partly degraded. The Private part is left for the results.
`--only face-cnn` trains that one alone. `--train-on-public` fits frame-stats and face-stats on the Public part as well,
the people of the sample's tests included, and chooses on held-out originals: to compare on DIR/Private.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATISTICS = ("frame-stats", "face-stats")
CNN = "face-cnn"


def sample_test_people() -> set[str]:
    """Everyone whose face is in a test clip of the bundled sample."""
    with (ROOT / "sample_data/provenance/clips.csv").open(newline="", encoding="utf-8") as file:
        return {name for row in csv.DictReader(file) if row["part"] != "train" for name in row["people"].split()}


def link_folders(made: Path, out: Path, left_out: set[str]) -> dict[str, int]:
    """Make `out`/train, Public and Private: links to clips, and a metadata.json; the number of clips in each.

    Clips with people in `left_out` are not linked into train and Public.
    """
    with (made / "provenance/clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    usable = [row for row in rows if row["part"] == "Private" or not left_out & set(row["people"].split())]
    chosen = {part: [row for row in usable if row["part"] == part] for part in ("train", "Public", "Private")}
    for name, clips in chosen.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        source = made / ("train_sample_videos" if name == "train" else "test_videos")
        for row in clips:
            if not (folder / row["filename"]).is_symlink():
                (folder / row["filename"]).symlink_to((source / row["filename"]).resolve())
        entries = {row["filename"]: {"label": row["label"], "original": row["original"] or None} for row in clips}
        (folder / "metadata.json").write_text(json.dumps(entries), encoding="utf-8")
    return {name: len(clips) for name, clips in chosen.items()}


def train_statistics(name: str, out: Path, *, on_public: bool) -> None:
    """Fit one of STATISTICS, choosing on the Public part or fitting on it as well; writes `out`/NAME.json."""
    public = [out / "Public"] if on_public else ["--calibrate", out / "Public"]
    command = [ROOT / "baselines" / name / "train.py", out / "train", *public]
    subprocess.run([sys.executable, *command, "--out", out / f"{name}.json"], check=True)


def train_cnn(out: Path) -> None:
    """Extract the faces of both parts, train on one and choose on the other; writes into `out`/face-cnn."""
    training = ROOT / "baselines" / CNN / "training"
    folds = {"train": out / "train", "validation": out / "Public"}
    with (out / "split.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("filename", "fold"))
        table.writerows((path.name, fold) for fold, folder in folds.items() for path in sorted(folder.glob("*.mp4")))
    faces, chosen = out / "faces", ["--split", out / "split.csv", "--work", out / "work", "--out", out / CNN]
    for command in (
        [training / "extract.py", *folds.values(), "--out", faces],
        [training / "train.py", faces, *chosen],
    ):
        subprocess.run([sys.executable, *command], check=True)


def main() -> None:
    """Link the folders, then train each baseline into its own folder of `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path)
    parser.add_argument("--out", type=Path, default=Path("trained"), help="folder for links and models")
    parser.add_argument("--only", choices=(*STATISTICS, CNN), help="train this baseline only")
    parser.add_argument("--train-on-public", action="store_true", help="fit the statistics on the Public part as well")
    args = parser.parse_args()
    print(link_folders(args.made, args.out, set() if args.train_on_public else sample_test_people()))
    for name in (args.only,) if args.only else (*STATISTICS, CNN):
        if name == CNN:
            train_cnn(args.out)
        else:
            train_statistics(name, args.out, on_public=args.train_on_public)


if __name__ == "__main__":
    main()
