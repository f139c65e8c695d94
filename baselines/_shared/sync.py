"""Copy the shared files into the baselines that use them:  python baselines/_shared/sync.py   (make baselines-sync).

A baseline imports nothing of another, so that each folder is complete alone. `--check` copies nothing and exits with 1
if a copy differs; a test runs it.
"""

import argparse
from pathlib import Path

SHARED = Path(__file__).resolve().parent
COPIES = {  # file: folders below baselines/ that have a copy
    "calibrate.py": ("frame-stats", "face-stats", "face-cnn/model"),
    "combine.py": ("face-stats", "face-cnn/model"),
    "faces.py": ("face-stats", "face-cnn/model"),
    "frames.py": ("face-stats", "face-cnn/model"),
    "training.py": ("frame-stats", "face-stats"),
}


def main(argv: list[str] | None = None, baselines: Path = SHARED.parent) -> int:
    """Write the copies that differ, or only name them; 1 if `--check` finds any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="copy nothing; exit with 1 if a copy differs")
    check = parser.parse_args(argv).check
    differing = 0
    for name, folders in COPIES.items():
        content = (SHARED / name).read_bytes()
        for folder in folders:
            copy = baselines / folder / name
            if copy.is_file() and copy.read_bytes() == content:
                continue
            differing += 1
            if not check:
                copy.write_bytes(content)
            print(f"{folder}/{name} {'differs from baselines/_shared/' + name if check else 'written'}")
    return int(check and differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
