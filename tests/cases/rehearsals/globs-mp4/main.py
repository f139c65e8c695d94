"""Takes its names from *.mp4, not from the sample submission."""

import os
from pathlib import Path

lines = ["filename,label"]
for path in sorted(Path(os.environ["DFDC_INPUT_DIR"], "test_videos").glob("*.mp4")):
    lines.append(f"{path.name},{0.2 + path.read_bytes()[-1] / 1000}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
