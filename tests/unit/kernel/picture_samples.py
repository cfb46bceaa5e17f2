"""Small scenes to draw, and what is looked for in their pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy
import PIL.Image

from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.pictures.camera import fit
from pixyz_worker.kernel.pictures.look import Look
from pixyz_worker.kernel.pictures.picture import open_renderer
from pixyz_worker.kernel.pictures.stage import set_up
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

FRONT = (0, 0, -1)
ISO = (-0.5, -0.5, -1)
RED, GREEN, BLUE, WHITE = (200, 40, 30), (40, 170, 60), (40, 70, 200), (230, 230, 230)


def paint(colour: tuple[int, ...], **changes: Any) -> Material:
    """A dull material of an 8-bit sRGB colour."""
    return Material(**{"base_colour": from_srgb(*(part / 255 for part in colour)), "roughness": 0.9, **changes})


def box(material: Material | None = None, size: tuple[float, float, float] = (1, 1, 1)) -> Mesh:
    """A box around the origin, without normals."""
    corners = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [corner for a, b, c, d in sides for corner in ((a, b, c), (a, c, d))]
    return make_mesh(numpy.multiply(corners, size), triangles, materials=(material,))


def square(material: Material | None = None, **arrays: Any) -> Mesh:
    """A square that faces the front, with an image upright on it."""
    corners = [[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]
    uvs = [[0, 1], [1, 1], [1, 0], [0, 0]]
    return make_mesh(corners, [[0, 1, 2], [0, 2, 3]], **{"uvs": uvs, "materials": (material,), **arrays})


def shown(mesh: Mesh, place: tuple[float, float, float] = (0, 0, 0)) -> Occurrence:
    """An occurrence of a mesh at a place."""
    matrix = numpy.eye(4)
    matrix[:3, 3] = place
    return Occurrence(part=Part(mesh=mesh), matrix=matrix)


def scene(*occurrences: Occurrence, up: Any = "y") -> Scene:
    """A scene of some occurrences."""
    return Scene(name="sample", root=Occurrence(children=list(occurrences)), up=up)


def quarters(mode: str = "RGB") -> Image:
    """An image: red and green above, blue and white below; 8 x 8 pixels."""
    pixels = numpy.empty((8, 8, 3), numpy.uint8)
    pixels[:4, :4], pixels[:4, 4:], pixels[4:, :4], pixels[4:, 4:] = RED, GREEN, BLUE, WHITE
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).convert(mode, palette=PIL.Image.Palette.ADAPTIVE).save(file, "PNG")
    return Image(name="quarters", data=file.getvalue())


def draw(
    drawn: Scene,
    renderer: Any,
    *,
    direction: tuple[float, float, float] = FRONT,
    size: tuple[int, int] = (64, 64),
    kind: Any = "perspective",
    look: Look | None = None,
) -> Any:
    """A picture of a whole scene, as signed numbers that can be subtracted."""
    stage = set_up([drawn.root])
    inside = fit(direction, stage.shown(), width=size[0], height=size[1], kind=kind)
    camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
    with open_renderer(stage, renderer) as open_one:
        return open_one.draw(camera, look or Look()).astype(int)


def mixed_scene(texture: Image | None = None) -> Scene:
    """A box, a painted square, a ball of metal, glass, and points."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.6)
    gold = Material(base_colour=from_srgb(0.9, 0.7, 0.3), metalness=1.0, roughness=0.3)
    glass = paint((120, 200, 230, 110), alpha_mode="blend")
    grid = numpy.stack(numpy.meshgrid(*[numpy.linspace(-0.3, 0.3, 5)] * 3), axis=-1).reshape(-1, 3)
    picture = texture or quarters()
    return scene(
        shown(box(paint(RED))),
        shown(square(Material(base_colour_texture=Texture(image=picture))), (1.3, 0, 0)),
        shown(make_mesh(ball.vertices, ball.faces, normals=ball.vertex_normals, materials=(gold,)), (0, 1.3, 0)),
        shown(box(glass), (1.3, 1.3, 0)),
        shown(make_mesh(grid, materials=(paint(BLUE),)), (-1.2, 0.5, 0)),
    )
