"""Count FAKE and REAL in a training folder and write them to prior.json: python train.py TRAIN_FOLDER."""

import argparse
import json
from collections import Counter
from pathlib import Path


def count(path: Path) -> Counter[str]:
    """Numbers of FAKE and REAL videos in a metadata.json. Exits with a message if the file is faulty."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        counted = Counter({"FAKE": "FAKE", "REAL": "REAL"}[entry["label"]] for entry in metadata.values())
    except OSError as error:
        fault = str(error.strerror)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"not in the challenge's format, {error!r}"
    else:
        if len(counted) == 2:
            return counted
        fault = f"expected FAKE and REAL videos, found {counted['FAKE']} FAKE and {counted['REAL']} REAL"
    raise SystemExit(f'{path}: {fault}. Expected: {{"a.mp4": {{"label": "FAKE"}}, "b.mp4": {{"label": "REAL"}}, ...}}.')


def save(prior: dict, path: Path) -> None:
    """Write JSON atomically. Exits with a message if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(prior, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise SystemExit(f"{path}: {error.strerror}. Choose a writable file: --out FILE") from None


def main(argv: list[str] | None = None) -> None:
    """Read TRAIN_FOLDER/metadata.json and write prior.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds metadata.json, as train_sample_videos does")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "prior.json")
    args = parser.parse_args(argv)
    counted = count(args.folder / "metadata.json")
    source = f"metadata.json of {args.folder.resolve().name}"
    save({"fake": counted["FAKE"], "real": counted["REAL"], "source": source}, args.out)
    print(f"{counted['FAKE']} FAKE, {counted['REAL']} REAL -> {args.out}")


if __name__ == "__main__":
    main()
