"""Count FAKE and REAL in a training folder and write them to prior.json: python train.py TRAIN_FOLDER."""

import argparse
import json
from collections import Counter
from pathlib import Path


def count(path: Path) -> Counter[str]:
    """How many videos a metadata.json says to be FAKE and REAL. Ends the program with a sentence if it is faulty."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        counted = Counter({"FAKE": "FAKE", "REAL": "REAL"}[entry["label"]] for entry in metadata.values())
    except OSError as error:
        fault = str(error.strerror)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"not of the challenge's form, {error!r}"
    else:
        if len(counted) == 2:
            return counted
        fault = f"FAKE and REAL videos are both needed, it has {counted['FAKE']} and {counted['REAL']}"
    raise SystemExit(f'{path}: {fault}. Expected: {{"a.mp4": {{"label": "FAKE"}}, "b.mp4": {{"label": "REAL"}}, ...}}.')


def save(prior: dict, path: Path) -> None:
    """Whole or not at all. Ends the program with a sentence if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(prior, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise SystemExit(f"{path}: {error.strerror}. Choose a folder that can be written: --out FILE") from None


def main() -> None:
    """Read TRAIN_FOLDER/metadata.json, write prior.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, help="holds metadata.json, as train_sample_videos does")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "prior.json")
    asked = options.parse_args()
    counted = count(asked.folder / "metadata.json")
    source = f"metadata.json of {asked.folder.resolve().name}"
    save({"fake": counted["FAKE"], "real": counted["REAL"], "source": source}, asked.out)
    print(f"{counted['FAKE']} FAKE, {counted['REAL']} REAL -> {asked.out}")


if __name__ == "__main__":
    main()
