"""Self-blended images, made on the fly from real faces: a face blended into a slightly changed copy of itself.

Implemented from the paper of Shiohara and Yamasaki (arXiv 2204.08376): a detector that must distinguish a real face
from a blend of the same face learns the traces of blending, not those of one generator. One copy is changed in colour
or sharpness, the inner one is shifted and resized a little, and blended in with a deformed, blurred mask. YuNet gives
five landmarks, so the mask is drawn from them, not from a full face mesh.
"""

import cv2
import numpy as np

BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # as in the paper
OUTLINE_POINTS = 24


def self_blend(face: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A real face and a fake made from it, (h, w, 3) uint8 each; outside the mask they are the same.

    face: (h, w, 3) uint8 RGB; landmarks: (5, 2) pixels, both eyes, nose, both mouth corners. If the outer copy was
    changed, it is returned as the real one: else its colour would reveal the label, not the blend.
    """
    inner, outer = face, face
    if rng.random() < 0.5:
        inner = changed(face, rng)
    else:
        outer = changed(face, rng)
    mask = face_mask(landmarks, face.shape[:2], rng)
    inner, mask = shifted(inner, mask, rng)
    weight = (blurred(mask, rng) * rng.choice(BLEND_RATIOS))[..., None]  # (h, w, 1)
    blended = outer + weight * (inner.astype(np.float32) - outer)
    return outer, np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def changed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours shifted, resampled or sharpened, sometimes with noise or compressed as JPEG; (h, w, 3) uint8."""
    picture = face.astype(np.float32) + rng.uniform(-20, 20, 3).astype(np.float32)
    hsv = cv2.cvtColor(np.clip(picture, 0, 255) / 255, cv2.COLOR_RGB2HSV)  # hue 0-360, others 0-1
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-10, 10)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.7, 1.3), 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.85, 1.15), 0, 1)
    picture = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    mean = picture.mean()
    picture = mean + (picture - mean) * rng.uniform(0.85, 1.15)
    picture = resampled(picture, rng.uniform(1.2, 4.0)) if rng.random() < 0.5 else sharpened(picture, rng)
    if rng.random() < 0.2:
        picture = picture + rng.uniform(1, 6) * rng.standard_normal(picture.shape, np.float32)
    picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return compressed(picture, int(rng.integers(30, 95))) if rng.random() < 0.3 else picture


def resampled(picture: np.ndarray, factor: float) -> np.ndarray:
    """Downsampled by `factor` and upsampled again: as blurred as a face generated at low resolution."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """(h, w, 3) uint8, compressed as JPEG and decoded; the channel order stays."""
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def sharpened(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unsharp masking with random strength."""
    return picture + rng.uniform(0.2, 1.0) * (picture - cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, 2.0)))


def face_mask(landmarks: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(h, w) float32, 1 inside a random outline around eyes, nose and mouth, 0 outside, elastically deformed."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = mouth - eyes  # the height of a face is about 2.6 times this
    length = max(float(np.hypot(*down)), 1.0)
    down = down / length
    across = np.array((-down[1], down[0]))
    wide = max(float(abs((landmarks[0] - landmarks[1]) @ across)), 0.6 * length)  # a turned face is narrower
    top, bottom = length * rng.uniform(0.25, 0.9), length * rng.uniform(0.35, 0.8)  # above the eyes, below the mouth
    half_width = wide * rng.uniform(0.75, 1.15)
    region = rng.random()
    if region < 0.15:
        bottom = -0.35 * length  # only the upper part of the face
    elif region < 0.3:
        top = -0.2 * length  # only nose and mouth
    half_height = (top + length + bottom) / 2
    centre = eyes + down * (half_height - top)
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    power = rng.uniform(0.7, 1.0)  # 1: an ellipse; less: more rectangular
    curve = [np.sign(f(angles)) * np.abs(f(angles)) ** power for f in (np.cos, np.sin)]
    outline = centre + half_width * np.outer(curve[0], across) + half_height * np.outer(curve[1], down)
    outline = outline + rng.normal(0, 0.03 * length, outline.shape)
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return deformed(mask, length, rng)


def deformed(mask: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """The mask displaced by a smooth random field, by a few percent of the face's size."""
    height, width = mask.shape
    coarse = rng.normal(0, 0.06 * length, (2, 5, 5)).astype(np.float32)
    shift_x, shift_y = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(mask, x + shift_x, y + shift_y, cv2.INTER_LINEAR)


def blurred(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(h, w): blurred, outer half of the edge cut off, blurred again, so that the blend stays inside the outline."""
    side = min(mask.shape)
    first, second = (rng.uniform(0.008, 0.05) * side for _ in range(2))
    mask = np.clip(2 * cv2.GaussianBlur(mask, (0, 0), first) - 1, 0, 1)
    mask = cv2.GaussianBlur(mask, (0, 0), second)
    return mask / max(float(mask.max()), 1e-6)


def shifted(inner: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The inner face and its mask, shifted and resized a little together."""
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
