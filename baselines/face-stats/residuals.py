"""Noise residuals of a face, of the rim where a swapped face is blended in, and of its surroundings.

A swapped face was generated at another resolution, resized, colour-corrected and blended: its noise, finest detail and
compression traces differ from the rest of the picture, above all near the rim. Residuals are the output of high-pass
filters from steganalysis (SRM): they remove most of the picture and keep its noise. Each feature compares regions of
one frame, so that camera, light and compression of the clip cancel.
"""

import cv2
import numpy as np
from faces import Face
from frames import Box, Frame

MARGIN = 0.4  # of the face's longer side, on each side: room for the rim and the surroundings
INNER, RIM, OUTER = (
    (0.0, 0.75),
    (0.95, 1.3),
    (1.45, 9.0),
)  # inner and outer scale of each region, relative to the face's outline
MIN_PIXELS = 60  # of a region at half resolution; fewer give no reliable statistics
MAX_SIDE = 512  # pixels; of larger squares only every second, third ... row is used
MAX_NOISE = 20  # grey levels; larger residuals are edges, not noise
SHIFT = 4  # fractional bits of polygon corners
EPSILON = 0.01  # added before a logarithm: a black picture has no noise at all

KERNELS = {
    "line": np.array([[1, -2, 1]]),
    "square": np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]),
}
RESIDUAL_FEATURES = (
    "power_rim",
    "power_outer",
    "kurtosis_inner",
    "kurtosis_rim",
    "zeros_inner",
    "correlation_inner",
    "correlation_rim",
)
LUMA = ("line", "square", "square_half")
FEATURES = (
    *(f"{residual}_{name}" for residual in LUMA for name in RESIDUAL_FEATURES),
    *(f"{colour}_{name}" for colour in ("blue", "red") for name in ("power_rim", "power_outer")),
    "fine_to_coarse_inner",  # finest detail relative to coarser detail: low where the region was enlarged
    "fine_to_coarse_rim",
)


def statistics(frame: Frame, face: Face, outline: np.ndarray) -> np.ndarray | None:
    """(len(FEATURES),) float64; None if the face is so small, or so near the edge, that a region has too few pixels.

    outline: (n, 2) int32 x, y of the face in pixels of the frame, convex.
    """
    box = face.square(frame.size, MARGIN)
    luma, blue, red = frame.planes(box)
    step = max(1, len(luma) // MAX_SIDE)
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


def _differences(moments: np.ndarray) -> list[float]:
    """The RESIDUAL_FEATURES, from (3, 4) moments of inner, rim, outer."""
    inner, rim, outer = moments
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
    """Inner, rim, outer: (height / step, width) bool, rings between scaled copies of the outline."""
    left, top, width, height = box
    moments = cv2.moments(outline)
    centre = np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1.0)

    def within(scale: float) -> np.ndarray:
        corners = centre + scale * (outline - centre) - (left + 0.5, top + 0.5)  # the centre of pixel (0, 0) is at 0.5
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
    """(height, width) float32, clipped; exact, so that all machines and library versions agree."""
    taps = KERNELS[kernel].astype(np.float32)
    residual = cv2.filter2D(np.ascontiguousarray(picture, np.float32), cv2.CV_32F, taps)
    return np.clip(residual, -MAX_NOISE, MAX_NOISE)


def _moments(residual: np.ndarray, regions: list[np.ndarray]) -> np.ndarray:
    """(3, 4): for each region log of the RMS, log of the kurtosis, fraction of zeros, correlation of neighbours."""
    pairs = residual[:, 1:] * residual[:, :-1]
    rows = []
    for region in regions:
        values = residual[region].astype(np.float64)
        squares = values**2
        power = squares.mean() + EPSILON
        correlation = pairs[region[:, 1:]].mean(dtype=np.float64) / power
        kurtosis = np.log((squares**2).mean() / power**2 + EPSILON)
        rows.append([np.log(power) / 2, kurtosis, (values == 0).mean(), correlation])
    return np.array(rows)
