"""Blender: materials, meshes, eyes, clothes, lamps and camera."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import bpy

import bmesh  # isort: skip (exists only once bpy is loaded)
import numpy as np
from mathutils import Vector

from rendering.body import Array, Head, Mesh
from rendering.look import Look, Rgb

SIZE_PX = int(os.environ.get("RENDER_PX", "640"))
SAMPLES = int(os.environ.get("RENDER_SAMPLES", "40"))


def shader(name: str) -> tuple[object, object, object]:
    """A new material; returns it, its principled node and its node tree."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    return material, material.node_tree.nodes["Principled BSDF"], material.node_tree


def blend(tree: object, factor: object, low: object, high: object) -> object:
    """A colour mix node; every argument is a socket or a constant. Returns its output."""
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type = "RGBA"
    for socket, value in ((node.inputs[0], factor), (node.inputs[6], low), (node.inputs[7], high)):
        if hasattr(value, "is_output"):
            tree.links.new(value, socket)
        else:
            socket.default_value = value if isinstance(value, float) else (*value, 1.0)
    return node.outputs[2]


def ramp(tree: object, value: object, low: float, high: float) -> object:
    """Map `value` from low..high to 0..1, clamped."""
    node = tree.nodes.new("ShaderNodeMapRange")
    node.inputs["From Min"].default_value, node.inputs["From Max"].default_value = low, high
    tree.links.new(value, node.inputs["Value"])
    return node.outputs["Result"]


def times(tree: object, a: object, b: object) -> object:
    """Product of two sockets, or of a socket and a number."""
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = "MULTIPLY"
    for socket, value in zip(node.inputs[:2], (a, b), strict=True):
        if hasattr(value, "is_output"):
            tree.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs[0]


def noise(tree: object, scale: float, detail: float = 3.0) -> object:
    """Fractal noise over object coordinates (decimetres)."""
    node, where = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeTexCoord")
    node.inputs["Scale"].default_value, node.inputs["Detail"].default_value = scale, detail
    tree.links.new(where.outputs["Object"], node.inputs["Vector"])
    return node.outputs["Fac"]


def picture(tree: object, path: Path) -> object:
    """A grey mask in texture space."""
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path), check_existing=True)
    node.image.colorspace_settings.name = "Non-Color"
    return node.outputs["Color"]


def attribute(tree: object, name: str) -> object:
    """A named vertex attribute."""
    node = tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = name
    return node.outputs["Fac"]


def scaled(colour: Rgb, by: float | Rgb) -> Rgb:
    """A colour times a number or channel by channel."""
    factors = (by, by, by) if isinstance(by, float) else by
    return tuple(min(1.0, c * f) for c, f in zip(colour, factors, strict=True))


def skin_material(look: Look, root: Path) -> object:
    """Skin: blotches, blush, freckles, lips, lids, beard shadow, pores; light goes under it."""
    material, node, tree = shader("skin")
    tone = look.skin
    colour = blend(
        tree,
        ramp(tree, noise(tree, 3.5), 0.35, 0.65),
        scaled(tone, (0.90, 0.84, 0.82)),
        scaled(tone, (1.06, 1.08, 1.10)),
    )
    colour = blend(tree, times(tree, attribute(tree, "blush"), 0.55), colour, scaled(tone, (1.05, 0.62, 0.60)))
    colour = blend(
        tree,
        times(tree, ramp(tree, noise(tree, 42, 1.0), 0.60, 0.70), 0.12 + 0.55 * look.freckles),
        colour,
        scaled(tone, (0.62, 0.48, 0.40)),
    )
    lids = picture(tree, root / "textures/mpfb_eyelids.jpg")
    colour = blend(tree, times(tree, lids, 0.35), colour, scaled(tone, (0.72, 0.55, 0.52)))
    shadow = times(
        tree, attribute(tree, "beard"), times(tree, ramp(tree, noise(tree, 120, 1.0), 0.35, 0.6), 0.45 * look.stubble)
    )
    colour = blend(tree, shadow, colour, scaled(tone, (0.40, 0.42, 0.46)))
    buzz = times(tree, attribute(tree, "scalp"), 0.75 if look.style != "bald" else 0.30)
    colour = blend(tree, buzz, colour, look.hair)
    lip = look.lipstick or scaled(tone, (0.80, 0.50, 0.52))
    lips = picture(tree, root / "textures/mpfb_lips.jpg")
    colour = blend(tree, times(tree, lips, 0.85), colour, lip)
    tree.links.new(colour, node.inputs["Base Color"])
    node.inputs["Roughness"].default_value = 0.48
    node.inputs["Subsurface Weight"].default_value = 0.25
    node.inputs["Subsurface Radius"].default_value = (1.0, 0.35, 0.2)
    node.inputs["Subsurface Scale"].default_value = 0.06
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.20 + 0.30 * look.age
    bump.inputs["Distance"].default_value = 0.02
    tree.links.new(noise(tree, 55, 4.0), bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], node.inputs["Normal"])
    return material


