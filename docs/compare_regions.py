"""Compare two definitions of the face region: the outline of a face mesh, and an ellipse in the detector's box.

    python docs/compare_regions.py [DATA_FOLDER]

Frames, faces, features, models and folds are the same: once with the outline of mesh.py in
face-stats, once with an ellipse in YuNet's box, which costs nothing. Predictions are clipped at 0.01 but not shrunk, so
that differences show. DATA_FOLDER: as for compare_rules.py; default: the bundled sample.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
from compare_rules import ROOT
from side_by_side import compare

# compare_rules has put the folder of face-stats on sys.path
import main as face_stats  # isort: skip
from faces import Face  # isort: skip
from frames import Frame  # isort: skip

ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)


def ellipse(_: Frame, face: Face) -> np.ndarray:
    """As mesh.outline, but for any face: (n, 2) int32 x, y."""
    offsets = np.column_stack([np.cos(ANGLES) * face.width, np.sin(ANGLES) * face.height]) / 2
    return np.rint(face.centre + offsets).astype(np.int32)


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "sample_data"
    variants = {
        "outline of the mesh": nullcontext,
        "ellipse in the detector's box": lambda: patch.object(face_stats, "outline", ellipse),
    }
    print(compare(variants, folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
