"""The original frames of a clip: people in front of a background, light, camera."""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from dfdc_kit.data.making.people import Array, Image, Motion, Person, Rig, moved_anchors, parts, random_motion, waves

Box = tuple[int, int, int, int]  # left, top, right, bottom in the frame
WALLS = ((196, 205, 208), (150, 168, 178), (120, 128, 110), (176, 160, 140), (92, 104, 128), (142, 172, 190))


@dataclass(frozen=True, eq=False)
class Warp:
    """How a still is warped in one frame; in pixels of the frame."""

    grid: Array  # (rows, columns, 2) backward displacement
    points: Array  # (n, 2) landmarks


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

    def warps(self, motion: Motion | None = None) -> list[Warp]:
        """How the still is warped in each frame; with `motion` instead of the actor's own."""
        moved = moved_anchors(self.person, self.rig, motion or self.motion)
        points = moved[:, : len(self.person.points)] * self.scale
        grids = self.rig.grids(moved)
        return [Warp(grid * self.scale, points[i] + self.offset(i)) for i, grid in enumerate(grids)]

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

    def add_noise(self, image: Image, at: Array, share: float = 1.0) -> Image:
        """`image` (h, w, 3) with `share` of the sensor noise; `at` (x, y), 0..1, chooses a part of `noise`."""
        h, w = image.shape[:2]
        x, y = int(at[0] * (self.noise.shape[1] - w)), int(at[1] * (self.noise.shape[0] - h))
        noise = self.noise[y : y + h, x : x + w]
        return np.asarray(cv2.addWeighted(image, 1.0, noise, share, -128.0 * share), np.uint8)


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


@dataclass(frozen=True, eq=False)
class Footage:
    """An original clip of n frames, and what manipulations need of each frame."""

    size: tuple[int, int]  # w, h
    actors: list[Actor]  # the first one in front
    warps: list[list[Warp]]  # [actor][frame]
    camera: Camera
    room: Image
    hand: Array  # (n, 2) where the frame's top left corner is in the room, in steps of a quarter of a pixel
    grain_at: Array  # (n, 2) see Camera.add_noise
    shifted: dict[tuple[float, float], Image] = field(default_factory=dict)  # the room moved by a part of a pixel

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.hand)

    def frame(self, i: int) -> Image:
        """Frame `i`, (h, w, 3) uint8 BGR."""
        image = self._background(*self.hand[i])
        for actor, warps in reversed(list(zip(self.actors, self.warps, strict=True))):
            _draw(actor, warps[i], i, image)
        return self.camera.add_noise(self.camera.expose(image, i), self.grain_at[i])

    def _background(self, x: float, y: float) -> Image:
        left, top = x % 1, y % 1
        if (left, top) not in self.shifted:  # 16 at most
            shift = np.array([[1, 0, -left], [0, 1, -top]], np.float32)
            self.shifted[left, top] = np.asarray(cv2.warpAffine(self.room, shift, self.room.shape[1::-1]), np.uint8)
        return self.shifted[left, top][int(y) : int(y) + self.size[1], int(x) : int(x) + self.size[0]].copy()


def film(
    actors: list[Actor], size: tuple[int, int], times_s: Array, rng: np.random.Generator, hand_px: float
) -> Footage:
    """Put the actors into a random room, before a random camera that moves by up to `hand_px`."""
    camera = random_camera(rng, size, times_s)
    margin = 12
    room = random_room(rng, (size[0] + 2 * margin, size[1] + 2 * margin))
    hand = np.round(4 * hand_px * np.stack([waves(rng, times_s, 0.3, 1.5) for _ in range(2)], 1)) / 4
    for actor in actors:
        actor.centre[:] += hand
    warps = [actor.warps() for actor in actors]
    return Footage(size, actors, warps, camera, room, margin - hand, rng.random((len(times_s), 2)))


def _draw(actor: Actor, warp: Warp, i: int, image: Image) -> None:
    """Draw the actor into frame `i`, in place."""
    box = actor.box(i, (image.shape[1], image.shape[0]))
    if box is None:
        return
    x, y = actor.read_map(warp.grid, i, box)
    drawn = cv2.remap(actor.still, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    weight = cv2.extractChannel(drawn, 3) * np.float32(1 / 255)
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    part[:] = cv2.blendLinear(cv2.cvtColor(drawn, cv2.COLOR_BGRA2BGR), part, weight, 1 - weight)
    fill_mouth(image, warp.points, float(actor.motion.mouth[i]))


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


def face_box(points: Array, size: tuple[int, int], margin: float) -> Box | None:
    """The box around the face outline of landmarks (n, 2), `margin` face heights wider; None outside the picture."""
    oval = points[parts()["oval"]]
    low, high = oval.min(0), oval.max(0)
    pad = margin * (high[1] - low[1])
    return clipped((*(low - pad), *(high + pad)), size)


def random_room(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """A background (h, w, 3) uint8 BGR of `size` (w, h)."""
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    if rng.random() < 0.2:
        image = _outdoors(rng, x / w, y / h)
    else:
        wall = np.array(WALLS[rng.integers(len(WALLS))], np.float32) * rng.uniform(0.5, 1.1)
        centre_x, centre_y = rng.uniform(0, 1), rng.uniform(0, 0.6)
        glow = np.exp(-(((x / w - centre_x) / 0.6) ** 2 + ((y / h - centre_y) / 0.8) ** 2))
        image = wall * (0.72 + 0.38 * glow[..., None])
        for index in rng.permutation(len(OBJECTS))[: rng.integers(1, 4)]:
            OBJECTS[index](image, rng)
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3.5) * h / 360)
    grain = cv2.GaussianBlur(rng.standard_normal((h, w), np.float32), (0, 0), 1.5)
    return np.clip(soft + 3.5 * grain[..., None], 0, 255).astype(np.uint8)


