import csv
import pathlib

INPUT = pathlib.Path("/kaggle/input/deepfake-detection-challenge")
ROWS = list(csv.DictReader((INPUT / "sample_submission.csv").open()))


def write(path, label=0.5):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label"])
        table.writerows([row["filename"], label] for row in ROWS)


import json

rows = json.loads((INPUT / "train_sample_videos" / "metadata.json").read_text())
fake = sum(row["label"] == "FAKE" for row in rows.values()) / len(rows)
videos = sorted(path.name for path in (INPUT / "train_sample_videos").glob("*.mp4"))
assert set(videos) <= set(rows) and (INPUT / "train_sample_videos" / videos[0]).read_bytes()
write("submission.csv", fake)
