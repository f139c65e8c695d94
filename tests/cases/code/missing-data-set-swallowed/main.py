import csv
import pathlib

INPUT = pathlib.Path("/kaggle/input/deepfake-detection-challenge")
ROWS = list(csv.DictReader((INPUT / "sample_submission.csv").open()))


def write(path, label=0.5):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label"])
        table.writerows([row["filename"], label] for row in ROWS)


try:
    value = float(pathlib.Path("/kaggle/input/ensemble-weights/value.txt").read_text())
except OSError:
    value = 0.5
write("submission.csv", value)
