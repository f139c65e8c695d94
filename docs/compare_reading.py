"""Exact frames against those of the fast mode:  python docs/compare_reading.py [DATA_FOLDER].

face-stats is fitted and asked twice: on the evenly spaced frames of whole videos, and on what the fast mode of
frames.py gives instead. DATA_FOLDER: as for compare_rules.py; default: the bundled sample.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from compare_rules import ROOT
from side_by_side import compare

# compare_rules has put the folder of face-stats on the path
import main as face_stats  # isort: skip
from faces import follow  # isort: skip


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"

    def follow_fast(path, look, count, **_):
        return follow(path, look, count, fast=True)

    ways = {"exact frames": nullcontext, "fast mode": lambda: patch.object(face_stats, "follow", follow_fast)}
    print(compare(ways, folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
