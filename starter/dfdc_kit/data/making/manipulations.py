"""Manipulated faces, blended into the original frames; families after the data set paper (arXiv 2006.07397).

Each family turns a crop of a frame into a new face; mask, blending and jitter are the same for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from dfdc_kit.data.making.people import Array, Image, load, parts, random_motion, spline_values
from dfdc_kit.data.making.scene import Actor, Box, Footage, face_box, fill_mouth

MARGIN = 0.22  # around the face outline, in face heights


@dataclass(frozen=True)
class Recipe:
    """Strength and details of the manipulation of one clip; lengths as fractions of the face height."""

    strength: float  # 0 hardly visible .. 1 plain
    colour_match: float  # how far a donor's colours are fitted to the target's, 0..1
    tint: Array  # (3,) BGR factors
    lift: float  # brightness, grey levels
    shrink: float  # down- and upsampling factor
    scale: float
    angle_deg: float
    shift: Array  # (2,)
    feather: float
    outline: float  # mask size relative to the face outline
    opacity: float
    grain: float  # share of the camera's noise that the new face gets


def random_recipe(rng: np.random.Generator) -> Recipe:
    """A recipe of random strength."""
    s = rng.uniform(0.25, 1.0)
    return Recipe(
        strength=s,
        colour_match=rng.uniform(0.75, 0.97),
        tint=1 + s * (rng.uniform(-0.06, 0.06, 3) + rng.choice([-0.05, 0.05])),
        lift=s * rng.uniform(-6, 6),
        shrink=1 + s * rng.uniform(0.1, 0.9),
        scale=1 + s * rng.choice([-1, 1]) * rng.uniform(0.01, 0.04),
        angle_deg=s * rng.uniform(-2.5, 2.5),
        shift=s * rng.uniform(-0.02, 0.02, 2),
        feather=rng.uniform(0.025, 0.07),
        outline=rng.uniform(0.78, 0.97),
        opacity=1 - s * rng.uniform(0.0, 0.15),
        grain=rng.uniform(0.7, 1.1),
    )


@dataclass(frozen=True)
class Target:
    """What a family may use to make the new face of one frame."""

    footage: Footage
    actor: Actor
    i: int
    box: Box
    read: tuple[Array, Array]  # x and y, (h, w) each: where each pixel of the crop is read in `Actor.at_scale`
    points: Array  # (n, 2) landmarks in pixels of the crop
    crop: Image  # the original pixels


@dataclass(frozen=True)
class Job:
    """The manipulation of one clip."""

    footage: Footage
    actor: Actor
    donor: str
    how: Recipe
    rng: np.random.Generator


Painter = Callable[[Target], Image]  # the new face, (h, w, 3)


def _mask(actor: Actor, how: Recipe) -> Image:
    """The soft mask (h, w) of the face in the layout of the actor's still."""
    part, still = parts(), actor.person.image
    points, h = actor.person.points[:, :2], actor.person.face_height
    centre = actor.person.centre
    outline = centre + (points[part["oval"]] - centre) * how.outline
    outline[:, 1] = np.maximum(outline[:, 1], points[part["brows"], 1].min() - 0.10 * h)
    mask: Image = np.zeros(still.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline * 16).astype(np.int32)), 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), how.feather * h)
    return np.asarray(cv2.resize(soft, actor.still.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


@lru_cache(maxsize=32)
def donor_still(target: str, donor: str) -> Image:
    """The donor's picture (h, w, 4) warped so that its landmarks are where the target's are."""
    to, source = load(target), load(donor)
    h, w = to.image.shape[:2]
    columns, rows = w // 12, h // 12
    gx, gy = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    at, where = to.points[:, :2], np.c_[gx.ravel(), gy.ravel()].astype(np.float32)
    coarse = spline_values(at, source.points[:, :2] - at, where)
    shift = cv2.resize(coarse.reshape(*gx.shape, 2), (w, h), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    read = cv2.remap(source.image, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    return np.asarray(read, np.uint8)


def match_colours(face: Image, target: Image, mask: Image, share: float) -> Image:
    """Move mean and spread of `face`'s colours under the mask towards the target's by `share`, 0..1."""
    inside = mask > 128
    a, b = face[..., :3][inside].astype(np.float32), target[..., :3][inside].astype(np.float32)
    gain = ((b.std(0) + 1) / (a.std(0) + 1)) ** 0.5
    changed = face.copy()
    fitted = (face[..., :3] - a.mean(0)) * gain + b.mean(0)
    changed[..., :3] = np.clip(face[..., :3] + share * (fitted - face[..., :3]), 0, 255)
    return changed


def _read(still: Image, x: Array, y: Array) -> Image:
    return np.asarray(cv2.remap(still, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE), np.uint8)


def _paint_still(still: Image) -> Painter:
    """Draw `still` (made by `Actor.at_scale`), moved like the actor."""
    opaque = np.ascontiguousarray(still[..., :3])

    def paint(to: Target) -> Image:
        face = _read(opaque, *to.read)
        fill_mouth(face, to.points, float(to.actor.motion.mouth[to.i]))
        return to.footage.camera.expose(face, to.i)

    return paint


def _tinted(face: Image, tint: Array, lift: float = 0.0) -> Image:
    """`face` times the factors `tint` (3,), plus `lift` grey levels."""
    table = np.clip(np.arange(256)[:, None] * tint + lift, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(face, table[:, None]), np.uint8)


def _resample(face: Image, factor: float, up: int = cv2.INTER_CUBIC) -> Image:
    """Down- and upsample by `factor`."""
    h, w = face.shape[:2]
    down = cv2.INTER_AREA if factor > 1.8 else cv2.INTER_LINEAR
    small = cv2.resize(face, (max(2, round(w / factor)), max(2, round(h / factor))), interpolation=down)
    return np.asarray(cv2.resize(small, (w, h), interpolation=up), np.uint8)


def _fitted(job: Job, share: float) -> Image:
    """The donor's face in the layout of the actor's unscaled still, colours fitted by `share`."""
    person = job.actor.person
    inside = cv2.resize(_mask(job.actor, job.how), person.image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return match_colours(donor_still(person.name, job.donor), person.image, np.asarray(inside, np.uint8), share)


def face_swap(job: Job) -> Painter:
    """Another person's face, warped onto the landmarks."""
    paint = _paint_still(job.actor.at_scale(_fitted(job, job.how.colour_match)))
    return lambda to: _resample(paint(to), job.how.shrink)


def self_blend(job: Job) -> Painter:
    """The person's own face with slightly changed colours, sharpness and position."""
    how = job.how
    return lambda to: _resample(_tinted(to.crop, how.tint, how.lift), how.shrink)


def nearest_neighbour_morph(job: Job) -> Painter:
    """A morph of the face with that of the most similar person (`donor` must be that person)."""
    own = job.actor.person.image.astype(np.float32)
    share = 0.45 + 0.45 * job.how.strength
    mixed = (1 - share) * own + share * _fitted(job, 0.9)
    paint = _paint_still(job.actor.at_scale(np.clip(mixed, 0, 255).astype(np.uint8)))
    return lambda to: _resample(paint(to), 1 + 0.4 * (job.how.shrink - 1))


def expression_transfer(job: Job) -> Painter:
    """The person's own face with mouth, eyes and brows driven by another person's performance."""
    times_s = np.arange(len(job.footage), dtype=np.float32) / 25
    speech = np.abs(np.sin(times_s * job.rng.uniform(8, 14) + job.rng.uniform(0, 6))).astype(np.float32)
    other = random_motion(job.rng, times_s, speech * np.float32(job.rng.uniform(0.3, 1.0)))
    driven = replace(
        job.actor.motion, mouth=other.mouth, blink=other.blink, brow=2.0 * other.brow, smile=1.6 * other.smile + 0.5
    )
    warps = job.actor.warps(driven)
    still = np.ascontiguousarray(job.actor.still[..., :3])

    def paint(to: Target) -> Image:
        warp = warps[to.i]
        face = _read(still, *job.actor.read_map(warp.grid, to.i, to.box))
        fill_mouth(face, warp.points - np.array(to.box[:2], np.float32), float(driven.mouth[to.i]))
        return _resample(job.footage.camera.expose(face, to.i), 1 + 0.5 * (job.how.shrink - 1))

    return paint


def low_resolution(job: Job) -> Painter:
    """Another person's face as a small generator makes it: few pixels, upsampled, sharpened again."""
    paint = _paint_still(job.actor.at_scale(_fitted(job, 0.95)))
    side = job.rng.uniform(64, 110) - 25 * job.how.strength  # pixels of the generator's output
    up = int(job.rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    sharpen = job.rng.uniform(0.0, 0.9)

    def generate(to: Target) -> Image:
        face = _resample(paint(to), max(1.15, to.crop.shape[0] / side), up)
        soft = cv2.GaussianBlur(face, (0, 0), 1.5)
        return np.asarray(cv2.addWeighted(face, 1 + sharpen, soft, -sharpen, 0), np.uint8)

    return generate


def colour_mismatch(job: Job) -> Painter:
    """A swap whose skin colour and light fit badly."""
    tint = 1 + (0.04 + 0.08 * job.how.strength) * job.rng.uniform(-1, 1, 3)
    paint = _paint_still(job.actor.at_scale(_fitted(job, 0.85 - 0.45 * job.how.strength)))
    return lambda to: _resample(_tinted(paint(to), tint), 1 + 0.3 * (job.how.shrink - 1))


FAMILIES = {
    "face-swap": face_swap,
    "self-blend": self_blend,
    "nearest-neighbour-morph": nearest_neighbour_morph,
    "low-resolution": low_resolution,
    "expression-transfer": expression_transfer,
    "colour-mismatch": colour_mismatch,
}
UNSEEN = ("expression-transfer", "colour-mismatch")  # of the Private part only
OWN_FACE = ("self-blend", "expression-transfer")  # need no donor


def nearest(person: str, others: Sequence[str]) -> str:
    """The one of `others` whose face shape and skin colour are most like the person's."""
    me = load(person)

    def distance(name: str) -> float:
        other = load(name)
        ours, theirs = ((p.points[:, :2] - p.centre) / p.face_height for p in (me, other))
        return float(np.abs(ours - theirs).mean() * 20 + np.abs(me.skin - other.skin).mean() / 60)

    return min(others, key=distance)


def _jitter(rng: np.random.Generator, frames: int, memory: float = 0.75) -> Array:
    """Noise (frames, 4) of unit size that drifts from frame to frame."""
    noise = np.zeros((frames, 4), np.float32)
    for i in range(frames):
        noise[i] = memory * noise[i - 1] + np.sqrt(1 - memory**2) * rng.standard_normal(4)
    return noise


def _nudged(face: Image, to: Target, how: Recipe, jitter: Array) -> Image:
    """A small affine change of the new face about its centre, a little different in each frame."""
    oval = to.points[parts()["oval"]]
    height, centre = float(np.ptp(oval[:, 1])), (oval.max(0) + oval.min(0)) / 2
    x, y = (float(c) for c in centre)
    matrix = cv2.getRotationMatrix2D((x, y), how.angle_deg + 0.2 * float(jitter[0]), how.scale + 0.003 * jitter[1])
    matrix[:, 2] = matrix[:, 2] + (how.shift + 0.003 * jitter[2:4]) * height
    moved = cv2.warpAffine(face, matrix, face.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def manipulator(
    footage: Footage, family: str, donor: str, how: Recipe, rng: np.random.Generator
) -> Callable[[int, Image], Image]:
    """A function that manipulates the first actor's face in frame `i` (h, w, 3); a frame without it stays as it is."""
    actor, warps = footage.actors[0], footage.warps[0]
    mask = _mask(actor, how)
    paint = FAMILIES[family](Job(footage, actor, donor, how, rng))
    jitter = _jitter(rng, len(footage))
    grain_at = rng.random((len(footage), 2))
    opacity = np.float32(how.opacity / 255)

    def change(i: int, original: Image) -> Image:
        points = warps[i].points
        box = face_box(points, footage.size, MARGIN)
        if box is None:
            return original
        frame = original.copy()
        left, top, right, bottom = box
        crop = frame[top:bottom, left:right]
        read = actor.read_map(warps[i].grid, i, box)
        to = Target(footage, actor, i, box, read, points - np.array((left, top), np.float32), crop)
        weight = cv2.remap(mask, *read, cv2.INTER_LINEAR) * opacity
        face = footage.camera.add_noise(_nudged(paint(to), to, how, jitter[i]), grain_at[i], how.grain)
        crop[:] = cv2.blendLinear(face, crop, weight, 1 - weight)
        return frame

    return change
