"""Fakes: a manipulated face blended into the original frames, slightly differently in each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from making.portrait import PART, Array, Portrait, fill_mouth, softened, warp_map


@dataclass(frozen=True)
class Recipe:
    """The manipulation of all frames of a clip; lengths as fractions of the face height."""

    colour: Array  # (3,) factors, BGR
    lift: float  # added brightness, grey levels
    shrink: float  # down- and upsampling factor
    scale: float
    angle: float  # degrees
    shift: Array  # (2,)
    feather: float
    outline: float  # mask size relative to the face outline
    strength: float  # weight of the new face
    grain: float  # noise added to the new face, grey levels
    match: float  # swap: how far the donor's colours are fitted to the target's, 0..1


def recipe(rng: np.random.Generator) -> Recipe:
    """A random manipulation, neither obvious nor perfect."""
    return Recipe(
        colour=1 + rng.uniform(-0.05, 0.05, 3) + rng.choice([-0.04, 0.04]),
        lift=rng.uniform(-4, 4),
        shrink=rng.uniform(1.05, 1.7),
        scale=1 + rng.choice([-1, 1]) * rng.uniform(0.012, 0.035),
        angle=rng.uniform(-2.0, 2.0),
        shift=rng.uniform(-0.018, 0.018, 2),
        feather=rng.uniform(0.025, 0.06),
        outline=rng.uniform(0.80, 0.95),
        strength=rng.uniform(0.88, 1.0),
        grain=rng.uniform(1.0, 4.0),
        match=rng.uniform(0.75, 0.95),
    )


def wander(rng: np.random.Generator, frames: int, memory: float = 0.75) -> Array:
    """Per-frame jitter (frames, 6) that drifts and jumps: first-order noise of unit size."""
    out = np.zeros((frames, 6))
    for i in range(frames):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * rng.normal(0, 1, 6)
    return out


def hull_mask(points: Array, size: tuple[int, int], how: Recipe, wobble: Array) -> Array:
    """Soft mask (h, w) over the face: its outline scaled, jittered and feathered."""
    w, h = size
    oval = points[PART["oval"]]
    height = float(np.ptp(oval[:, 1]))
    centre = (oval.max(0) + oval.min(0)) / 2
    brow = points[PART["brows"], 1].min() - 0.10 * height
    outline = centre + (oval - centre) * (how.outline + 0.006 * wobble[0])
    outline[:, 1] = np.maximum(outline[:, 1], brow)
    mask = np.zeros((h, w), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline * 16).astype(np.int32)), 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), how.feather * height)


def resample(image: Array, factor: float) -> Array:
    """Downsample and upsample: as blurred as a face generated at low resolution."""
    h, w = image.shape[:2]
    small = cv2.resize(image, (round(w / factor), round(h / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


def nudge(image: Array, points: Array, how: Recipe, wobble: Array) -> Array:
    """Small affine change about the face centre, jittered from frame to frame."""
    oval = points[PART["oval"]]
    height = float(np.ptp(oval[:, 1]))
    x, y = (oval.max(0) + oval.min(0)) / 2
    matrix = cv2.getRotationMatrix2D((float(x), float(y)), how.angle + 0.25 * wobble[1], how.scale + 0.004 * wobble[2])
    matrix[:, 2] += (how.shift + 0.004 * wobble[3:5]) * height
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def fit_colours(face: Array, target: Array, mask: Array, share: float) -> Array:
    """Move the face's mean and spread under the mask towards the target's by `share`."""
    weight = mask[..., None] / (mask.sum() + 1e-6)
    means = [(image * weight).sum((0, 1)) for image in (face, target)]
    spreads = [
        np.sqrt((((image - mean) ** 2) * weight).sum((0, 1))) + 1
        for image, mean in zip((face, target), means, strict=True)
    ]
    fitted = (face - means[0]) * (spreads[1] / spreads[0]) ** 0.5 + means[1]
    return face + share * (fitted - face)


def donor_face(donor: Portrait, points: Array, size: tuple[int, int]) -> Array:
    """The donor's picture warped so that its landmarks match the target's."""
    read = warp_map(points, donor.points[:, :2], size, smooth=2e-3)
    ratio = donor.face_height / float(np.ptp(points[PART["oval"], 1]))
    drawn = cv2.remap(softened(donor, round(ratio, 1)), read, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    corners = np.linalg.norm(np.diff(points[PART["mouth_corners"]], axis=0))
    gap = float(np.abs(points[PART["lip_bottom_inner"], 1] - points[PART["lip_top_inner"], 1]).max())
    fill_mouth(drawn, points, min(1.0, 2.5 * gap / float(corners + 1)))
    return drawn


def around(points: Array, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the frame that contain the face and its blurred border."""
    oval = points[PART["oval"]]
    margin = 0.30 * float(np.ptp(oval[:, 1]))
    low = np.clip(oval.min(0) - margin, 0, size).astype(int)
    high = np.clip(oval.max(0) + margin, 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def forge(frames: list[Array], faces: list[Array], donor: Portrait | None, seed: int) -> list[Array]:
    """The fake frames: swap with `donor`, or blend each face with a changed copy of itself."""
    rng = np.random.default_rng(seed)
    how, shake = recipe(rng), wander(rng, len(frames))
    out = []
    for frame, everywhere, wobble in zip(frames, faces, shake, strict=True):
        box = around(everywhere, frame.shape[1::-1])
        points = everywhere - (box[1].start, box[0].start)
        original = frame[box].astype(np.float32)
        size = original.shape[1::-1]
        mask = hull_mask(points, size, how, wobble)
        if donor is None:
            face = original * (how.colour * (1 + 0.006 * wobble[5])).astype(np.float32) + how.lift
        else:
            face = fit_colours(donor_face(donor, points, size), original, mask, how.match)
        face = nudge(resample(face, how.shrink), points, how, wobble)
        face += cv2.GaussianBlur(rng.normal(0, how.grain, face.shape).astype(np.float32), (0, 0), 0.5)
        weight = (how.strength * mask)[..., None]
        fake = frame.copy()
        fake[box] = np.clip(original * (1 - weight) + face * weight, 0, 255).round().astype(np.uint8)
        out.append(fake)
    return out
