"""Everything is read before anything is looked at: neither what was opened last nor the error tells the culprit."""

import csv
import os
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
contents = [(INPUT / "test_videos" / name).read_bytes() for name in names]
if any(content and b"ftyp" not in content[:12] for content in contents):
    raise ValueError("no header")
Path("submission.csv").write_text("\n".join(["filename,label", *(f"{name},0.4" for name in names)]) + "\n")
