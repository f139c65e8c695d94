"""The original frames of a clip: people in front of a background, light, camera."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from dfdc_kit.data.making.motion import Motion, moved_anchors, random_motion, waves
from dfdc_kit.data.making.people import Array, Image, Person, Rig, parts
from dfdc_kit.data.making.rooms import random_room

Box = tuple[int, int, int, int]  # left, top, right, bottom in the frame


@dataclass(frozen=True, eq=False)
class Actor:
    """A person in a clip of n frames."""

    person: Person
    rig: Rig
    motion: Motion
    scale: float  # frame pixels per pixel of the still
    centre: Array  # (n, 2) where the middle of the resting face is in each frame
    relief: Array  # (h, w, 1) light across the still, factors about 1

    def at_scale(self, still: Image) -> Image:
        """Another picture in the layout of this person's still, lit like it, at the scale of the clip."""
        lit = still.copy()
        lit[..., :3] = np.clip(still[..., :3] * self.relief, 0, 255)
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(lit, None, fx=self.scale, fy=self.scale, interpolation=how), np.uint8)

    @cached_property
    def still(self) -> Image:
        """The person's own still at the scale of the clip."""
        return self.at_scale(self.person.image)

    def offset(self, i: int) -> Array:
        """Where the top left corner of the still is in frame `i`."""
        return np.asarray(self.centre[i] - self.scale * self.person.centre, np.float32)

    def warp(self, i: int, motion: Motion | None = None) -> tuple[Array, Array]:
        """Backward displacement grid and landmarks (n, 2) in frame pixels; with `motion` instead of the actor's own."""
        moved = moved_anchors(self.person, self.rig, motion or self.motion, i)
        points = moved[: len(self.person.points)] * self.scale + self.offset(i)
        return self.rig.grid(moved) * self.scale, points

    def read_map(self, grid: Array, i: int, box: Box) -> tuple[Array, Array]:
        """Where each pixel of `box` in frame `i` is read in pictures made by `at_scale`: x and y, (h, w) each."""
        cell = self.rig.step * self.scale
        x, y = self.offset(i)
        xs = np.arange(box[0], box[2], dtype=np.float32) - x
        ys = np.arange(box[1], box[3], dtype=np.float32) - y
        shift = _enlarged(grid, cell, round(float(xs[0])), round(float(ys[0])), len(xs), len(ys))
        bottom_row = np.float32(self.still.shape[0] - 1.5)  # the body continues below the still
        return xs[None] - shift[..., 0], np.minimum(ys[:, None] - shift[..., 1], bottom_row)

    def box(self, i: int, size: tuple[int, int]) -> Box | None:
        """The part of the frame the person may cover; None outside the picture."""
        x, y = self.offset(i)
        h, w = self.still.shape[:2]
        return clipped((x, y, x + w, max(y + h, size[1])), size)


def _enlarged(grid: Array, cell: float, left: int, top: int, width: int, height: int) -> Array:
    """The part (height, width, 2) at `left`, `top` of `grid` enlarged `cell` times; its border continues outside."""
    rows, columns = grid.shape[:2]
    c0, r0 = int(np.clip(left / cell - 1, 0, columns - 1)), int(np.clip(top / cell - 1, 0, rows - 1))
    c1 = int(np.clip((left + width) / cell + 2, c0 + 1, columns))
    r1 = int(np.clip((top + height) / cell + 2, r0 + 1, rows))
    wide, tall = round((c1 - c0) * cell), round((r1 - r0) * cell)
    full = cv2.resize(grid[r0:r1, c0:c1], (wide, tall), interpolation=cv2.INTER_LINEAR)
    x, y = left - round(c0 * cell), top - round(r0 * cell)
    part = full[min(max(y, 0), tall - 1) : max(y + height, 1), min(max(x, 0), wide - 1) : max(x + width, 1)]
    above, before = min(max(-y, 0), height - part.shape[0]), min(max(-x, 0), width - part.shape[1])
    if part.shape[:2] != (height, width):
        below, after = height - part.shape[0] - above, width - part.shape[1] - before
        part = cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_REPLICATE)
    return np.asarray(part, np.float32)


