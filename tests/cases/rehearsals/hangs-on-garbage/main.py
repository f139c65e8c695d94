"""Waits for a header that never comes."""

import csv
import os
import time
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    with (INPUT / "test_videos" / name).open("rb") as file:
        head = file.read(12)
        if head and b"ftyp" not in head:
            time.sleep(30)
    lines.append(f"{name},{0.4 if head else 0.5}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
