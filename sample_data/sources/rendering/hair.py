"""Hair, brows and beard as strands that grow on the mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from rendering.body import Array, Head, Mesh, beard, scalp, smooth
from rendering.look import Look


def surface_samples(mesh: Mesh, faces: list[list[int]], count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """`count` random points on the given faces, area-weighted, with their normals."""
    triangles = np.array([(f[0], f[i], f[i + 1]) for f in faces for i in range(1, len(f) - 1)])
    a, b, c = (mesh.points[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1) + 1e-12
    pick = rng.choice(len(triangles), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    return a[pick] + u * (b - a)[pick] + v * (c - a)[pick], (normal / area[:, None])[pick]


def surface(mesh: Mesh, *names: str) -> BVHTree:
    """Search tree over the faces of the named groups."""
    return BVHTree.FromPolygons([Vector(p) for p in mesh.points], mesh.faces_of(*names))


def unit(v: Array) -> Array:
    """Rows scaled to length one."""
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


def tangent(v: Array, normal: Array) -> Array:
    """The part of each row of `v` that lies in the surface, normalised."""
    return unit(v - (v * normal).sum(1, keepdims=True) * normal)


@dataclass(frozen=True)
class Cut:
    """How a hair style grows: strand length, lift from the scalp, fall, disorder."""

    length: float
    steps: int
    lift: float
    gravity: float
    curl: float
    count: int
    parting: float  # x of the parting as a share of the half width
    receding: float = 0.0


CUTS = {
    "crop": Cut(0.07, 3, 1.0, 0.0, 0.5, 16000, 0.0, 0.05),
    "short": Cut(0.36, 7, 0.40, 0.10, 0.10, 16000, 0.35, 0.03),
    "bob": Cut(1.75, 20, 0.10, 0.24, 0.05, 15000, 0.15),
    "long": Cut(2.7, 26, 0.10, 0.24, 0.07, 16000, -0.12),
    "bun": Cut(0.9, 10, 0.10, 0.0, 0.03, 14000, 0.0),
    "bald": Cut(0.03, 2, 1.0, 0.0, 0.3, 9000, 0.0, 0.30),
}


LUMPS = {"crop": 0.1, "short": 0.12, "bob": 0.03, "long": 0.05, "bun": 0.05, "bald": 0.1}


def grow_hair(mesh: Mesh, head: Head, look: Look, rng: np.random.Generator) -> Array:
    """Head hair as strands (n, points, 3), pushed out of head and shoulders at each step."""
    cut = CUTS[look.style]
    faces = [f for f in mesh.faces_of("body") if mesh.points[f[0], 1] > head.eye_y - 1.0]
    root, normal = surface_samples(mesh, faces, cut.count * 3, rng)
    ear = (np.abs(root[:, 0]) > head.half_width * 0.93) & (root[:, 1] < head.eye_y + 0.25)
    keep = (scalp(root, head, rng, cut.receding) > 0.5) & ~ear
    root, normal = root[keep][: cut.count], normal[keep][: cut.count]
    crown = np.array([0, head.top, head.ear_z - 0.5])
    if look.style == "bun":
        knot = np.array([0, head.top + 0.05, head.ear_z - 0.75])
        flow = tangent(knot - root, normal)
    elif look.style in ("crop", "bald"):
        flow = tangent(root - crown, normal)
    else:
        side = np.sign(root[:, 0] - cut.parting * head.half_width)[:, None]
        sweep = np.array([1.0, 0, 0]) * side + np.array([0, -0.2, -0.9 if cut.gravity > 0.2 else 0.25])
        flow = tangent(sweep + 0.5 * (root - crown), normal)
    lumps = np.sin(root * 9 + look.seed) + np.sin(root[:, [1, 2, 0]] * 17)  # neighbours bend alike: locks
    direction = unit(flow + cut.lift * normal + LUMPS[look.style] * lumps + rng.normal(0, cut.curl, root.shape))
    length = cut.length * rng.uniform(0.75, 1.0, (len(root), 1))
    if look.style == "short":  # shorter at the sides and the nape
        length = length * (0.3 + 0.7 * smooth(root[:, 1:2], head.eye_y - 0.2, head.eye_y + 0.75))
    margin = rng.uniform(0.03, 0.03 + min(0.17, cut.length * 0.25), len(root))
    tree = surface(mesh, "body", "helper-tights")
    points = [root]
    for step in range(1, cut.steps + 1):
        at = points[-1] + direction * length / cut.steps
        if cut.length > 0.1:
            push_out(at, margin * min(1.0, step / 5), tree)
        if cut.length > 1:
            part_from_face(at, head, margin)
        if look.style == "bun":
            gap = knot - at
            direction = unit(tangent(gap, unit(at - np.array([0, head.eye_y + 0.3, head.ear_z]))) + 0.15 * lumps * 0.3)
        else:
            fresh = unit(at - points[-1])
            direction = unit(
                direction
                + 0.7 * fresh
                + cut.gravity * np.array([0, -1.6, 0])
                + rng.normal(0, cut.curl * 0.35, at.shape)
            )
        points.append(at)
    strands = np.stack(points, 1)
    rise = strands[:, :, 1].max(1) - root[:, 1]
    return strands[rise < 0.3 + 0.2 * cut.length * (cut.gravity == 0)]  # drop the odd one thrown upwards


def part_from_face(points: Array, head: Head, margin: Array) -> None:
    """Hold long hair beside the face and behind the collar bones, in place."""
    below = smooth(head.eye_y + 0.75 - points[:, 1], 0.0, 0.6)
    wanted = below * (head.half_width * 0.80 + margin)
    ahead = points[:, 2] > head.ear_z - 0.1
    side = np.where(points[:, 0] < 0, -1.0, 1.0)
    points[:, 0] = np.where(ahead, side * np.maximum(np.abs(points[:, 0]), wanted), points[:, 0])
    widest = np.where(points[:, 1] > head.neck + 0.4, 1.18 * head.half_width + margin, 9.0)
    points[:, 0] = np.clip(points[:, 0], -widest, widest)
    limit = head.ear_z + 0.55 - 0.35 * below + margin
    points[:, 2] = np.where(below > 0.5, np.minimum(points[:, 2], limit), points[:, 2])


def push_out(points: Array, margin: Array, tree: BVHTree) -> None:
    """Move points that are inside the body, or nearer than `margin`, to that distance, in place."""
    for i, p in enumerate(points):
        hit, normal, _, _distance = tree.find_nearest(Vector(p), 1.0)
        if hit is None:
            continue
        outside = (Vector(p) - hit).dot(normal)
        if outside < margin[i]:
            points[i] = hit + normal * margin[i]


def grow_bun(head: Head, rng: np.random.Generator, count: int = 5000) -> Array:
    """A knot of hair on the crown: strands wound about a ball."""
    centre = np.array([0.0, head.top + 0.10, head.ear_z - 0.55])
    axis = unit(rng.normal(0, 1, (count, 3)) * 0.35 + np.array([0, 1, 0.3]))
    start = tangent(rng.normal(0, 1, (count, 3)), axis)
    other = np.cross(axis, start)
    height = rng.uniform(-0.9, 0.9, (count, 1))
    radius = 0.42 * rng.uniform(0.8, 1.0, (count, 1))
    angles = np.linspace(0, 2.2, 10)
    ring = [
        centre + radius * (height * axis + np.sqrt(1 - height**2) * (math.cos(a) * start + math.sin(a) * other))
        for a in angles
    ]
    return np.stack(ring, 1)


def grow_brows(mesh: Mesh, head: Head, look: Look, rng: np.random.Generator) -> Array:
    """Eyebrow strands laid on the face by casting rays from the front."""
    tree = surface(mesh, "body")
    strands = []
    thick = 0.036 + 0.020 * look.male
    arch = rng.uniform(0.03, 0.07) * (1.2 - 0.6 * look.male)
    for eye in head.eyes:
        side = math.copysign(1, eye[0])
        for _ in range(260):
            t = rng.random()
            x = abs(eye[0]) - 0.19 + 0.41 * t
            y = head.eye_y + 0.235 + arch * math.sin(math.pi * min(1, t * 0.75)) * 1.6 - 0.09 * max(0, t - 0.6)
            y += rng.normal(0, thick * 0.5) * (1 - 0.75 * t)
            hit, normal, _, _ = tree.ray_cast(Vector((side * x, y, head.front + 2)), Vector((0, 0, -1)))
            if hit is None:
                continue
            heading = np.array([side * (0.3 + t), 0.75 - 1.0 * t, 0]) + rng.normal(0, 0.18, 3)
            heading = unit(heading + 0.25 * np.array(normal))
            n = np.array(normal)
            p = np.array(hit) + 0.004 * n
            strands.append([p, p + 0.04 * heading + 0.012 * n, p + 0.085 * heading + 0.008 * n])
    return np.array(strands)


def grow_beard(mesh: Mesh, head: Head, look: Look, rng: np.random.Generator) -> Array:
    """Stubble strands on jaw and lip."""
    faces = [
        f for f in mesh.faces_of("body") if mesh.points[f[0], 2] > head.ear_z and mesh.points[f[0], 1] > head.chin - 0.5
    ]
    root, normal = surface_samples(mesh, faces, 60000, rng)
    chance = beard(root, head) * 0.5 * look.stubble
    mouth = mesh.group_points("helper-upper-teeth")
    lip = (((root - np.array([0, mouth[:, 1].min() - 0.02, 0])) / np.array([0.33, 0.16, 9])) ** 2).sum(1) < 1
    keep = (rng.random(len(root)) < chance) & ~lip
    root, normal = root[keep], normal[keep]
    heading = unit(normal + np.array([0, -0.9, 0]) + rng.normal(0, 0.25, root.shape))
    length = 0.035 + 0.05 * look.stubble
    return np.stack([root, root + heading * length / 2, root + heading * length], 1)
