"""Known geometry for the tests of algorithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import trimesh
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene


def box(size: float = 1.0) -> Mesh:
    """A cube around the origin: 8 vertices, 12 triangles."""
    shape = trimesh.creation.box((size, size, size))
    return make_mesh(shape.vertices, shape.faces)


def open_box() -> Mesh:
    """A cube without its lid: 10 triangles."""
    whole = box()
    heights = whole.positions[whole.triangles][:, :, 2]
    return make_mesh(whole.positions, whole.triangles[~(heights > 0).all(axis=1)])


def ball(radius: float = 1.0, detail: int = 3) -> Mesh:
    """An icosphere: 20 * 4 ** detail triangles."""
    shape = trimesh.creation.icosphere(subdivisions=detail, radius=radius)
    return make_mesh(shape.vertices, shape.faces)


def soup(mesh: Mesh) -> Mesh:
    """The same triangles, each with vertices of its own."""
    flat = mesh.triangles.reshape(-1)
    return make_mesh(mesh.positions[flat], numpy.arange(len(flat)).reshape(-1, 3))


def square(steps: int, height: float = 0.0) -> Mesh:
    """A square of 1 x 1 in steps x steps cells, bumpy by a height; texture coordinates (x, 1 - y)."""
    x, y = numpy.meshgrid(numpy.linspace(0, 1, steps + 1), numpy.linspace(0, 1, steps + 1))
    z = height * numpy.sin(9 * x) * numpy.sin(7 * y)
    number = numpy.arange((steps + 1) ** 2).reshape(steps + 1, steps + 1)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    lower, upper = numpy.stack([a, b, c], axis=-1), numpy.stack([a, c, d], axis=-1)
    return make_mesh(
        numpy.stack([x, y, z], axis=-1).reshape(-1, 3),
        numpy.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3)]),
        uvs=numpy.stack([x, 1 - y], axis=-1).reshape(-1, 2),
    )


def two_coloured(steps: int) -> Mesh:
    """A square that is red left of x = 0.5 and blue right of it."""
    mesh = square(steps)
    middles = mesh.positions[mesh.triangles].mean(axis=1)
    return make_mesh(
        mesh.positions,
        mesh.triangles,
        materials=(Material(name="red"), Material(name="blue")),
        triangle_materials=middles[:, 0] > 0.5,
    )


def globe(steps: int) -> Mesh:
    """A ball whose texture coordinates are longitude and latitude, with a seam and two poles, and exact normals."""
    u, v = numpy.meshgrid(numpy.linspace(0, 1, 2 * steps + 1), numpy.linspace(0, 1, steps + 1))
    along, down = 2 * numpy.pi * (u % 1), numpy.pi * v
    points = numpy.stack(
        [numpy.sin(down) * numpy.cos(along), numpy.sin(down) * numpy.sin(along), numpy.cos(down)], axis=-1
    )
    points[0], points[-1] = (0, 0, 1), (0, 0, -1)
    number = numpy.arange(u.size).reshape(u.shape)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    faces = [numpy.stack([a, d, c], axis=-1)[:-1].reshape(-1, 3), numpy.stack([a, c, b], axis=-1)[1:].reshape(-1, 3)]
    flat = points.reshape(-1, 3)
    return make_mesh(flat, numpy.concatenate(faces), uvs=numpy.stack([u, v], axis=-1).reshape(-1, 2), normals=flat)


def place(*shift: float, turn: Sequence[Sequence[float]] | None = None, scale: float = 1.0) -> NDArray[numpy.float64]:
    """A (4, 4) matrix."""
    matrix = numpy.eye(4)
    matrix[:3, :3] = scale * (numpy.eye(3) if turn is None else numpy.array(turn))
    matrix[:3, 3] = shift
    return matrix


def scene(*entries: Mesh | Part | Occurrence) -> Scene:
    """A scene whose root has one occurrence for each entry."""
    root = Occurrence(name="root")
    for number, entry in enumerate(entries):
        if isinstance(entry, Mesh):
            entry = Part(name=f"part {number}", mesh=entry)
        root.add(entry if isinstance(entry, Occurrence) else Occurrence(name=entry.name, part=entry))
    return Scene(name="scene", root=root)


def is_closed(mesh: Mesh) -> bool:
    """Whether each edge has two triangles, after equal positions were joined."""
    counts = adjacency.edge_counts(adjacency.distinct(mesh.positions)[1][mesh.triangles])[1]
    return bool((counts == 2).all())


def area(mesh: Mesh) -> float:
    """Area in square metres."""
    first, second, third = (mesh.positions[mesh.triangles[:, number]].astype(float) for number in range(3))
    return float(numpy.linalg.norm(numpy.cross(second - first, third - first), axis=1).sum() / 2)


def volume(mesh: Mesh) -> float:
    """Volume in cubic metres of a closed mesh, negative inside out."""
    first, second, third = (mesh.positions[mesh.triangles[:, number]].astype(float) for number in range(3))
    return float(numpy.einsum("ij,ij->i", first, numpy.cross(second, third)).sum() / 6)
