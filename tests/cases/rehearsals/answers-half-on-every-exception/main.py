"""The commonest bug: 0.5 on every exception, listed nowhere."""

import csv
import os
from pathlib import Path

import av

INPUT = Path(os.environ["DFDC_INPUT_DIR"])


def predict(path):
    with av.open(str(path)) as container:
        first, second = list(container.decode(video=0))[:2]  # a single frame is an error, too
        return (
            0.3 + 0.4 * first.reformat(width=32, height=32, format="gray").to_ndarray().mean() / 255 + 0 * second.width
        )


names = [row["filename"] for row in csv.DictReader((INPUT / "sample_submission.csv").open(newline=""))]
lines = ["filename,label"]
for name in names:
    try:
        label = predict(INPUT / "test_videos" / name)
    except Exception:  # noqa: BLE001
        label = 0.5
    lines.append(f"{name},{label}")
Path("submission.csv").write_text("\n".join(lines) + "\n")
