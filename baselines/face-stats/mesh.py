"""The outline of a face: the hull of a mesh of 468 points that a network lays over it.

A face is blended in along its own outline, which turns with the head and falls with the jaw. The detector's box knows
nothing of that. The network also says whether it sees a face at all: a second opinion after the detector's.

The network, `face_landmark.tflite` of MediaPipe's Face Mesh, travels beside this file.
"""

import math
import threading
from pathlib import Path

import cv2
import numpy as np
from faces import Face
from frames import Still

MODEL = Path(__file__).with_name("face_landmark.tflite")
POINTS = 468
INPUT_SIDE = 192  # pixels, of the network's input
AROUND = 1.25  # longer sides of the detector's box that the input shows: chosen by eye on 12 stills, before any loss
MARGIN = 0.5  # of the box's longer side, on each side: what the input is cut from, since a tilted head needs more
LEAST_FACE = 0.5  # of the network's own probability that it sees a face

_of_thread = threading.local()
_reading = threading.Lock()  # OpenCV's reader of this format fills a table at its first use, for all threads


def outline(still: Still, face: Face) -> np.ndarray | None:
    """(n, 2) int32 x, y in pixels of the upright picture at full resolution, convex; None where no face is seen.

    Whole pixels: builds of the network's library differ in the fifth digit, and what is measured shall not.
    """
    box = face.square(still.size, MARGIN)
    side = min(box[2], INPUT_SIDE * 5 // 3)  # of the cut: as fine as the input, and no larger than it is
    to_input = upright(face)  # from the still's pixels
    of_cut = to_input.copy()
    of_cut[:, 2] += to_input[:, :2] @ box[:2]
    of_cut[:, :2] *= box[2] / side
    size = (INPUT_SIDE, INPUT_SIDE)
    seen = cv2.warpAffine(still.rgb(box, side), of_cut, size, borderMode=cv2.BORDER_REPLICATE)
    logit, points = _asked(seen)
    if logit < math.log(LEAST_FACE / (1 - LEAST_FACE)):
        return None
    in_still = np.linalg.solve(to_input[:, :2], (points - to_input[:, 2]).T).T  # (POINTS, 2)
    return cv2.convexHull(np.rint(in_still).astype(np.int32))[:, 0]


def upright(face: Face) -> np.ndarray:
    """(2, 3): the map from the still to the network's input, the face in its middle, the eyes level."""
    across, down = face.points[1] - face.points[0]
    angle = math.atan2(down, across)
    size = INPUT_SIDE / (AROUND * max(face.width, face.height))
    turn = size * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.column_stack([turn, INPUT_SIDE / 2 - turn @ face.middle])


def _asked(picture_rgb: np.ndarray) -> tuple[float, np.ndarray]:
    """Logit of a face being there, and (POINTS, 2) x, y in the input (INPUT_SIDE, INPUT_SIDE, 3) uint8."""
    if not hasattr(_of_thread, "net"):  # one is not made for two threads at once
        with _reading:
            _of_thread.net = cv2.dnn.readNetFromTFLite(str(MODEL))
    _of_thread.net.setInput(cv2.dnn.blobFromImage(picture_rgb, 1 / 255))
    logit, points = sorted(_of_thread.net.forward(_of_thread.net.getUnconnectedOutLayersNames()), key=np.size)
    return float(logit.item()), points.reshape(POINTS, 3)[:, :2]
