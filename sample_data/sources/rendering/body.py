"""The MakeHuman base mesh in a person's shape, and the regions of the head."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rendering.look import Look

Array = np.ndarray

DETAILS: tuple[tuple[str, str, str], ...] = (  # folder, low and high end of one slider
    ("nose", "nose-scale-horiz-decr", "nose-scale-horiz-incr"),
    ("nose", "nose-scale-vert-decr", "nose-scale-vert-incr"),
    ("nose", "nose-hump-decr", "nose-hump-incr"),
    ("nose", "nose-point-down", "nose-point-up"),
    ("nose", "nose-flaring-decr", "nose-flaring-incr"),
    ("nose", "nose-volume-decr", "nose-volume-incr"),
    ("mouth", "mouth-scale-horiz-decr", "mouth-scale-horiz-incr"),
    ("mouth", "mouth-trans-down", "mouth-trans-up"),
    ("mouth", "mouth-upperlip-volume-decr", "mouth-upperlip-volume-incr"),
    ("mouth", "mouth-lowerlip-volume-decr", "mouth-lowerlip-volume-incr"),
    ("mouth", "mouth-angles-down", "mouth-angles-up"),
    ("chin", "chin-width-decr", "chin-width-incr"),
    ("chin", "chin-height-decr", "chin-height-incr"),
    ("chin", "chin-prominent-decr", "chin-prominent-incr"),
    ("chin", "chin-bones-decr", "chin-bones-incr"),
    ("head", "head-scale-horiz-decr", "head-scale-horiz-incr"),
    ("head", "head-fat-decr", "head-fat-incr"),
    ("head", "head-oval", "head-square"),
    ("forehead", "forehead-scale-vert-decr", "forehead-scale-vert-incr"),
    ("cheek", "*-cheek-bones-decr", "*-cheek-bones-incr"),
    ("cheek", "*-cheek-volume-decr", "*-cheek-volume-incr"),
    ("eyes", "*-eye-scale-decr", "*-eye-scale-incr"),
    ("eyes", "*-eye-trans-in", "*-eye-trans-out"),
    ("eyes", "*-eye-corner1-down", "*-eye-corner1-up"),
    ("eyes", "*-eye-height2-decr", "*-eye-height2-incr"),
    ("ears", "*-ear-scale-decr", "*-ear-scale-incr"),
)


USUAL = {
    "*-eye-height2-incr": -0.35,
    "mouth-angles-up": 0.35,
    "mouth-upperlip-volume-incr": 0.3,
}  # friendlier, less staring than the base mesh


@dataclass
class Mesh:
    """A polygon mesh; `groups` names the faces as the base mesh does."""

    points: Array  # (n, 3) decimetres, x right, y up, z to the viewer
    faces: list[list[int]]
    uv: list[list[tuple[float, float]]]
    groups: list[str]

    def faces_of(self, *names: str) -> list[list[int]]:
        """The faces whose group starts with one of `names`."""
        return [face for face, group in zip(self.faces, self.groups, strict=True) if group.startswith(names)]

    def group_points(self, name: str) -> Array:
        """Coordinates of all vertices in the faces whose group starts with `name`."""
        used = {v for face in self.faces_of(name) for v in face}
        return self.points[sorted(used)]


def read_obj(path: Path) -> Mesh:
    """Read the MakeHuman base mesh (positions, texture coordinates, named face groups)."""
    points, uvs, faces, face_uv, groups, group = [], [], [], [], [], ""
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uvs.append(tuple(float(x) for x in rest.split()[:2]))
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            faces.append([int(c[0]) - 1 for c in corners])
            face_uv.append([uvs[int(c[1]) - 1] for c in corners])
            groups.append(group)
    return Mesh(np.array(points), faces, face_uv, groups)


def add_target(points: Array, root: Path, name: str, weight: float) -> None:
    """Add `weight` times one morph target (lines `vertex dx dy dz`) in place."""
    if weight == 0:
        return
    with gzip.open(root / "targets" / f"{name}.target.gz", "rt") as lines:
        rows = np.array([line.split() for line in lines if line.strip() and line[0] != "#"], dtype=float)
    rows = rows.reshape(-1, 4)  # some targets are empty
    points[rows[:, 0].astype(int)] += weight * rows[:, 1:]


def shape(mesh: Mesh, look: Look, root: Path) -> Mesh:
    """The base mesh in this person's shape: macro targets, then random face sliders."""
    points = mesh.points.copy()
    body = "averageweight" if look.weight == 0 else "maxweight" if look.weight > 0 else "minweight"
    for sex, by_sex in (("male", look.male), ("female", 1 - look.male)):
        for age, by_age in (("young", 1 - look.age), ("old", look.age)):
            share = by_sex * by_age
            for race, by_race in look.ancestry.items():
                add_target(points, root, f"macrodetails/{race}-{sex}-{age}", share * by_race)
            stem = f"macrodetails/universal-{sex}-{age}-averagemuscle"
            add_target(points, root, f"{stem}-averageweight", share * (1 - abs(look.weight)))
            add_target(points, root, f"{stem}-{body}", share * abs(look.weight))
    rng = random.Random(look.seed)  # noqa: S311
    for folder, low, high in DETAILS:
        value = look.extra.get(high, max(-0.7, min(0.7, rng.gauss(USUAL.get(high, 0.0), 0.33))))
        name = high if value > 0 else low
        for side in ("l", "r") if "*" in name else ("",):
            add_target(points, root, f"{folder}/{name.replace('*', side)}", abs(value))
    return Mesh(points, mesh.faces, mesh.uv, mesh.groups)


