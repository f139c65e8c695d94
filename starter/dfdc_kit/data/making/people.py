"""The invented people: stills with alpha, landmarks, and how each still is warped when the person moves."""

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

    def grid(self, moved: Array) -> Array:
        """Backward displacement (rows, columns, 2) of the grid when the anchors move to `moved` (m, 2).

        The still is read at grid position minus displacement. Found by fixed-point iteration: the spline maps forward.
        """
        rows, columns = self.shape
        shift = moved - self.anchors[:, :2]
        forward = (self.matrix[:, : len(shift)] @ shift).reshape(rows, columns, 2)
        gx, gy = np.arange(columns, dtype=np.float32)[None], np.arange(rows, dtype=np.float32)[:, None]
        per_cell = np.float32(1 / self.step)
        back = forward
        for _ in range(4):
            read = cv2.remap(
                forward,
                gx - per_cell * back[..., 0],
                gy - per_cell * back[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            back = 0.4 * back + 0.6 * read  # damped: closing eyelids nearly fold the map
        return np.ascontiguousarray(back, np.float32)


def _kernel(a: Array, b: Array) -> Array:
    r2 = ((a[:, None] - b[None]) ** 2).sum(-1)
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


@lru_cache(maxsize=32)
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
