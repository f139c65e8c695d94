"""A submission that averages others: copy it as main.py into a folder, and each of them, as a folder, beside it.

Each program runs in a working folder of its own, all at the same time. A video's logit is the mean of theirs.
"""

import csv
import math
import subprocess
import sys
from pathlib import Path

BESIDE = Path(globals().get("__file__", "main.py")).resolve().parent
LEAST = 1e-6  # probability, so that every logit is finite


def predictions(file: Path) -> dict[str, float]:
    """File name -> probability of FAKE, of a submission file."""
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["filename"]: float(row["label"]) for row in csv.DictReader(lines)}


def blend(labels: list[float]) -> float:
    """The probability whose logit is the mean of those of `labels`."""
    kept = [min(max(label, LEAST), 1 - LEAST) for label in labels]
    return 1 / (1 + math.exp(-sum(math.log(p / (1 - p)) for p in kept) / len(kept)))


def main() -> None:
    """Run the programs, then write submission.csv."""
    running = []
    for program in sorted(BESIDE.glob("*/main.py")):
        folder = Path(program.parent.name)
        folder.mkdir(exist_ok=True)
        running.append((folder, subprocess.Popen([sys.executable, program], cwd=folder)))
    for folder, process in running:
        if code := process.wait():
            raise SystemExit(f"{folder} ended with exit code {code}")
    found = [predictions(folder / "submission.csv") for folder, _ in running]
    with Path("submission.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("filename", "label"))
        table.writerows((name, blend([one[name] for one in found])) for name in found[0])


if __name__ == "__main__":
    main()
