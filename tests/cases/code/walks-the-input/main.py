import csv
import pathlib

INPUT = pathlib.Path("/kaggle/input/deepfake-detection-challenge")
ROWS = list(csv.DictReader((INPUT / "sample_submission.csv").open()))


def write(path, label=0.5):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label"])
        table.writerows([row["filename"], label] for row in ROWS)


import os

paths = [os.path.join(folder, name) for folder, _, names in os.walk("/kaggle/input") for name in names]
assert len(paths) == len(set(map(os.path.realpath, paths)))
assert sum("test_videos" in path for path in paths) == len(ROWS)
assert not list(pathlib.Path("/kaggle/input").glob("datasets/*/*"))
write("submission.csv")
