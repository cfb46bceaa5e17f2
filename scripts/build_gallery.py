#!/usr/bin/env python3
"""Build docs/gallery.md and its pictures: samples drawn by both renderers, side by side.

    python scripts/build_gallery.py

The models are samples/bracket_assembly.step and a few that are made here of formulas. Without the extra `render` the
column of VTK says so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import trimesh

from pixyz_worker.exception import InternalError, InvalidBackendParameter
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.pictures.viewer import GpuScene, Viewer
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

ROOT = Path(__file__).resolve().parents[1]
PAGE, FOLDER = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
SIZE = 320
RENDERERS = {"embree": "Ray caster (embree)", "vtk": "VTK (extra `render`)"}
INTRODUCTION = """\
# Gallery

The same scenes by both renderers. The light, the camera and the colours are one; the ray caster adds soft shadows
where little light reaches. Backgrounds are transparent. `python scripts/build_gallery.py` makes this page.
"""


def bracket() -> Scene:
    """The STEP assembly of the repository."""
    return read_scene(ROOT / "samples" / "bracket_assembly.step")


def crate() -> Scene:
    """A box and a ball whose colours are images."""
    box = trimesh.creation.box((1, 1, 1))
    corners = box.vertices[box.faces].reshape(-1, 3)
    normals = numpy.repeat(box.face_normals, 3, axis=0)
    flat = numpy.abs(normals)
    across = numpy.where(flat[:, :1] > 0.5, corners[:, [2, 1]], numpy.where(flat[:, 1:2] > 0.5, corners[:, [0, 2]], 0))
    across = numpy.where(flat[:, 2:] > 0.5, corners[:, [0, 1]], across)
    wood = Material(name="wood", base_colour_texture=Texture(image=_image(_planks())), roughness=0.75)
    crate = make_mesh(
        corners, numpy.arange(36).reshape(-1, 3), normals=normals, uvs=(0.5, 0.5) - across * (-1, 1), materials=(wood,)
    )
    ball = _ball(0.42, _checker_material())
    return _scene(_shown(crate), _shown(ball, (0.95, -0.08, 0.35)))


def metals() -> Scene:
    """Balls from rough to smooth, from plastic to metal."""
    colours = (from_srgb(0.85, 0.2, 0.16), from_srgb(0.95, 0.75, 0.35), from_srgb(0.9, 0.91, 0.92))
    balls = []
    for row, (colour, metalness) in enumerate(zip(colours, (0.0, 1.0, 1.0), strict=True)):
        for column, roughness in enumerate((0.08, 0.25, 0.45, 0.7, 0.95)):
            material = Material(base_colour=colour, metalness=metalness, roughness=roughness)
            balls.append(_shown(_ball(0.45, material), (column, -row, 0)))
    return _scene(*balls)


def glass() -> Scene:
    """A ring in a box of glass."""
    tint = Material(name="glass", base_colour=from_srgb(0.6, 0.85, 0.95, 0.28), roughness=0.05, alpha_mode="blend")
    gold = Material(name="gold", base_colour=from_srgb(1.0, 0.78, 0.34), metalness=1.0, roughness=0.25)
    stone = Material(name="stone", base_colour=from_srgb(0.35, 0.37, 0.4), roughness=0.8)
    box, foot = trimesh.creation.box((1.6, 1.2, 1.6)), trimesh.creation.box((2.0, 0.15, 2.0))
    ring = trimesh.creation.torus(0.45, 0.16, major_sections=96, minor_sections=48)
    return _scene(_shown(_flat(foot, stone), (0, -0.68, 0)), _shown(_smooth(ring, gold)), _shown(_flat(box, tint)))


def terrain() -> Scene:
    """Hills with a colour for each vertex."""
    count = 160
    x, z = numpy.meshgrid(numpy.linspace(-3, 3, count), numpy.linspace(-3, 3, count))
    height = (
        0.45 * numpy.sin(1.3 * x) * numpy.cos(1.1 * z) + 0.2 * numpy.sin(2.9 * x + 1.7 * z) + 0.1 * numpy.cos(5 * z)
    )
    corner = (numpy.arange(count - 1)[:, None] * count + numpy.arange(count - 1)).reshape(-1, 1)
    triangles = numpy.concatenate([numpy.add(corner, (0, count, 1)), numpy.add(corner, (1, count, count + 1))])
    points = numpy.stack([x, height, z], axis=-1).reshape(-1, 3)
    stops = numpy.array([-0.7, -0.3, 0.0, 0.35, 0.7])
    shades = numpy.array([(40, 90, 160), (210, 200, 140), (90, 150, 60), (110, 95, 75), (245, 245, 248)])
    colours = numpy.stack([numpy.interp(points[:, 1], stops, shades[:, part]) for part in range(3)], axis=1)
    opaque = numpy.concatenate([colours, numpy.full((len(colours), 1), 255)], axis=1).astype(numpy.uint8)
    normals = trimesh.Trimesh(points, triangles, process=False).vertex_normals
    return _scene(_shown(make_mesh(points, triangles, normals=normals, colours=opaque)))


def points() -> Scene:
    """A knot of points."""
    turn = numpy.linspace(0, 2 * math.pi, 9000, endpoint=False)
    spread = numpy.random.default_rng(5).normal(size=(len(turn), 3)) * 0.1
    radius = 2 + numpy.cos(3 * turn)
    knot = numpy.stack([radius * numpy.cos(2 * turn), numpy.sin(3 * turn), radius * numpy.sin(2 * turn)], axis=1)
    hue = numpy.stack([numpy.cos(turn + shift) for shift in (0, 2.1, 4.2)], axis=1) * 100 + 140
    colours = numpy.concatenate([hue, numpy.full((len(turn), 1), 255)], axis=1).astype(numpy.uint8)
    return _scene(_shown(make_mesh(knot + spread, colours=colours)))


def gear() -> Scene:
    """A steel gear with a bore."""
    teeth, steps = 18, 8
    count = teeth * steps
    angle = numpy.arange(count) / count * 2 * math.pi
    rise = numpy.clip(1.6 * numpy.cos(angle * teeth) + 0.5, 0, 1)
    outer = (1.0 + 0.18 * rise)[:, None] * numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)
    inner = 0.38 * numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)
    rings = [(outer, 0.18), (inner, 0.18), (inner, -0.18), (outer, -0.18)]
    vertices = numpy.concatenate([numpy.column_stack([ring, numpy.full(count, z)]) for ring, z in rings])
    here, beside = numpy.arange(count), (numpy.arange(count) + 1) % count
    triangles = []
    for number in range(4):
        one, two = number * count, (number + 1) % 4 * count
        triangles.append(numpy.stack([one + here, one + beside, two + here], axis=1))
        triangles.append(numpy.stack([one + beside, two + beside, two + here], axis=1))
    steel = Material(name="steel", base_colour=from_srgb(0.62, 0.66, 0.72), metalness=0.9, roughness=0.35)
    return _scene(_shown(make_mesh(vertices, numpy.concatenate(triangles), materials=(steel,))))


SAMPLES: dict[str, tuple[str, Callable[[], Scene], tuple[float, float, float]]] = {
    "bracket": ("Bracket assembly (STEP)", bracket, (-0.5, -0.5, -1)),
    "crate": ("Textures", crate, (-0.5, -0.45, -1)),
    "metals": ("Plastic and metals, smooth to rough", metals, (0, 0, -1)),
    "glass": ("Glass", glass, (-0.5, -0.4, -1)),
    "terrain": ("A colour for each vertex", terrain, (-0.5, -0.7, -1)),
    "points": ("Points", points, (-0.3, -0.6, -1)),
    "gear": ("A gear, flat shading", gear, (-0.6, -0.35, -1)),
}


def main() -> None:
    """Draw everything and write the page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [INTRODUCTION, f"| | {' | '.join(RENDERERS.values())} |", "|---|---|---|"]
    for name, (title, make, direction) in SAMPLES.items():
        scene = make()
        cells = [_cell(name, title, renderer, scene, direction) for renderer in RENDERERS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(name: str, title: str, renderer: str, scene: Scene, direction: tuple[float, float, float]) -> str:
    viewer = Viewer(SIZE, SIZE)
    viewer.add(GpuScene((scene.root,)))
    viewer.set("ShowBackground", "False")
    viewer.set("Renderer", renderer)
    target = FOLDER / f"{name}_{renderer}.png"
    try:
        viewer.fit_camera(direction, "perspective", 40)
        viewer.take_screenshot(target)
    except (InternalError, InvalidBackendParameter) as error:
        return str(error)
    finally:
        viewer.destroy()
    PIL.Image.open(target).save(target, optimize=True)
    print(target.relative_to(ROOT), target.stat().st_size)
    return f"![{title}, {renderer}](gallery/{target.name})"


def _scene(*shown: Occurrence) -> Scene:
    return Scene(name="sample", root=Occurrence(children=list(shown)), up="y")


def _shown(mesh: Any, place: tuple[float, float, float] = (0, 0, 0)) -> Occurrence:
    return Occurrence(part=Part(mesh=mesh), matrix=trimesh.transformations.translation_matrix(place))


def _flat(mesh: Any, material: Material) -> Any:
    return make_mesh(mesh.vertices, mesh.faces, materials=(material,))


def _smooth(mesh: Any, material: Material) -> Any:
    return make_mesh(mesh.vertices, mesh.faces, normals=mesh.vertex_normals, materials=(material,))


def _ball(radius: float, material: Material) -> Any:
    """A sphere with texture coordinates that run around it."""
    rows, columns = 40, 80
    down, around = numpy.meshgrid(numpy.linspace(0, 1, rows + 1), numpy.linspace(0, 1, columns + 1), indexing="ij")
    polar, angle = down * math.pi, around * 2 * math.pi
    shape = [numpy.sin(polar) * numpy.sin(angle), numpy.cos(polar), numpy.sin(polar) * numpy.cos(angle)]
    normals = numpy.stack(shape, axis=-1).reshape(-1, 3)
    corner = (numpy.arange(rows)[:, None] * (columns + 1) + numpy.arange(columns)).reshape(-1, 1)
    upper, lower = (0, columns + 1, 1), (1, columns + 1, columns + 2)
    triangles = numpy.concatenate([numpy.add(corner, upper), numpy.add(corner, lower)])
    uvs = numpy.stack([around, down], axis=-1).reshape(-1, 2)
    return make_mesh(normals * radius, triangles, normals=normals, uvs=uvs, materials=(material,))


def _image(pixels: Any) -> Image:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return Image(name="painted", data=file.getvalue())


def _planks() -> Any:
    """Five painted boards with grain, in a frame, and a green mark."""
    side = 256
    y, x = numpy.mgrid[0:side, 0:side] / side
    board = numpy.floor(y * 5)
    grain = numpy.sin(90 * (y + 0.03 * numpy.sin(7 * x + 3 * board)) + 5 * board) * 0.5 + 0.5
    tone = 0.82 + 0.12 * numpy.sin(board * 12.9) + 0.1 * grain
    pixels = numpy.array([186, 132, 78]) * tone[..., None]
    gap = numpy.abs(y * 5 - numpy.round(y * 5)) < 0.03
    frame = numpy.minimum(numpy.minimum(x, 1 - x), numpy.minimum(y, 1 - y))
    pixels[gap] *= 0.45
    pixels[frame < 0.09] = (numpy.array([120, 78, 44]) * tone[..., None])[frame < 0.09]
    pixels[(frame > 0.085) & (frame < 0.095)] = (60, 38, 22)
    away = numpy.hypot(x - 0.5, y - 0.5)
    mark = ((away < 0.2) & (away > 0.16)) | ((numpy.abs(x - 0.5) < 0.02) & (numpy.abs(y - 0.45) < 0.1))
    pixels[mark] = (38, 92, 66)
    return pixels.clip(0, 255).astype(numpy.uint8)


def _checker_material() -> Material:
    y, x = numpy.mgrid[0:64, 0:64] // 8
    pixels = numpy.where(((x + y) % 2 == 0)[..., None], (235, 235, 230), (30, 90, 150)).astype(numpy.uint8)
    return Material(base_colour_texture=Texture(image=_image(pixels), scale=(2.0, 1.0)), roughness=0.3)


if __name__ == "__main__":
    main()