@dataclass(frozen=True)
class Head:
    """Positions on this head, in decimetres."""

    eyes: tuple[Array, Array]  # centres, left of the image first
    eye_radius: float
    top: float  # y of the crown
    front: float  # z of the brow
    ear_z: float
    chin: float
    neck: float  # y of the pit of the neck
    half_width: float

    @property
    def eye_y(self) -> float:
        """Height of the eyes."""
        return float(self.eyes[0][1])


def measure(mesh: Mesh) -> Head:
    """Find eyes, crown, chin and ears from the named helper groups."""
    eyes = [mesh.group_points(f"helper-{side}-eye") for side in "rl"]
    centres = sorted(((e.max(0) + e.min(0)) / 2 for e in eyes), key=lambda c: c[0])
    radius = float(np.ptp(eyes[0][:, 0]) / 2)
    body = mesh.group_points("body")
    top = float(body[:, 1].max())
    near = body[(body[:, 1] > centres[0][1] - 0.2)]
    middle = body[(np.abs(body[:, 0]) < 0.1) & (body[:, 1] > centres[0][1] - 1.6)]
    front = float(middle[(middle[:, 1] > centres[0][1] + 0.1)][:, 2].max())
    teeth = mesh.group_points("helper-lower-teeth")
    chin = float(teeth[:, 1].min() - 0.35)
    widest = near[np.abs(near[:, 0]).argmax()]
    return Head(
        (centres[0], centres[1]),
        radius,
        top,
        front,
        float(widest[2]),
        chin,
        float(mesh.group_points("joint-neck")[:, 1].mean()),
        float(abs(widest[0])),
    )


def lower_arms(mesh: Mesh, degrees: float = 33.0) -> None:
    """Turn the spread arms of the base pose down, in place, so that they fit the picture."""
    shoulder = mesh.group_points("joint-l-shoulder").mean(0)
    reach = np.abs(mesh.points[:, 0]) - shoulder[0]
    weight = np.clip((reach + 0.35) / 0.8, 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    weight[mesh.points[:, 1] < shoulder[1] - 7] = 0
    angle = np.radians(degrees) * weight
    side = np.sign(mesh.points[:, 0])
    x, y = reach * 1.0, mesh.points[:, 1] - shoulder[1]
    mesh.points[:, 0] = side * (shoulder[0] + x * np.cos(angle) + y * np.sin(angle))
    mesh.points[:, 1] = shoulder[1] - x * np.sin(angle) + y * np.cos(angle)


def smooth(x: Array, low: float, high: float) -> Array:
    """Smoothstep from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def scalp(p: Array, head: Head, rng: np.random.Generator, receding: float = 0.0) -> Array:
    """1 where head hair grows, 0 elsewhere, for points (n, 3)."""
    up = (p[:, 1] - head.eye_y) / (head.top - head.eye_y)
    ahead = (p[:, 2] - head.ear_z) / (head.front - head.ear_z)  # 0 over the ears, 1 at the brow
    line = np.interp(ahead, [-1.5, -0.15, 0.0, 0.30, 0.36, 0.62, 1.0], [-0.75, -0.62, -0.15, -0.05, 0.36, 0.60, 0.70])
    line = line + receding * smooth(ahead, 0.0, 0.6) + rng.normal(0, 0.03, len(p))
    return ((up > line) & (up > -0.75)).astype(float)


def beard(p: Array, head: Head) -> Array:
    """Beard weight 0..1: below a line from the ear to under the nose, on jaw and lip."""
    low = head.chin - 0.08
    mouth = head.eye_y - 0.72 * (head.eye_y - head.chin) * 0.86
    ahead = (p[:, 2] - head.ear_z) / (head.front - head.ear_z)
    upper = np.interp(ahead, [0.0, 0.35, 0.8, 1.1], [head.eye_y - 0.35, mouth + 0.05, mouth + 0.10, mouth + 0.24])
    inside = smooth(upper - p[:, 1], 0.0, 0.18) * smooth(p[:, 1], low - 0.1, low + 0.2)
    return inside * smooth(ahead, 0.0, 0.25)


def blush(p: Array, head: Head) -> Array:
    """Redness 0..1 on cheeks and nose tip."""
    out = np.zeros(len(p))
    for x, y, z, size in ((-0.45, -0.48, 0.05, 0.28), (0.45, -0.48, 0.05, 0.28), (0.0, -0.50, 0.35, 0.16)):
        centre = np.array([x, head.eye_y + y, head.front + z])
        out = np.maximum(out, np.exp(-(((p - centre) / np.array([size, size, size * 2])) ** 2).sum(1)))
    return out
