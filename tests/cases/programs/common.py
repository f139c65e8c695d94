"""What the misbehaving programs share; copied beside each main.py."""

import json
import os
from collections.abc import Callable
from pathlib import Path

INPUT = Path(os.environ["DFDC_INPUT_DIR"])
VIDEOS = INPUT / "test_videos"
PLACES = json.loads(Path(__file__).with_name("places.json").read_text())  # what there is to be found outside
MIB = 1 << 20


def write(label: str = "0.5", name: str = "submission.csv") -> None:
    """A valid submission."""
    names = [row.split(",")[0] for row in (INPUT / "sample_submission.csv").read_text().split()[1:]]
    Path(name).write_text("\n".join(["filename,label", *(f"{name},{label}" for name in names)]) + "\n")


def attempt(what: str, action: Callable[[], object]) -> None:
    """Try what must not work, and say how it went."""
    try:
        got = action()
    except OSError as error:
        print(f"held: {what}: {error.strerror or error}", flush=True)
    else:
        print(f"ESCAPED: {what} {got!r:.100}", flush=True)