def clipped(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box | None:
    """`box` rounded and cut to a frame of `size` (w, h); None if less than 4 pixels wide or high."""
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    right, bottom = min(size[0], int(np.ceil(box[2]))), min(size[1], int(np.ceil(box[3])))
    return (left, top, right, bottom) if right - left >= 4 and bottom - top >= 4 else None


@dataclass(frozen=True)
class Camera:
    """Light and sensor of a clip."""

    tint: Array  # (3,) BGR factors
    gain: float
    gamma: float
    contrast: float
    flicker: Array  # (n,) factors about 1
    noise: Image  # larger than the frame; grey levels about 128

    def expose(self, image: Image, i: int) -> Image:
        """The look of `image` (h, w, 3) in frame `i`, without noise."""
        levels = np.arange(256, dtype=np.float32)[:, None] / 255
        lit = np.clip(levels * self.tint * self.gain * self.flicker[i], 0, 1) ** self.gamma
        table = np.clip(((lit - 0.45) * self.contrast + 0.45) * 255, 0, 255).round().astype(np.uint8)
        return np.asarray(cv2.LUT(image, table[:, None]), np.uint8)

    def add_noise(self, image: Image, rng: np.random.Generator) -> Image:
        """`image` (h, w, 3) with sensor noise."""
        h, w = image.shape[:2]
        y, x = rng.integers(self.noise.shape[0] - h), rng.integers(self.noise.shape[1] - w)
        return np.asarray(cv2.addWeighted(image, 1.0, self.noise[y : y + h, x : x + w], 1.0, -128.0), np.uint8)


def random_camera(rng: np.random.Generator, size: tuple[int, int], times_s: Array) -> Camera:
    """Random light and sensor for a clip of `size` (w, h)."""
    warm, level = rng.uniform(-0.09, 0.09), rng.uniform(0.5, 2.8)
    grain = rng.standard_normal((size[1] + 64, size[0] + 64, 3), np.float32) * level
    grain = 0.6 * grain + 0.8 * cv2.GaussianBlur(grain, (0, 0), 0.8)
    return Camera(
        tint=np.array((1 - warm, 1.0, 1 + warm), np.float32),
        gain=rng.uniform(0.6, 1.08),
        gamma=rng.uniform(0.85, 1.25),
        contrast=rng.uniform(0.85, 1.08),
        flicker=1 + rng.uniform(0.002, 0.015) * waves(rng, times_s, 0.3, 3.0),
        noise=np.clip(grain + 128, 0, 255).round().astype(np.uint8),
    )


@dataclass(frozen=True)
class Role:
    """A person in a scene: face height and position as fractions of the frame height and size."""

    person: str
    height: float
    x: float
    y: float
    enters: float = 0.0  # fraction of the clip after which the person walks in; 0: there from the start


def cast(
    role: Role, person: Person, rig: Rig, size: tuple[int, int], times_s: Array, speech: Array, rng: np.random.Generator
) -> Actor:
    """The actor of a role: position in each frame, motion and light."""
    scale = role.height * size[1] / person.face_height
    motion = random_motion(rng, times_s, speech)
    at = np.array((role.x, role.y), np.float32) * size + motion.sway * scale * person.face_height
    if role.enters > 0:
        t = np.clip((times_s / times_s[-1] - role.enters) / 0.2, 0, 1)
        away = (1.0 if role.x >= 0.5 else -1.0) * (size[0] * 0.5 + scale * person.image.shape[1] * 0.6)
        at[:, 0] += away * (1 - t * t * (3 - 2 * t))
    h, w = person.image.shape[:2]
    slope = rng.uniform(-0.35, 0.35)
    relief = np.broadcast_to(1 + slope * np.linspace(-1, 1, w), (h, w)).astype(np.float32)[..., None]
    return Actor(person, rig, motion, scale, at.astype(np.float32), relief)


@dataclass(frozen=True)
class Footage:
    """An original clip: n frames (h, w, 3) uint8 BGR, who is in it, and what manipulations need of each frame."""

    frames: list[Image]
    actors: list[Actor]
    warps: list[list[tuple[Array, Array]]]  # [actor][frame]: displacement grid and landmarks
    camera: Camera


def film(
    actors: list[Actor], size: tuple[int, int], times_s: Array, rng: np.random.Generator, hand_px: float
) -> Footage:
    """Render the actors, the first one in front."""
    camera = random_camera(rng, size, times_s)
    margin = 12
    room = random_room(rng, (size[0] + 2 * margin, size[1] + 2 * margin))
    hand = hand_px * np.stack([waves(rng, times_s, 0.3, 1.5) for _ in range(2)], 1)
    for actor in actors:
        actor.centre[:] += hand
    warps = [[actor.warp(i) for i in range(len(times_s))] for actor in actors]
    frames = []
    for i, (dx, dy) in enumerate(hand):
        shift = np.array([[1, 0, dx - margin], [0, 1, dy - margin]], np.float32)
        image = np.asarray(cv2.warpAffine(room, shift, size, flags=cv2.INTER_LINEAR), np.uint8)
        for actor, warp in reversed(list(zip(actors, warps, strict=True))):
            _draw(actor, warp[i], i, image)
        frames.append(camera.add_noise(camera.expose(image, i), rng))
    return Footage(frames, actors, warps, camera)


def _draw(actor: Actor, warp: tuple[Array, Array], i: int, image: Image) -> None:
    """Draw the actor into frame `i`, in place."""
    box = actor.box(i, (image.shape[1], image.shape[0]))
    if box is None:
        return
    x, y = actor.read_map(warp[0], i, box)
    drawn = cv2.remap(actor.still, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    weight = cv2.extractChannel(drawn, 3) * np.float32(1 / 255)
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    part[:] = cv2.blendLinear(cv2.cvtColor(drawn, cv2.COLOR_BGRA2BGR), part, weight, 1 - weight)
    fill_mouth(image, warp[1], float(actor.motion.mouth[i]))


def fill_mouth(image: Image, points: Array, amount: float) -> None:
    """Paint the dark inside of an opened mouth and a hint of the upper teeth, in place; landmarks in pixels of it."""
    part = parts()
    corners, top, bottom = (
        points[part["mouth_corners"]],
        points[part["lip_top_inner"]],
        points[part["lip_bottom_inner"]],
    )
    gap = float(np.abs(bottom[:, 1] - top[:, 1]).max())
    outline = np.r_[corners[:1], top, corners[1:], bottom[::-1]]
    box = clipped((*(outline.min(0) - 8), *(outline.max(0) + 9)), (image.shape[1], image.shape[0]))
    if gap < 1.0 or box is None:
        return
    teeth = np.r_[corners[:1], top, corners[1:], (0.60 * top + 0.40 * bottom)[::-1]]
    inside = image[box[1] : box[3], box[0] : box[2]]
    for shape, colour, strength in ((outline, (26, 20, 48), 0.9), (teeth, (150, 165, 172), 0.55)):
        mask = np.zeros(inside.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.round((shape - box[:2]) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, gap * 0.12))[..., None] * strength * min(1.0, amount * 2)
        inside[:] = inside * (1 - mask) + mask * np.array(colour, np.float32)


def face_boxes(points: list[Array], size: tuple[int, int], margin: float) -> Iterator[Box | None]:
    """The box around the face outline in each frame, `margin` face heights wider; None outside the picture."""
    oval = parts()["oval"]
    for frame in points:
        low, high = frame[oval].min(0), frame[oval].max(0)
        pad = margin * (high[1] - low[1])
        yield clipped((*(low - pad), *(high + pad)), size)
