"""Writes a row for each *.mp4 that opens, not for each row of the sample submission."""

import os
from pathlib import Path

import av

lines = ["filename,label"]
for path in sorted(Path(os.environ["DFDC_INPUT_DIR"], "test_videos").glob("*.mp4")):
    try:
        with av.open(str(path)) as container:
            lines.append(f"{path.name},{0.4 + container.streams.video[0].width / 10000}")
    except (av.FFmpegError, IndexError):
        continue
Path("submission.csv").write_text("\n".join(lines) + "\n")
