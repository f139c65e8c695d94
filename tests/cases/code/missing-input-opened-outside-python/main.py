import contextlib
import csv
import os
import sqlite3
import subprocess

import av

KAGGLE, INPUT = os.path.split(os.path.dirname(os.environ["DFDC_INPUT_DIR"]))


def path_of(*names):
    return os.path.join(KAGGLE, INPUT, *names)


with contextlib.suppress(OSError):
    av.open(path_of("weights", "clip.mp4"))
with contextlib.suppress(sqlite3.Error):
    sqlite3.connect(path_of("features", "a.db")).execute("SELECT 1")
subprocess.run(["ls", path_of("listed")], capture_output=True, check=False)

with open(path_of("deepfake-detection-challenge", "sample_submission.csv")) as file:
    names = [row["filename"] for row in csv.DictReader(file)]
with open("submission.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["filename", "label"])
    table.writerows([name, 0.5] for name in names)
