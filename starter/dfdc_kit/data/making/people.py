"""The invented people: stills with alpha, landmarks, how they move, and how each still is warped for a movement."""

import csv
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # floats, mostly float32
Image = npt.NDArray[np.uint8]

FOLDER = Path(__file__).parent / "people"
GRID_CELLS = 18  # the warp is computed on a grid with this many cells per face height, and interpolated


@cache
def _landmarks() -> tuple[dict[str, Array], dict[str, slice]]:
    with np.load(FOLDER / "landmarks.npz") as file:
        points = dict(zip(file["names"].tolist(), file["points"].astype(np.float32) / 10, strict=True))
        ends = file["ends"].tolist()
        parts = {name: slice(*ends[i : i + 2]) for i, name in enumerate(file["parts"].tolist())}
    return points, parts


def parts() -> dict[str, slice]:
    """Name of a part of the face (oval, brows, lip_top, ...) -> its rows in an array of landmarks."""
    return _landmarks()[1]


@cache
def names() -> tuple[str, ...]:
    """The names of all invented people, sorted."""
    return tuple(sorted(_landmarks()[0]))


def records() -> list[dict[str, str]]:
    """What is known of each person: name, seed of the render, sex, age."""
    with (FOLDER / "people.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True, eq=False)
class Person:
    """One invented person; all lengths in pixels of the still."""

    name: str
    image: Image  # (h, w, 4) BGR and alpha; colours continue under the transparent part
    points: Array  # (n, 3) x, y, depth; depth grows away from the camera

    @property
    def face_height(self) -> float:
        """Forehead to chin."""
        return float(np.ptp(self.points[parts()["oval"], 1]))

    @property
    def centre(self) -> Array:
        """Middle of the face outline, (x, y)."""
        oval = self.points[parts()["oval"], :2]
        return np.asarray((oval.min(0) + oval.max(0)) / 2, np.float32)

    @property
    def skin(self) -> Array:
        """Mean colour of the cheeks, (3,) BGR."""
        x, y = self.points[parts()["cheeks"], :2].round().astype(int).T
        return np.asarray(self.image[y, x, :3].mean(0), np.float32)


@lru_cache(maxsize=64)
def load(name: str) -> Person:
    """The person called `name`."""
    image = cv2.imread(str(FOLDER / f"{name}.webp"), cv2.IMREAD_UNCHANGED)
    return Person(name, np.asarray(image, np.uint8), _landmarks()[0][name])


@dataclass(frozen=True, eq=False)
class Rig:
    """How displaced landmarks displace the rest of one still: `displace` = `matrix` @ displacements of `anchors`."""

    anchors: Array  # (m, 3) points that turn with the head (landmarks first, then the skull), m <= k
    step: float  # grid spacing, pixels of the still; nodes are at cell centres, as cv2.resize has it
    shape: tuple[int, int]  # rows, columns of the grid
    matrix: Array  # (rows * columns, k); the last k - m columns are of fixed points on body and border

    def grids(self, moved: Array) -> list[Array]:
        """Backward displacement (rows, columns, 2) of the grid in each frame; `moved` (n, m, 2) are the anchors.

        The still is read at grid position minus displacement. Found by fixed-point iteration: the spline maps forward.
        """
        rows, columns = self.shape
        shift = moved - self.anchors[:, :2]
        n, m = shift.shape[:2]
        forward = (self.matrix[:, :m] @ shift.transpose(1, 0, 2).reshape(m, 2 * n)).reshape(rows, columns, n, 2)
        at = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), 2).astype(np.float32)
        per_cell = np.float32(1 / self.step)
        grids = []
        for i in range(n):
            ahead = np.ascontiguousarray(forward[:, :, i])
            back = ahead
            for _ in range(4):
                x, y = cv2.split(at - per_cell * back)
                read = cv2.remap(ahead, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                back = 0.4 * back + 0.6 * read  # damped: closing eyelids nearly fold the map
            grids.append(np.asarray(back, np.float32))
        return grids


def _kernel(a: Array, b: Array) -> Array:
    r2 = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)
    return np.asarray(r2 * np.log(r2 + 1e-12))


