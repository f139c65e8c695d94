import csv
import pathlib

INPUT = pathlib.Path("/kaggle/input/deepfake-detection-challenge")
ROWS = list(csv.DictReader((INPUT / "sample_submission.csv").open()))


def write(path, label=0.5):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label"])
        table.writerows([row["filename"], label] for row in ROWS)


import sys

sys.path.insert(0, "/kaggle/input/helpers")
from scale import VALUE

write("submission.csv", VALUE)
