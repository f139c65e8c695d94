"""Compare exact frames with the fast mode:  python docs/compare_reading.py [DATA_FOLDER].

face-stats is fitted and evaluated twice: on evenly spaced frames of the full videos, and on the frames that the fast
mode of frames.py reads instead. DATA_FOLDER: as for compare_rules.py; default: the bundled sample.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from compare_rules import ROOT
from side_by_side import compare

# compare_rules has put the folder of face-stats on sys.path
import main as face_stats  # isort: skip
from faces import track_faces  # isort: skip


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"

    def track_fast(path, measure, count, **_):
        return track_faces(path, measure, count, fast=True)

    variants = {"exact frames": nullcontext, "fast mode": lambda: patch.object(face_stats, "track_faces", track_fast)}
    print(compare(variants, folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
