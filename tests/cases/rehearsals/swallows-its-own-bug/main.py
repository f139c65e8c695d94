"""A misspelt name raises on each video; the exception is swallowed."""

import csv
import os
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    try:
        head = (INPUT / "test_videos" / name).read_bytes()
        label = haed[0]  # noqa: F821
    except Exception:  # noqa: BLE001
        label = 0.5
    lines.append(f"{name},{label}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
