"""Predicts from a few frames; lists its fallbacks."""

import csv
import os
from pathlib import Path

import av

INPUT = Path(os.environ["DFDC_INPUT_DIR"])


def predict(path):
    brightness = []
    with av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.video:
            return None
        for frame in container.decode(container.streams.video[0]):
            brightness.append(frame.reformat(width=32, height=32, format="gray").to_ndarray().mean())
            if len(brightness) == 4:
                break
    return 0.3 + 0.4 * sum(brightness) / len(brightness) / 255 if brightness else None


rows = csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))
predictions, fallbacks = [], []
for row in rows:
    try:
        label = predict(INPUT / "test_videos" / row["filename"])
    except av.FFmpegError:
        label = None
    if label is None:
        fallbacks.append((row["filename"], "unreadable"))
    predictions.append((row["filename"], 0.5 if label is None else label))
for name, header, table in (("submission", "label", predictions), ("fallbacks", "reason", fallbacks)):
    with Path(f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", header), *table])
