"""Noise residuals of a face, of the rim where a pasted face is blended in, and of what lies around it.

A swapped face was made by a network at its own resolution, resized, coloured and blended: its noise, its finest detail
and its traces of compression differ from those of the picture it lies in, above all beside its rim. Residuals are what
high-pass filters of steganalysis (SRM) leave of a picture: little of the face itself, all of its noise. Each number
compares regions of one still, so that camera, light and compression of the clip cancel.
"""

import cv2
import numpy as np
from faces import Face
from frames import Box, Still

MARGIN = 0.4  # of the face's longer side, on each side: room for the rim, and for what is around it
INNER, RIM, OUTER = (0.0, 0.75), (0.95, 1.3), (1.45, 9.0)  # of the regions, in sizes of the face's outline
MIN_PIXELS = 60  # of a region at half size; fewer say nothing
LONGEST = 512  # pixels; of larger squares only every second, third ... row is measured
MAX_NOISE = 20  # grey levels; more is an edge, not noise
SHIFT = 4  # bits below the pixel, of the corners of an outline
SMALL = 0.01  # added before a logarithm: a black picture has no noise at all

KERNELS = {
    "line": np.array([[1, -2, 1]]),
    "square": np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]),
}
OF_A_RESIDUAL = ("size_rim", "size_outer", "peaked_inner", "peaked_rim", "flat_inner", "grain_inner", "grain_rim")
LUMA = ("line", "square", "square_half")
FEATURES = (
    *(f"{residual}_{name}" for residual in LUMA for name in OF_A_RESIDUAL),
    *(f"{colour}_{name}" for colour in ("blue", "red") for name in ("size_rim", "size_outer")),
    "fine_to_coarse_inner",  # finest detail for the coarser one there: low where something was enlarged
    "fine_to_coarse_rim",
)


def statistics(still: Still, face: Face, outline: np.ndarray) -> np.ndarray | None:
    """(len(FEATURES),) float64; None where the face is so small, or so near the edge, that a region is missing.

    outline: (n, 2) int32 x, y of the face in pixels of the still, convex.
    """
    box = face.square(still.size, MARGIN)
    luma, blue, red = still.planes(box)
    step = max(1, len(luma) // LONGEST)
    regions = _regions(outline, box, step)  # three of (rows, columns) bool
    half = [region[::2, ::2] for region in _regions(outline, box, 1)]
    if min(region.sum() for region in half) < MIN_PIXELS:
        return None
    fine = _moments(_residual(luma, "square")[::step], regions)
    small = _halved(luma)
    coarse = _moments(_residual(small, "square"), half)
    line = _moments(_residual(luma, "line")[::step], regions)
    colours = [_moments(_residual(plane, "square"), half) for plane in (blue, red)]
    sharpness = fine[:, 0] - coarse[:, 0]  # (3,) inner, rim, outer
    return np.array(
        [
            *(value for residual in (line, fine, coarse) for value in _differences(residual)),
            *(value for colour in colours for value in _differences(colour)[:2]),
            sharpness[0] - sharpness[2],
            sharpness[1] - sharpness[2],
        ]
    )


def _differences(of: np.ndarray) -> list[float]:
    """One number for each name in OF_A_RESIDUAL, from (3, 4) moments of inner, rim, outer."""
    (inner, rim, outer) = of
    return [
        rim[0] - inner[0],
        outer[0] - inner[0],
        inner[1] - outer[1],
        rim[1] - outer[1],
        inner[2] - outer[2],
        inner[3] - outer[3],
        rim[3] - outer[3],
    ]


def _regions(outline: np.ndarray, box: Box, step: int) -> list[np.ndarray]:
    """Inner, rim, outer: (height / step, width) bool, rings between outlines of several sizes about one middle."""
    left, top, width, height = box
    moments = cv2.moments(outline)
    middle = np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1.0)

    def within(size: float) -> np.ndarray:
        corners = middle + size * (outline - middle) - (left + 0.5, top + 0.5)  # pixel (0, 0) has its middle at 0.5
        filled = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(filled, np.rint(corners * 2**SHIFT).astype(np.int32), 1, shift=SHIFT)
        return filled[::step] > 0

    return [within(high) & ~within(low) for low, high in (INNER, RIM, OUTER)]


def _halved(picture: np.ndarray) -> np.ndarray:
    """(height / 2, width / 2) float32, exact: sums of 2 x 2 pixels over 4."""
    height, width = (side // 2 * 2 for side in picture.shape)
    even = picture[:height, :width].astype(np.float32)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _residual(picture: np.ndarray, kernel: str) -> np.ndarray:
    """(height, width) float32, bounded; every value is exact, so machines and releases agree."""
    taps = KERNELS[kernel].astype(np.float32)
    residual = cv2.filter2D(np.ascontiguousarray(picture, np.float32), cv2.CV_32F, taps)
    return np.clip(residual, -MAX_NOISE, MAX_NOISE)


def _moments(residual: np.ndarray, regions: list[np.ndarray]) -> np.ndarray:
    """(3, 4): for each region logarithm of size, logarithm of peakedness, share of zeros, correlation of neighbours."""
    pairs = residual[:, 1:] * residual[:, :-1]
    rows = []
    for region in regions:
        values = residual[region].astype(np.float64)
        squares = values**2
        power = squares.mean() + SMALL
        grain = pairs[region[:, 1:]].mean(dtype=np.float64) / power
        peaked = np.log((squares**2).mean() / power**2 + SMALL)
        rows.append([np.log(power) / 2, peaked, (values == 0).mean(), grain])
    return np.array(rows)
