"""Catches no error of the decoder; the traceback names the file."""

import csv
import os
from pathlib import Path

import av

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    with av.open(str(INPUT / "test_videos" / name)) as container:
        frame = next(container.decode(video=0))
        lines.append(f"{name},{0.25 + frame.reformat(width=8, height=8, format='gray').to_ndarray().mean() / 600}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
