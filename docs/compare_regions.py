"""Where face, rim and surroundings begin: by the outline of a mesh, or by the detector's box.

    python docs/compare_regions.py [DATA_FOLDER]

The same stills, faces, statistics, regression (one fixed strength) and folds, twice: with the outline that mesh.py of
face-stats draws; and with an ellipse in the box that YuNet finds, which costs nothing. Nothing is shrunk, so that the
two can be told apart; answers are clipped at 0.01. DATA_FOLDER: as for compare_rules.py; default: the bundled sample.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
from compare_rules import ROOT
from side_by_side import compare

# compare_rules has put the folder of face-stats on the path
import main as face_stats  # isort: skip
from faces import Face  # isort: skip
from frames import Still  # isort: skip

CORNERS = np.linspace(0, 2 * np.pi, 48, endpoint=False)


def ellipse(_: Still, face: Face) -> np.ndarray:
    """As mesh.outline, for any face: (n, 2) int32 x, y."""
    rounds = np.column_stack([np.cos(CORNERS) * face.width, np.sin(CORNERS) * face.height]) / 2
    return np.rint(face.middle + rounds).astype(np.int32)


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"
    ways = {
        "outline of the mesh": nullcontext,
        "ellipse in the detector's box": lambda: patch.object(face_stats, "outline", ellipse),
    }
    print(compare(ways, folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
