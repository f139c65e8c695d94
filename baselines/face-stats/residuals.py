"""Noise residuals in rings of a face, from its centre to beyond its outline, each compared with the surroundings.

A swapped face was generated at another resolution, resized, colour-corrected and blended: its noise, finest detail and
compression traces differ from the rest of the picture, above all where it is blended in, which is inside the outline
for some methods and outside for others. Residuals are the output of high-pass filters from steganalysis (SRM): they
remove most of the picture and keep its noise. Each feature is the difference of a ring from the surroundings in the
same frame, so that camera, light and compression of the clip cancel.
"""

import cv2
import numpy as np
from faces import Face
from frames import Box, Frame

MARGIN = 0.5  # of the face's longer side, on each side: room for the surroundings
RINGS = (0.0, 0.45, 0.65, 0.8, 0.95, 1.1, 1.3)  # edges: scales of the face's outline
SURROUNDINGS = (1.45, 9.0)
MIN_PIXELS = 10  # of a ring at a quarter of the resolution; fewer give no reliable statistics
MAX_SIDE = 512  # pixels; of larger squares only every second, third ... row is used
MAX_NOISE = 20  # grey levels; larger residuals are edges, not noise
SHIFT = 4  # fractional bits of polygon corners
EPSILON = 0.01  # added before a logarithm: a black picture has no noise at all

LINE = np.array([[1, -2, 1]], np.float32)
SQUARE = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32)
RESIDUALS = ("line", "square", "square_half", "square_quarter", "blue", "red")
MOMENTS = ("power", "kurtosis", "across", "down")  # the last two: correlation with the next pixel
N_REGIONS = len(RINGS)  # the rings between the edges, and the surroundings
FEATURES = tuple(f"{residual}_{moment}_to_{edge}" for residual in RESIDUALS for edge in RINGS[1:] for moment in MOMENTS)


def statistics(frame: Frame, face: Face, outline: np.ndarray) -> np.ndarray | None:
    """(len(FEATURES),) float64; None if the face is so small, or so near the edge, that a region has too few pixels.

    outline: (n, 2) int32 x, y of the face in pixels of the frame, convex.
    """
    box = face.square(frame.size, MARGIN)
    luma, blue, red = frame.planes(box)
    half = _halved(luma)
    quarter = _halved(half)
    full_regions, half_regions, quarter_regions = (
        _regions(outline, box, shrink, picture.shape) for shrink, picture in ((1, luma), (2, half), (4, quarter))
    )
    if np.bincount(quarter_regions.ravel(), minlength=N_REGIONS)[:N_REGIONS].min() < MIN_PIXELS:
        return None
    step = max(1, len(luma) // MAX_SIDE)
    moments = (
        _moments(_residual(luma, LINE), full_regions, step),
        _moments(_residual(luma, SQUARE), full_regions, step),
        _moments(_residual(half, SQUARE), half_regions),
        _moments(_residual(quarter, SQUARE), quarter_regions),
        _moments(_residual(blue, SQUARE), half_regions),
        _moments(_residual(red, SQUARE), half_regions),
    )
    return np.concatenate([(values[:-1] - values[-1]).ravel() for values in moments])


def _regions(outline: np.ndarray, box: Box, shrink: int, shape: tuple[int, ...]) -> np.ndarray:
    """(height, width) uint8, `shape`: number of the ring; N_REGIONS - 1: the surroundings; N_REGIONS: none."""
    moments = cv2.moments(outline)
    centre = np.array([moments["m10"], moments["m01"]]) / max(moments["m00"], 1.0)
    regions = np.full(shape, N_REGIONS, np.uint8)

    def fill(scale: float, number: int) -> None:
        corners = (centre + scale * (outline - centre) - box[:2]) / shrink - 0.5  # the centre of pixel (0, 0) is at 0.5
        cv2.fillConvexPoly(regions, np.rint(corners * 2**SHIFT).astype(np.int32), number, shift=SHIFT)

    fill(SURROUNDINGS[1], N_REGIONS - 1)
    fill(SURROUNDINGS[0], N_REGIONS)
    for number, edge in reversed(list(enumerate(RINGS[1:]))):
        fill(edge, number)
    return regions


def _halved(picture: np.ndarray) -> np.ndarray:
    """(height / 2, width / 2) float32, exact: sums of 2 x 2 pixels over 4."""
    height, width = (side // 2 * 2 for side in picture.shape)
    even = picture[:height, :width].astype(np.float32)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _residual(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(height, width) float32, clipped; exact, so that all machines and library versions agree."""
    residual = cv2.filter2D(np.ascontiguousarray(picture, np.float32), cv2.CV_32F, kernel)
    return np.clip(residual, -MAX_NOISE, MAX_NOISE)


def _moments(residual: np.ndarray, regions: np.ndarray, step: int = 1) -> np.ndarray:
    """(N_REGIONS, len(MOMENTS)): log of the RMS, log of the kurtosis, two correlations; of every `step`th row."""
    region = regions[:-1:step, :-1].ravel()
    pixels = np.bincount(region, minlength=N_REGIONS)[:N_REGIONS]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(region, values.ravel(), N_REGIONS)[:N_REGIONS] / np.maximum(pixels, 1)

    values = residual[:-1:step, :-1].astype(np.float64)
    squares = values**2
    power = mean(squares) + EPSILON
    kurtosis = np.log(mean(squares**2) / power**2 + EPSILON)
    across, down = (mean(values * next_) / power for next_ in (residual[:-1:step, 1:], residual[1::step, :-1]))
    return np.column_stack([np.log(power) / 2, kurtosis, across, down])
