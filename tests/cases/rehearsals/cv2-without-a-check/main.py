"""cv2 raises nothing for an unreadable file: the frame is None, and the error comes a line later."""

import csv
import os
from pathlib import Path

import cv2

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    ok, frame = cv2.VideoCapture(str(INPUT / "test_videos" / name)).read()
    lines.append(f"{name},{0.3 + frame.mean() / 1000}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