def eye_material(look: Look) -> object:
    """White, iris with a dark rim, pupil: rings about the optical axis (object z)."""
    material, node, tree = shader("eye")
    where, split = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(where.outputs["Object"], split.inputs[0])
    z = split.outputs["Z"]  # the ball has radius 1 in object space
    streaks = ramp(tree, noise(tree, 9.0), 0.3, 0.7)
    iris = blend(tree, streaks, scaled(look.iris, 0.6), scaled(look.iris, 1.5))
    iris = blend(tree, ramp(tree, z, 0.890, 0.865), iris, scaled(look.iris, 0.12))
    white = blend(tree, ramp(tree, z, 0.2, 0.75), (0.42, 0.27, 0.24), (0.52, 0.48, 0.45))
    colour = blend(tree, ramp(tree, z, 0.845, 0.868), white, iris)
    colour = blend(tree, ramp(tree, z, 0.972, 0.980), colour, (0.004, 0.004, 0.004))
    tree.links.new(colour, node.inputs["Base Color"])
    node.inputs["Roughness"].default_value = 0.06
    return material


def plain_material(name: str, colour: Rgb, roughness: float, weave: float = 0.0) -> object:
    """One colour, with a fine weave where it is cloth."""
    material, node, tree = shader(name)
    if weave:
        mixed = blend(tree, ramp(tree, noise(tree, weave), 0.3, 0.7), scaled(colour, 0.75), scaled(colour, 1.15))
        tree.links.new(mixed, node.inputs["Base Color"])
    else:
        node.inputs["Base Color"].default_value = (*colour, 1.0)
    node.inputs["Roughness"].default_value = roughness
    return material


def hair_material(colour: Rgb) -> object:
    """Cycles' hair shader, the colour varying from strand to strand."""
    material = bpy.data.materials.new("hair")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    node, out = tree.nodes.new("ShaderNodeBsdfHairPrincipled"), tree.nodes.new("ShaderNodeOutputMaterial")
    info = tree.nodes.new("ShaderNodeHairInfo")
    tree.links.new(
        blend(tree, info.outputs["Random"], scaled(colour, 0.65), scaled(colour, 1.35)), node.inputs["Color"]
    )
    node.inputs["Roughness"].default_value = 0.38
    node.inputs["Radial Roughness"].default_value = 0.45
    tree.links.new(node.outputs[0], out.inputs["Surface"])
    return material


def link(data: object, material: object) -> object:
    """Put mesh or curve data with one material into the scene."""
    data.materials.append(material)
    thing = bpy.data.objects.new(data.name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def add_mesh(
    name: str, mesh: Mesh, keep: list[int], material: object, values: dict[str, Array] | None = None, levels: int = 2
) -> object:
    """Add the faces `keep` of `mesh`, smooth and subdivided, with per-vertex attributes."""
    used = sorted({v for i in keep for v in mesh.faces[i]})
    renumber = {v: k for k, v in enumerate(used)}
    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(mesh.points[v]) for v in used], [], [[renumber[v] for v in mesh.faces[i]] for i in keep])
    layer = data.uv_layers.new(name="uv")
    layer.data.foreach_set("uv", np.array([uv for i in keep for uv in mesh.uv[i]], np.float32).ravel())
    for label, numbers in (values or {}).items():
        data.attributes.new(label, "FLOAT", "POINT").data.foreach_set("value", numbers[used].astype(np.float32))
    data.polygons.foreach_set("use_smooth", [True] * len(keep))
    thing = link(data, material)
    if levels:
        modifier = thing.modifiers.new("smooth", "SUBSURF")
        modifier.levels = modifier.render_levels = levels
    return thing


