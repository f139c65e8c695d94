"""Reads the length of the first box; the error that an empty file raises does not name the file."""

import csv
import os
import struct
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    with (INPUT / "test_videos" / name).open("rb") as file:
        (length,) = struct.unpack(">I", file.read(4))
    lines.append(f"{name},{0.25 + length % 100 / 200}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
