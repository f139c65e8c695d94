"""A portrait and its animation: landmarks rotated in 3D, the picture warped to follow them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

Array = np.ndarray
SOURCES = Path(__file__).resolve().parent.parent / "sources"
DATA = json.loads((SOURCES / "landmarks.json").read_text())
PART = {name: slice(*ends) for name, ends in DATA["parts"].items()}
REAL_PEOPLE = ("astronaut", "hopper")  # photographs: no cut-out, never in a swap
GRID_PX = 16  # the warp is solved on every 16th pixel and interpolated


@dataclass(frozen=True, eq=False)
class Portrait:
    """One source picture: colours, alpha mask and landmarks."""

    name: str
    image: Array  # (h, w, 3) float32 0..255, BGR
    alpha: Array  # (h, w) float32 0..1; all 1 for photographs
    points: Array  # (n, 3) x, y, depth in pixels of the still

    @property
    def face_height(self) -> float:
        """Forehead to chin, in pixels of the source picture."""
        return float(np.ptp(self.points[PART["oval"], 1]))

    @property
    def centre(self) -> Array:
        """Middle of the face outline, (x, y)."""
        oval = self.points[PART["oval"], :2]
        return (oval.min(0) + oval.max(0)) / 2


@cache
def load(name: str) -> Portrait:
    """Read a portrait from sources/; `<name>_alpha.png` is its alpha mask if there is one."""
    image = cv2.imread(str(SOURCES / f"{name}.jpg")).astype(np.float32)
    mask = SOURCES / f"{name}_alpha.png"
    alpha = np.ones(image.shape[:2], np.float32)
    if mask.exists():
        alpha = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    return Portrait(name, image, alpha, np.array(DATA["people"][name], np.float64))


@cache
def softened(portrait: Portrait, shrink: float) -> Array:
    """Colours (h, w, 3), softened as far as drawing at 1 / `shrink` of the size needs."""
    return cv2.GaussianBlur(portrait.image, (0, 0), 0.35 * shrink) if shrink > 1 else portrait.image


@cache
def layers(portrait: Portrait, shrink: float) -> Array:
    """Premultiplied colours and alpha (h, w, 4), softened likewise."""
    stacked = np.dstack([portrait.image * portrait.alpha[..., None], portrait.alpha])
    return cv2.GaussianBlur(stacked, (0, 0), 0.35 * shrink) if shrink > 1 else stacked


@dataclass(frozen=True)
class Pose:
    """The pose in one frame. Angles in degrees, shifts as fractions of the face height."""

    yaw: float
    pitch: float
    roll: float
    mouth: float  # 0 closed .. 1 widest
    blink: float  # 0 open .. 1 shut
    brow: float
    sway: tuple[float, float]


def waves(rng: np.random.Generator, seconds: Array, low_hz: float, high_hz: float, count: int = 3) -> Array:
    """A smooth random motion within about -1..1: a few sines of random speed and phase."""
    speed = rng.uniform(low_hz, high_hz, count)
    phase = rng.uniform(0, 2 * np.pi, count)
    size = rng.uniform(0.4, 1.0, count)
    return (size * np.sin(2 * np.pi * speed * seconds[:, None] + phase)).sum(1) / size.sum()


def poses(rng: np.random.Generator, frames: int, fps: float, speech: Array, liveliness: float = 1.0) -> list[Pose]:
    """Head motion, speech and blinks for a whole clip; `speech` is the loudness of each frame."""
    t = np.arange(frames) / fps
    yaw = rng.uniform(-4, 4) + 11 * liveliness * waves(rng, t, 0.2, 0.7)
    pitch = rng.uniform(-2, 2) + 5 * liveliness * waves(rng, t, 0.3, 0.9)
    roll = rng.uniform(-2, 2) + 4 * liveliness * waves(rng, t, 0.2, 0.6)
    sway = 0.06 * np.stack([waves(rng, t, 0.15, 0.5), 0.4 * waves(rng, t, 0.2, 0.6)], 1)
    brow = 0.5 * waves(rng, t, 0.3, 1.0)
    shut = np.zeros(frames)
    for moment in np.cumsum(rng.uniform(0.7, 1.9, 4)) - 0.4:
        shut = np.maximum(shut, np.exp(-(((t - moment) / 0.075) ** 2)))
    return [
        Pose(yaw[i], pitch[i], roll[i], speech[i], shut[i], brow[i], (sway[i, 0], sway[i, 1])) for i in range(frames)
    ]


def express(portrait: Portrait, pose: Pose) -> Array:
    """Landmarks (n, 3) with mouth, eyelids and eyebrows moved, before head rotation."""
    p = portrait.points.copy()
    h = portrait.face_height
    photograph = portrait.name in REAL_PEOPLE
    drop = (0.022 if photograph else 0.05) * h * pose.mouth
    for part, share in (("lip_bottom_inner", 1.0), ("lip_bottom", 0.95), ("lip_top", -0.08), ("lip_top_inner", -0.10)):
        p[PART[part], 1] += share * drop
    corners = p[PART["mouth_corners"], 0]
    p[PART["mouth_corners"], 0] += 0.08 * drop * np.sign(corners.mean() - corners)
    oval = p[PART["oval"]]
    low = np.clip((oval[:, 1] - oval[:, 1].max() + 0.42 * h) / (0.42 * h), 0, 1)
    p[PART["oval"], 1] += 0.75 * drop * low**1.5
    shut = (0.6 if photograph else 0.92) * pose.blink
    for side in ("left", "right"):
        top, bottom = PART[f"{side}_lid_top"], PART[f"{side}_lid_bottom"]
        reverse = (
            slice(None)
            if abs(p[top, 0][0] - p[bottom, 0][0]) < abs(p[top, 0][0] - p[bottom, 0][-1])
            else slice(None, None, -1)
        )
        p[top, :2] += shut * (p[bottom, :2][reverse] - p[top, :2])
    p[PART["brows"], 1] -= 0.012 * h * pose.brow
    return p


def turn(points: Array, portrait: Portrait, pose: Pose) -> Array:
    """Points (n, 3) rotated about the neck by the pose; returns (n, 2) in source pixels."""
    h = portrait.face_height
    pivot = np.array(
        [portrait.centre[0], portrait.centre[1] + 0.55 * h, np.median(portrait.points[PART["oval"], 2]) + 0.25 * h]
    )
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return ((points - pivot) @ (about_z @ about_x @ about_y).T + pivot)[:, :2]


def anchors(portrait: Portrait) -> tuple[Array, Array]:
    """Points of hair and skull that rotate with the head (n, 3), and fixed ones of body and border (m, 2)."""
    h, centre = portrait.face_height, portrait.centre
    oval = portrait.points[PART["oval"]][::3]
    ring = centre + (oval[:, :2] - centre) * 1.45
    ring = ring[ring[:, 1] < centre[1] + 0.25 * h]
    depth = np.full((len(ring), 1), np.median(portrait.points[PART["oval"], 2]) + 0.35 * h)
    height, width = portrait.alpha.shape
    edge = [(x, y) for x in np.linspace(0, width, 6) for y in (0, height)] + [
        (x, y) for x in (0, width) for y in np.linspace(0, height, 6)[1:-1]
    ]
    torso = [(centre[0] + x * h, centre[1] + y * h) for y in (1.15, 1.6) for x in (-1.2, -0.6, 0, 0.6, 1.2)]
    return np.c_[ring, depth], np.array(edge + torso)


def spline(at: Array, values: Array, smooth: float = 1e-3) -> tuple[Array, Array, float]:
    """Thin-plate spline through `values` (n, k) at `at` (n, 2); returns what `bend` needs."""
    scale = float(np.ptp(at, axis=0).max())
    x = at / scale
    r2 = ((x[:, None] - x[None]) ** 2).sum(-1)
    kernel = r2 * np.log(r2 + 1e-12) + smooth * np.eye(len(x))
    flat = np.c_[np.ones(len(x)), x]
    system = np.block([[kernel, flat], [flat.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.r_[values, np.zeros((3, values.shape[1]))])
    return x, weights, scale


def bend(fit: tuple[Array, Array, float], at: Array) -> Array:
    """Value of a fitted spline at points (m, 2)."""
    x, weights, scale = fit
    q = at / scale
    r2 = ((q[:, None] - x[None]) ** 2).sum(-1)
    return np.c_[r2 * np.log(r2 + 1e-12), np.ones(len(q)), q] @ weights


def warp_map(target: Array, source: Array, size: tuple[int, int], smooth: float = 1e-3) -> Array:
    """Sampling map (h, w, 2) float32 that moves the source points to the target points."""
    width, height = size
    gx, gy = np.meshgrid(np.arange(0, width + GRID_PX, GRID_PX), np.arange(0, height + GRID_PX, GRID_PX))
    where = np.c_[gx.ravel(), gy.ravel()].astype(np.float64)
    moved = bend(spline(target, source - target, smooth), where).reshape(*gx.shape, 2).astype(np.float32)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return cv2.remap(moved, xs / GRID_PX, ys / GRID_PX, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) + np.dstack(
        [xs, ys]
    )


@dataclass(frozen=True)
class Placement:
    """Position of a portrait: `scale` frame pixels per source pixel, face centre at (x, y)."""

    scale: float
    x: float
    y: float


def draw(portrait: Portrait, pose: Pose, place: Placement, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """One frame of one person: premultiplied colours (h, w, 3), alpha (h, w), landmarks (n, 2) in frame pixels."""
    skull, still = anchors(portrait)
    face = express(portrait, pose)
    offset = np.array([place.x, place.y]) - place.scale * portrait.centre
    offset = offset + np.array(pose.sway) * portrait.face_height * place.scale
    moving = turn(np.r_[face, skull], portrait, pose)
    target = np.r_[moving, still] * place.scale + offset
    source = np.r_[portrait.points[:, :2], skull[:, :2], still]
    read = warp_map(target, source, size)
    edge = cv2.BORDER_REPLICATE if portrait.name in REAL_PEOPLE else cv2.BORDER_CONSTANT
    drawn = cv2.remap(layers(portrait, 1 / place.scale), read, None, cv2.INTER_LINEAR, borderMode=edge)
    points = moving[: len(face)] * place.scale + offset
    if portrait.name not in REAL_PEOPLE:
        fill_mouth(drawn[..., :3], points, pose.mouth)
    return drawn[..., :3], drawn[..., 3], points


def fill_mouth(image: Array, points: Array, amount: float) -> None:
    """Paint the dark inside of an opened mouth, with a hint of the upper teeth, in place."""
    corners = points[PART["mouth_corners"]]
    top, bottom = points[PART["lip_top_inner"]], points[PART["lip_bottom_inner"]]
    gap = float(np.abs(bottom[:, 1] - top[:, 1]).max())
    if gap < 1.0:
        return
    outline = np.r_[corners[:1], top, corners[1:], bottom[::-1]]
    teeth = np.r_[corners[:1], top, corners[1:], (0.60 * top + 0.40 * bottom)[::-1]]
    left, top_y = np.maximum(outline.min(0).astype(int) - 8, 0)
    right, bottom_y = outline.max(0).astype(int) + 9
    box = image[top_y:bottom_y, left:right]
    for shape, colour, weight in ((outline, (26, 20, 48), 0.9), (teeth, (150, 165, 172), 0.55)):
        mask = np.zeros(box.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.round((shape - (left, top_y)) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, gap * 0.12))[..., None] * weight * min(1.0, amount * 2)
        box[:] = box * (1 - mask) + mask * np.array(colour, np.float32)