def add_strands(name: str, strands: Array, radius: float, material: object) -> None:
    """Add strands (n, points, 3) as hair curves that taper to their tips."""
    count, steps, _ = strands.shape
    data = bpy.data.hair_curves.new(name)
    data.add_curves([steps] * count)
    data.attributes["position"].data.foreach_set("vector", strands.astype(np.float32).ravel())
    taper = np.tile(np.linspace(1.0, 0.25, steps) ** 0.6 * radius, count).astype(np.float32)
    widths = data.attributes.get("radius") or data.attributes.new("radius", "FLOAT", "POINT")
    widths.data.foreach_set("value", taper)
    link(data, material)


def add_eyes(head: Head, look: Look) -> None:
    """Two eyeballs that look into the camera."""
    ball = bmesh.new()
    bmesh.ops.create_uvsphere(ball, u_segments=64, v_segments=32, radius=1.0)
    data = bpy.data.meshes.new("eye")
    ball.to_mesh(data)
    data.polygons.foreach_set("use_smooth", [True] * len(data.polygons))
    data.materials.append(eye_material(look))
    for centre in head.eyes:
        thing = bpy.data.objects.new("eye", data)
        bpy.context.scene.collection.objects.link(thing)
        thing.location, thing.scale = tuple(centre), (head.eye_radius,) * 3
        thing.rotation_euler = (0.0, -0.04 * math.copysign(1, centre[0]), 0.0)


def add_shirt(mesh: Mesh, head: Head, look: Look) -> None:
    """A T-shirt: the body-suit helper, cut by a tilted plane to a round neck, slightly loose."""
    low = head.chin - 4.6
    keep = [
        i
        for i, g in enumerate(mesh.groups)
        if g.startswith("helper-tights") and mesh.points[mesh.faces[i], 1].min() > low
    ]
    thing = add_mesh("shirt", mesh, keep, plain_material("cloth", look.shirt, 0.85, weave=60), levels=1)
    solid = thing.modifiers.new("loose", "SOLIDIFY")
    solid.thickness, solid.offset = 0.05, 1.0
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.bisect(plane_co=(0, head.neck, 0.3), plane_no=(0, 1.0, 0.62), clear_outer=True)
    bpy.ops.object.mode_set(mode="OBJECT")


def add_light(where: tuple[float, float, float], target: Array, watts: float, size: float, colour: Rgb) -> None:
    """A square lamp that shines at `target`."""
    data = bpy.data.lights.new("lamp", "AREA")
    data.energy, data.size, data.color = watts, size, colour
    lamp = bpy.data.objects.new("lamp", data)
    bpy.context.scene.collection.objects.link(lamp)
    lamp.location = where
    lamp.rotation_euler = (Vector(target) - Vector(where)).to_track_quat("-Z", "Y").to_euler()


def set_stage(head: Head, look: Look) -> None:
    """Camera, lamps, world and render settings."""
    scene = bpy.context.scene
    aim = np.array([0.0, head.eye_y - 0.95, head.front])
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.sensor_width, camera.data.lens = 36.0, 36.0 * 20 / 5.3  # 5.3 dm wide at 20 dm
    camera.location = (aim[0], aim[1], aim[2] + 20)
    scene.collection.objects.link(camera)
    scene.camera = camera
    rng = random.Random(look.seed)  # noqa: S311
    side = look.key_side
    add_light((side * rng.uniform(7, 11), aim[1] + rng.uniform(4, 8), aim[2] + 12), aim, 4200, 6, (1.0, 0.95, 0.88))
    add_light((-side * 13, aim[1] + 1, aim[2] + 9), aim, 1300, 9, (0.85, 0.92, 1.0))
    add_light((-side * 6, aim[1] + 6, aim[2] - 10), aim, 2200, 4, (1.0, 1.0, 1.0))
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.30, 0.32, 0.35, 1)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.seed = SAMPLES, True, look.seed
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.render.resolution_x = scene.render.resolution_y = SIZE_PX
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