def _spline(at: Array, where: Array, smoothness: float) -> tuple[Array, Array]:
    """The system of a thin-plate spline through the points `at`, and its basis at the points `where`."""
    scale = float(np.ptp(at, axis=0).max())
    x, q = (at / scale).astype(np.float64), (where / scale).astype(np.float64)
    flat = np.c_[np.ones(len(x)), x]
    system = np.block([[_kernel(x, x) + smoothness * np.eye(len(x)), flat], [flat.T, np.zeros((3, 3))]])
    return system, np.c_[_kernel(q, x), np.ones(len(q)), q]


def spline_matrix(at: Array, where: Array, smoothness: float = 1e-3) -> Array:
    """The matrix (len(where), len(at)) from values at the points `at` to thin-plate spline values at `where`."""
    system, basis = _spline(at, where, smoothness)
    return np.asarray(basis @ np.linalg.inv(system)[:, : len(at)], np.float32)


def spline_values(at: Array, values: Array, where: Array, smoothness: float = 2e-3) -> Array:
    """The thin-plate spline through `values` (n, k) at the points `at`, at the points `where`: (len(where), k)."""
    system, basis = _spline(at, where, smoothness)
    return np.asarray(basis @ np.linalg.solve(system, np.r_[values, np.zeros((3, values.shape[1]))]), np.float32)


@lru_cache(maxsize=64)
def rig(name: str) -> Rig:
    """The rig of a person: skull and landmarks turn, body and border stay."""
    person = load(name)
    h, centre, oval = person.face_height, person.centre, person.points[parts()["oval"]]
    ring = centre + (oval[::3, :2] - centre) * 1.45
    ring = ring[ring[:, 1] < centre[1] + 0.25 * h]
    depth = np.full((len(ring), 1), np.median(oval[:, 2]) + 0.35 * h)
    turning = np.r_[person.points, np.c_[ring, depth]].astype(np.float32)
    height, width = person.image.shape[:2]
    border = [(x, y) for x in np.linspace(0, width, 6) for y in (0, height)]
    border += [(x, y) for x in (0, width) for y in np.linspace(0, height, 6)[1:-1]]
    torso = [(centre[0] + x * h, centre[1] + y * h) for y in (1.15, 1.6) for x in (-1.2, -0.6, 0, 0.6, 1.2)]
    fixed = np.array(border + torso, np.float32)
    step = h / GRID_CELLS
    rows, columns = int(height / step) + 1, int(width / step) + 1
    gx, gy = np.meshgrid((np.arange(columns) + 0.5) * step, (np.arange(rows) + 0.5) * step)
    where = np.c_[gx.ravel(), gy.ravel()].astype(np.float32)
    matrix = spline_matrix(np.r_[turning[:, :2], fixed], where)
    return Rig(turning, float(step), (rows, columns), matrix)


def waves(rng: np.random.Generator, times_s: Array, low_hz: float, high_hz: float, count: int = 3) -> Array:
    """A smooth random motion (n,) within -1..1: a few sines of random frequency and phase."""
    frequency = rng.uniform(low_hz, high_hz, count)
    phase = rng.uniform(0, 2 * np.pi, count)
    size = rng.uniform(0.4, 1.0, count)
    motion = (size * np.sin(2 * np.pi * frequency * times_s[:, None] + phase)).sum(1) / size.sum()
    return np.asarray(motion, np.float32)


@dataclass(frozen=True)
class Motion:
    """The pose in every frame, arrays (n,): angles in degrees, shifts as fractions of the face height."""

    yaw: Array
    pitch: Array
    roll: Array
    mouth: Array  # 0 closed .. 1 widest
    blink: Array  # 0 open .. 1 shut
    brow: Array
    smile: Array  # -1 .. 1
    sway: Array  # (n, 2)


