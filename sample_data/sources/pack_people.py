"""Turn the renders of synthetic people into what `dfdc data make` ships: small stills with alpha, and landmarks.

    python pack_people.py RENDERS FACE_LANDMARK_TFLITE OUT

RENDERS holds the PNGs of render_people.py; people designed by hand are read from this folder where RENDERS lacks them.
OUT becomes `<name>.webp` (400 x 400, colours and alpha), `landmarks.npz` (tenths of a pixel) and `people.csv`.
A render without a face that YuNet finds is left out.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from prepare_sources import HERE, PARTS, bleed, mesh_points
from rendering.people import PEOPLE, random_look

SIDE_PX = 400
QUALITY = 82
BACKGROUND = 170  # grey behind the person while landmarks are measured


def read_stills(renders: Path) -> dict[str, np.ndarray]:
    """Name -> (h, w, 4) uint8, colours bled over the transparent part."""
    stills = {}
    for name in PEOPLE:
        alpha = cv2.imread(str(HERE / f"{name}_alpha.png"), cv2.IMREAD_GRAYSCALE)
        stills[name] = np.dstack([cv2.imread(str(HERE / f"{name}.jpg")), alpha])
    for path in sorted(renders.glob("p*.png")):
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