def _outdoors(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Sky, a hedge and grass."""
    sky, leaf, grass = np.array((225, 200, 175)), np.array((50, 90, 70)), np.array((60, 125, 105))
    top = rng.uniform(0.15, 0.5) + 0.05 * np.sin(x * rng.uniform(6, 14) + rng.uniform(0, 6))
    bottom = rng.uniform(0.65, 0.95)
    patches = cv2.GaussianBlur(rng.standard_normal(x.shape, np.float32), (0, 0), x.shape[0] / 45)
    patches *= 0.35 / (patches.std() + 1e-6)
    image = np.where((y < top)[..., None], sky, np.where((y < bottom)[..., None], leaf, grass)).astype(np.float32)
    return np.asarray(image * np.where(y < top, 1, 1 + patches)[..., None] * rng.uniform(0.7, 1.05), np.float32)


def _rectangle(image: Array, x0: float, y0: float, x1: float, y1: float, colour: Array | tuple[float, ...]) -> None:
    """Fill a rectangle; corners as fractions of width and height."""
    h, w = image.shape[:2]
    cv2.rectangle(image, (int(x0 * w), int(y0 * h)), (int(x1 * w), int(y1 * h)), tuple(float(c) for c in colour), -1)


def _muted(rng: np.random.Generator, low: float, high: float) -> Array:
    """A muted BGR colour of a brightness between `low` and `high`."""
    return np.asarray(rng.uniform(low, high) * (1 + rng.uniform(-0.13, 0.13, 3)), np.float32)


def _window(image: Array, rng: np.random.Generator) -> None:
    x, y, width = rng.uniform(-0.1, 0.75), rng.uniform(-0.1, 0.15), rng.uniform(0.2, 0.35)
    _rectangle(image, x - 0.015, y - 0.03, x + width + 0.015, y + 0.68, (215, 222, 225))
    _rectangle(image, x, y, x + width, y + 0.65, np.array([238, 226, 208], np.float32) * rng.uniform(0.7, 1.05))
    _rectangle(image, x, y + 0.4, x + width, y + 0.65, np.array([150, 178, 150], np.float32) * rng.uniform(0.7, 1.1))
    _rectangle(image, x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + 0.65, (212, 218, 222))
    _rectangle(image, x, y + 0.30, x + width, y + 0.325, (212, 218, 222))


def _shelf(image: Array, rng: np.random.Generator) -> None:
    x, width = rng.uniform(-0.1, 0.7), rng.uniform(0.3, 0.45)
    for y in (0.12, 0.42, 0.72):
        _rectangle(image, x, y, x + width, y + 0.28, (58, 70, 84))
        at = x + 0.01
        while at < x + width - 0.03:
            thick, tall = rng.uniform(0.012, 0.03), rng.uniform(0.15, 0.24)
            _rectangle(image, at, y + 0.26 - tall, at + thick, y + 0.26, _muted(rng, 30, 170))
            at += thick + 0.003
        _rectangle(image, x - 0.01, y + 0.26, x + width + 0.01, y + 0.29, (74, 100, 128))


def _pictures(image: Array, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(2, 5)):
        (x, y), (width, height) = rng.uniform((0, 0.02), (0.9, 0.5)), rng.uniform((0.07, 0.14), (0.16, 0.28))
        _rectangle(image, x - 0.008, y - 0.014, x + width + 0.008, y + height + 0.014, _muted(rng, 20, 80))
        _rectangle(image, x, y, x + width, y + height, _muted(rng, 110, 210))
        _rectangle(image, x, y + height * rng.uniform(0.4, 0.7), x + width, y + height, _muted(rng, 60, 150))


def _door(image: Array, rng: np.random.Generator) -> None:
    x, wood = rng.uniform(0, 0.8), np.array([120, 150, 175], np.float32) * rng.uniform(0.5, 1.2)
    _rectangle(image, x - 0.015, 0.0, x + 0.235, 1.0, wood * 0.7)
    _rectangle(image, x, 0.02, x + 0.22, 1.0, wood)
    for y in (0.08, 0.55):
        _rectangle(image, x + 0.04, y, x + 0.18, y + 0.38, wood * 0.86)


def _curtain(image: Array, rng: np.random.Generator) -> None:
    w = image.shape[1]
    x, width = rng.choice([-0.02, 0.76]), 0.26
    left, right = max(0, int(x * w)), min(w, int((x + width) * w))
    folds = 0.8 + 0.2 * np.sin(np.linspace(0, rng.uniform(25, 45), right - left))
    image[:, left:right] = (_muted(rng, 80, 180) * folds[:, None]).astype(np.float32)


def _lamp(image: Array, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.4)
    _rectangle(image, x - 0.006, y, x + 0.006, 1.0, (40, 44, 50))
    _rectangle(image, x - 0.06, y, x + 0.06, y + 0.16, np.array([170, 215, 245], np.float32) * rng.uniform(0.8, 1.05))


OBJECTS = (_window, _shelf, _pictures, _door, _curtain, _lamp)
