"""Count FAKE and REAL in a training folder and write them to prior.json: python train.py TRAIN_FOLDER."""

import argparse
import json
from collections import Counter
from pathlib import Path


def main() -> None:
    """Read TRAIN_FOLDER/metadata.json, write prior.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, help="holds metadata.json, as train_sample_videos does")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "prior.json")
    asked = options.parse_args()
    metadata = json.loads((asked.folder / "metadata.json").read_text(encoding="utf-8"))
    count = Counter(entry["label"] for entry in metadata.values())
    source = f"metadata.json of {asked.folder.resolve().name}"
    prior = {"fake": count["FAKE"], "real": count["REAL"], "source": source}
    asked.out.write_text(json.dumps(prior, indent=2) + "\n", encoding="utf-8")
    print(f"{count['FAKE']} FAKE, {count['REAL']} REAL -> {asked.out}")


if __name__ == "__main__":
    main()
