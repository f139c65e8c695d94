"""How people move: head, mouth, eyelids, eyebrows, and walking into the picture."""

from dataclasses import dataclass

import numpy as np

from dfdc_kit.data.making.people import Array, Person, Rig, parts


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


def _express(person: Person, motion: Motion, i: int, points: Array) -> Array:
    """The anchors (m, 3) with mouth, eyelids and eyebrows of frame `i`, before the head turns."""
    p, part, h = points.copy(), parts(), person.face_height
    drop = 0.05 * h * motion.mouth[i]
    for name, share in (("lip_bottom_inner", 1.0), ("lip_bottom", 0.95), ("lip_top", -0.08), ("lip_top_inner", -0.10)):
        p[part[name], 1] += share * drop
    corners = part["mouth_corners"]
    middle = p[corners, 0].mean()
    p[corners, 0] += (0.020 * motion.smile[i] * h - 0.08 * drop) * np.sign(p[corners, 0] - middle)
    p[corners, 1] -= 0.014 * motion.smile[i] * h
    oval = p[part["oval"]]
    low = np.clip((oval[:, 1] - oval[:, 1].max() + 0.42 * h) / (0.42 * h), 0, 1)
    p[part["oval"], 1] += 0.75 * drop * low**1.5
    for side in ("left", "right"):
        top, bottom = p[part[f"{side}_lid_top"], :2], p[part[f"{side}_lid_bottom"], :2]
        if abs(top[0, 0] - bottom[0, 0]) > abs(top[0, 0] - bottom[-1, 0]):
            bottom = bottom[::-1]
        p[part[f"{side}_lid_top"], :2] += 0.85 * motion.blink[i] * (bottom - top)
    p[part["brows"], 1] -= 0.014 * h * motion.brow[i]
    return p


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, np.float32)


def moved_anchors(person: Person, rig: Rig, motion: Motion, i: int) -> Array:
    """Where the rig's anchors are in frame `i`, (m, 2) in pixels of the still; the landmarks come first."""
    h, centre = person.face_height, person.centre
    depth = float(np.median(person.points[parts()["oval"], 2])) + 0.25 * h
    neck = np.array([centre[0], centre[1] + 0.55 * h, depth], np.float32)
    turn = _rotation(*np.radians([motion.yaw[i], motion.pitch[i], motion.roll[i]]))
    face = _express(person, motion, i, rig.anchors)
    return np.asarray(((face - neck) @ turn.T + neck)[:, :2], np.float32)
