"""Small scenes that tests make: known geometry, known names and colours."""

from __future__ import annotations

from io import BytesIO

import numpy

from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

RED, BLUE, GREEN = (200, 30, 40), (20, 130, 240), (40, 180, 60)
QUADRANTS = {
    "upper left": (250, 120, 10),
    "upper right": (10, 200, 90),
    "lower left": (30, 60, 220),
    "lower right": (240, 240, 20),
}
"""Colours of the four quarters of picture()."""


def painted(name: str, colour: tuple[int, int, int]) -> Material:
    """A material of one sRGB colour."""
    return Material(name=name, base_colour=from_srgb(*(level / 255 for level in colour)))


def box(x: float = 1.0, y: float = 1.0, z: float = 1.0, material: Material | None = None) -> Mesh:
    """A closed box around the origin: 8 vertices, 12 triangles, all seen from outside."""
    signs = numpy.array([(i & 1, i >> 1 & 1, i >> 2 & 1) for i in range(8)], float) - 0.5
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    triangles = [corner for a, b, c, d in quads for corner in ((a, b, c), (a, c, d))]
    return make_mesh(signs * (x, y, z), triangles, materials=(material,))


def sphere(radius: float = 1.0, rings: int = 16, material: Material | None = None) -> Mesh:
    """A closed ball around the origin with twice as many segments as rings, smooth normals, all seen from outside."""
    segments = 2 * rings
    theta = numpy.linspace(0, numpy.pi, rings + 1)[1:-1, None]
    phi = numpy.linspace(0, 2 * numpy.pi, segments, endpoint=False)[None]
    ring = numpy.stack(
        [numpy.sin(theta) * numpy.cos(phi), numpy.cos(theta) + 0 * phi, -numpy.sin(theta) * numpy.sin(phi)], axis=-1
    )
    points = numpy.concatenate([ring.reshape(-1, 3), [[0, 1, 0], [0, -1, 0]]])
    top, bottom = len(points) - 2, len(points) - 1
    here = numpy.arange(segments)
    there = (here + 1) % segments
    triangles = [
        numpy.stack([numpy.full(segments, top), here, there], axis=1),
        numpy.stack(
            [numpy.full(segments, bottom), there + (rings - 2) * segments, here + (rings - 2) * segments], axis=1
        ),
    ]
    for row in range(rings - 2):
        a, b = here + row * segments, there + row * segments
        c, d = a + segments, b + segments
        triangles += [numpy.stack([a, c, d], axis=1), numpy.stack([a, d, b], axis=1)]
    return make_mesh(points * radius, numpy.concatenate(triangles), normals=points, materials=(material,))


def shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> numpy.ndarray:
    """A matrix that moves."""
    matrix = numpy.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def assembly() -> Scene:
    """A red box with an umlaut, and below a moved group a blue ball twice: 7 x 6 x 4 metres, y up, in millimetres.

    The box is 2 x 3 x 4; the balls have radius 0.5 and stand at (-3, 4, 0) and (3, 4, 0).
    """
    kasten = Part(name="Kasten Ä", mesh=box(2, 3, 4, painted("red", RED)))
    ball = Part(name="ball", mesh=sphere(0.5, 8, painted("blue", BLUE)))
    group = Occurrence(
        name="Gruppe",
        matrix=shift(y=4),
        children=[
            Occurrence(name="ball left", part=ball, matrix=shift(x=-3)),
            Occurrence(name="ball right", part=ball, matrix=shift(x=3)),
        ],
    )
    root = Occurrence(name="two parts", children=[Occurrence(name="Kasten Ä", part=kasten), group])
    return Scene(name="two parts", root=root, unit_m=0.001, up="y")


def picture(size: int = 8) -> bytes:
    """A PNG whose quarters have the colours of QUADRANTS."""
    from PIL import Image as Pillow

    image, half = Pillow.new("RGB", (size, size)), size // 2
    for name, place in {
        "upper left": (0, 0),
        "upper right": (half, 0),
        "lower left": (0, half),
        "lower right": (half, half),
    }.items():
        image.paste(QUADRANTS[name], (*place, place[0] + half, place[1] + half))
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def square(material: Material | None = None) -> Mesh:
    """A square from (0, 0, 0) to (1, 1, 0) that faces +z, with texture coordinates: the image stands upright on it."""
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    return make_mesh(
        corners,
        [[0, 1, 2], [0, 2, 3]],
        normals=[[0, 0, 1]] * 4,
        uvs=[[0, 1], [1, 1], [1, 0], [0, 0]],
        materials=(material,),
    )


def textured() -> Scene:
    """A square that shows picture()."""
    material = Material(name="paint", base_colour_texture=Texture(image=Image(name="quadrants", data=picture())))
    part = Part(name="square", mesh=square(material))
    root = Occurrence(name="textured", children=[Occurrence(name="square", part=part)])
    return Scene(name="textured", root=root, unit_m=1.0, up="y")


def points() -> Scene:
    """A red point at the origin and a blue one at (1, 2, 3)."""
    cloud = make_mesh([[0, 0, 0], [1, 2, 3]], colours=[(*RED, 255), (*BLUE, 255)])
    root = Occurrence(name="points", children=[Occurrence(name="points", part=Part(name="points", mesh=cloud))])
    return Scene(name="points", root=root, unit_m=1.0, up="y")


def everything() -> Scene:
    """assembly() and the square of textured() at (0, 10, 0), in one scene."""
    scene, square_scene = assembly(), textured()
    square_scene.root.matrix = shift(y=10)
    scene.take(square_scene)
    return scene
