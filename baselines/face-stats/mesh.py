"""The outline of a face: the convex hull of a face mesh of 468 points.

A swapped face is blended in along its outline, which turns with the head and moves with the jaw; the detector's box
does not. The network also predicts whether there is a face at all: a second check after the detector.

The network, `face_landmark.tflite` of MediaPipe's Face Mesh, is in the same folder.
"""

import math
import threading
from pathlib import Path

import cv2
import numpy as np
from faces import Face
from frames import Frame

MODEL = Path(__file__).with_name("face_landmark.tflite")
POINTS = 468
INPUT_SIDE = 192  # pixels, of the network's input
INPUT_SCALE = 1.25  # side of the input in longer sides of the detector's box; chosen by eye on 12 frames, not by a loss
MARGIN = 0.5  # of the box's longer side, added on each side before rotating: a tilted head needs more room
MIN_PROBABILITY = 0.5  # of a face being there, predicted by the network

# OpenCV 5's new engine shows only one of the network's two outputs
ENGINE = (cv2.dnn.ENGINE_CLASSIC,) if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ()

_thread_local = threading.local()
_load_lock = threading.Lock()  # OpenCV's TFLite importer fills a global table at its first use


def outline(frame: Frame, face: Face) -> np.ndarray | None:
    """(n, 2) int32 x, y in pixels of the upright picture at full resolution, convex; None if there is no face.

    In whole pixels: builds of OpenCV differ in the fifth digit, predictions must not.
    """
    box = face.square(frame.size, MARGIN)
    side = min(box[2], INPUT_SIDE * 5 // 3)  # pixels, of the crop: as fine as the input, never enlarged
    to_input = upright(face)  # maps the frame's pixels
    crop_to_input = to_input.copy()
    crop_to_input[:, 2] += to_input[:, :2] @ box[:2]
    crop_to_input[:, :2] *= box[2] / side
    size = (INPUT_SIDE, INPUT_SIDE)
    picture = cv2.warpAffine(frame.rgb(box, side), crop_to_input, size, borderMode=cv2.BORDER_REPLICATE)
    logit, points = _run(picture)
    if logit < math.log(MIN_PROBABILITY / (1 - MIN_PROBABILITY)):
        return None
    in_pixels = np.linalg.solve(to_input[:, :2], (points - to_input[:, 2]).T).T  # (POINTS, 2)
    return cv2.convexHull(np.rint(in_pixels).astype(np.int32))[:, 0]


def upright(face: Face) -> np.ndarray:
    """(2, 3) affine map from the frame to the network's input, the face centred, the eyes level."""
    across, down = face.landmarks[1] - face.landmarks[0]
    angle = math.atan2(down, across)
    size = INPUT_SIDE / (INPUT_SCALE * max(face.width, face.height))
    turn = size * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.column_stack([turn, INPUT_SIDE / 2 - turn @ face.centre])


def _run(picture_rgb: np.ndarray) -> tuple[float, np.ndarray]:
    """Logit of a face being there, and (POINTS, 2) x, y in the input (INPUT_SIDE, INPUT_SIDE, 3) uint8."""
    if not hasattr(_thread_local, "net"):  # a network is not thread-safe
        with _load_lock:
            _thread_local.net = cv2.dnn.readNetFromTFLite(str(MODEL), *ENGINE)
    _thread_local.net.setInput(cv2.dnn.blobFromImage(picture_rgb, 1 / 255))
    logit, points = sorted(_thread_local.net.forward(_thread_local.net.getUnconnectedOutLayersNames()), key=np.size)
    return float(logit.item()), points.reshape(POINTS, 3)[:, :2]
