"""Self-blended faces, made on the fly from real ones: a face blended into a slightly changed copy of itself.

After the idea of Shiohara and Yamasaki (arXiv 2204.08376), written anew from the paper: a detector that must tell a
real face from a blend of that very face learns the traces of blending, not the tricks of one forger. One copy is
changed in colour or sharpness, the inner one is moved and resized a little, and a deformed, softened mask over
the face says where it shows. YuNet gives five points, so the outline is drawn from them, not from a full mesh.
"""

import cv2
import numpy as np

FULL_SHARES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # how much of the inner face shows, as in the paper
OUTLINE_POINTS = 24


def self_blend(face: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A real face and a fake made of it, (h, w, 3) uint8 each; outside the mask they are the same.

    face: (h, w, 3) uint8 RGB; points: (5, 2) pixels, both eyes, nose, both mouth corners. Where the outer copy is the
    one that was changed, it is the real one: else its colour would tell, and nobody would look for the blend.
    """
    inner, outer = face, face
    if rng.random() < 0.5:
        inner = changed(face, rng)
    else:
        outer = changed(face, rng)
    mask = face_mask(points, face.shape[:2], rng)
    inner, mask = moved(inner, mask, rng)
    weight = (softened(mask, rng) * rng.choice(FULL_SHARES))[..., None]  # (h, w, 1)
    blended = outer + weight * (inner.astype(np.float32) - outer)
    return outer, np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def changed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours shifted, and either softened by down- and up-sampling or sharpened; (h, w, 3) uint8."""
    picture = face.astype(np.float32) + rng.uniform(-20, 20, 3).astype(np.float32)
    hsv = cv2.cvtColor(np.clip(picture, 0, 255) / 255, cv2.COLOR_RGB2HSV)  # hue 0-360, others 0-1
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-10, 10)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.7, 1.3), 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.85, 1.15), 0, 1)
    picture = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    mean = picture.mean()
    picture = mean + (picture - mean) * rng.uniform(0.85, 1.15)
    picture = resampled(picture, rng.uniform(1.2, 4.0)) if rng.random() < 0.5 else sharpened(picture, rng)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def resampled(picture: np.ndarray, factor: float) -> np.ndarray:
    """Down by `factor` and up again: the softness of a face that a small network drew."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def sharpened(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a small blur takes away is added once more."""
    return picture + rng.uniform(0.2, 1.0) * (picture - cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, 2.0)))


def face_mask(points: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(h, w) float32, 1 inside a random outline around eyes, nose and mouth, 0 outside, elastically deformed."""
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes  # of the face, whose height is about 2.6 times this
    length = max(float(np.hypot(*down)), 1.0)
    down = down / length
    across = np.array((-down[1], down[0]))
    wide = max(float(abs((points[0] - points[1]) @ across)), 0.6 * length)  # a turned face is narrower
    top, bottom = length * rng.uniform(0.25, 0.9), length * rng.uniform(0.35, 0.8)  # above the eyes, below the mouth
    half_width = wide * rng.uniform(0.75, 1.15)
    if rng.random() < 0.15:
        bottom = -0.35 * length  # the upper part of the face only
    half_height = (top + length + bottom) / 2
    middle = eyes + down * (half_height - top)
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    power = rng.uniform(0.7, 1.0)  # 1: an ellipse; less: squarer
    rounds = [np.sign(f(angles)) * np.abs(f(angles)) ** power for f in (np.cos, np.sin)]
    outline = middle + half_width * np.outer(rounds[0], across) + half_height * np.outer(rounds[1], down)
    outline = outline + rng.normal(0, 0.03 * length, outline.shape)
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return deformed(mask, length, rng)


def deformed(mask: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """The mask pulled about by a smooth random field, by a few hundredths of the face's size."""
    height, width = mask.shape
    coarse = rng.normal(0, 0.06 * length, (2, 5, 5)).astype(np.float32)
    shift_x, shift_y = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(mask, x + shift_x, y + shift_y, cv2.INTER_LINEAR)


def softened(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A soft edge: blurred, its outer half cut off, blurred again; so the blend stays inside the outline. (h, w)."""
    side = min(mask.shape)
    first, second = (rng.uniform(0.008, 0.05) * side for _ in range(2))
    mask = np.clip(2 * cv2.GaussianBlur(mask, (0, 0), first) - 1, 0, 1)
    mask = cv2.GaussianBlur(mask, (0, 0), second)
    return mask / max(float(mask.max()), 1e-6)


def moved(inner: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The inner face and its mask shifted and resized a little together."""
    height, width = mask.shape
    scale = rng.uniform(0.95, 1 / 0.95)
    shift = rng.uniform(-0.03, 0.03), rng.uniform(-0.015, 0.015)
    matrix = np.array([
        [scale, 0, (0.5 * (1 - scale) + shift[0]) * width],
        [0, scale, (0.5 * (1 - scale) + shift[1]) * height],
    ])  # fmt: skip
    border = cv2.BORDER_REPLICATE
    inner = cv2.warpAffine(inner, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
    return inner, cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