def random_motion(rng: np.random.Generator, times_s: Array, speech: Array) -> Motion:
    """Head motion, blinks and expression; `speech` (n,) is how wide the mouth is."""
    lively = rng.uniform(0.5, 1.2)
    shut = np.zeros(len(times_s), np.float32)
    for moment in np.cumsum(rng.uniform(0.7, 2.6, 12)) - 0.4:
        shut = np.maximum(shut, np.exp(-(((times_s - moment) / 0.075) ** 2)))
    return Motion(
        yaw=rng.uniform(-7, 7) + 11 * lively * waves(rng, times_s, 0.15, 0.7),
        pitch=rng.uniform(-3, 3) + 5 * lively * waves(rng, times_s, 0.3, 0.9),
        roll=rng.uniform(-3, 3) + 4 * lively * waves(rng, times_s, 0.2, 0.6),
        mouth=speech,
        blink=shut,
        brow=rng.uniform(0.2, 1) * waves(rng, times_s, 0.3, 1.0),
        smile=rng.uniform(-0.3, 0.9) + 0.4 * waves(rng, times_s, 0.1, 0.5),
        sway=0.06 * lively * np.stack([waves(rng, times_s, 0.15, 0.5), 0.4 * waves(rng, times_s, 0.2, 0.6)], 1),
    )


def _express(person: Person, motion: Motion, anchors: Array) -> Array:
    """The anchors (n, m, 3) with mouth, eyelids and eyebrows of each frame, before the head turns."""
    part, h = parts(), person.face_height
    p = np.repeat(anchors[None], len(motion.mouth), 0)
    drop = 0.05 * h * motion.mouth[:, None]
    for name, share in (("lip_bottom_inner", 1.0), ("lip_bottom", 0.95), ("lip_top", -0.08), ("lip_top_inner", -0.10)):
        p[:, part[name], 1] += share * drop
    corners, smile = anchors[part["mouth_corners"], 0], motion.smile[:, None] * h
    p[:, part["mouth_corners"], 0] += (0.020 * smile - 0.08 * drop) * np.sign(corners - corners.mean())
    p[:, part["mouth_corners"], 1] -= 0.014 * smile
    below = anchors[part["oval"], 1].max() - anchors[part["oval"], 1]
    low = np.clip(1 - below / (0.42 * h), 0, 1)
    p[:, part["oval"], 1] += 0.75 * drop * low**1.5
    for side in ("left", "right"):
        top, bottom = anchors[part[f"{side}_lid_top"], :2], anchors[part[f"{side}_lid_bottom"], :2]
        if abs(top[0, 0] - bottom[0, 0]) > abs(top[0, 0] - bottom[-1, 0]):
            bottom = bottom[::-1]
        p[:, part[f"{side}_lid_top"], :2] += 0.85 * motion.blink[:, None, None] * (bottom - top)
    p[:, part["brows"], 1] -= 0.014 * h * motion.brow[:, None]
    return p


def _rotations(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Rotation matrices (n, 3, 3) of angles (n,) in radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    zero, one = np.zeros_like(cy), np.ones_like(cy)
    about_y = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    about_x = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).reshape(-1, 3, 3)
    about_z = np.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return np.asarray(about_z @ about_x @ about_y, np.float32)


def moved_anchors(person: Person, rig: Rig, motion: Motion) -> Array:
    """Where the rig's anchors are in each frame, (n, m, 2) in pixels of the still; the landmarks come first."""
    h, centre = person.face_height, person.centre
    depth = float(np.median(person.points[parts()["oval"], 2])) + 0.25 * h
    neck = np.array([centre[0], centre[1] + 0.55 * h, depth], np.float32)
    turns = _rotations(*np.radians([motion.yaw, motion.pitch, motion.roll]))
    face = _express(person, motion, rig.anchors)
    return np.asarray(((face - neck) @ turns.transpose(0, 2, 1) + neck)[..., :2], np.float32)
