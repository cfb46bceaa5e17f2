"""What stands before the camera: the triangles and points of occurrences, placed and sorted by material.

Both renderers draw from a Stage. Its coordinates are float32 in a frame of its own, in which all of it lies around
the origin with a radius of about 1, so that neither a building far from the origin nor a watch screw loses digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.axes import turn
from pixyz_worker.kernel.material import GREY, Material
from pixyz_worker.kernel.mesh import Mesh, moved
from pixyz_worker.kernel.scene import Occurrence

PLAIN = Material(name="plain", base_colour=GREY, roughness=0.7)
"""What a mesh without a material is drawn with."""
WHITE = Material(name="white", roughness=0.7)
"""What a mesh with colours of its own but without a material is drawn with."""
_POINT_LEVELS = (110, 116, 124, 255)
"""What points without a colour are drawn with: they have no shades, and are to be seen on white and on black."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Triangles that are drawn alike; their vertices lie side by side in the arrays of the stage."""

    material: Material
    """What they look like."""
    vertices: slice
    """Their vertices, in Stage.positions and its companions."""
    triangles: slice
    """Their triangles, in Stage.triangles."""
    smooth: bool
    """Whether the vertices have normals; else each triangle is flat."""
    textured: bool
    """Whether the material has textures and the vertices coordinates for them."""
    coloured: bool
    """Whether the vertices have colours."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Stage:
    """Triangles and points, ready to be drawn; the arrays are not written into."""

    positions: NDArray[numpy.float32]
    """Vertices in the frame of the stage, (n, 3)."""
    triangles: NDArray[numpy.uint32]
    """Numbers of the vertices of each triangle, (m, 3)."""
    normals: NDArray[numpy.float32] | None
    """Unit normals, (n, 3), zero in groups that are flat; None when all are."""
    uvs: NDArray[numpy.float32] | None
    """Texture coordinates, (n, 2), zero where there are none; None when no group is textured."""
    colours: NDArray[numpy.uint8] | None
    """Colours, (n, 4), white where there are none; None when no group is coloured."""
    groups: tuple[Group, ...]
    """The triangles by their look."""
    points: NDArray[numpy.float32]
    """Points of clouds in the frame of the stage, (k, 3)."""
    point_colours: NDArray[numpy.uint8]
    """Their colours, (k, 4)."""
    scale: float
    """A length in the frame of the stage for one metre."""
    shift: NDArray[numpy.float64]
    """Where the origin of the world lies in the frame of the stage, (3,)."""
    places: dict[Occurrence, list[NDArray[numpy.float32]]] = field(default_factory=dict)
    """For each occurrence that is shown, its vertices and points, as views."""

    def shown(self, roots: Sequence[Occurrence] | None = None) -> Iterator[NDArray[numpy.float32]]:
        """The vertices of the occurrences below some, or of all, in the frame of the stage."""
        if roots is None:
            yield self.positions
            yield self.points
            return
        for occurrence in dict.fromkeys(below for root in roots for below in root.walk()):
            yield from self.places.get(occurrence, ())


@dataclass(slots=True)
class _Pile:
    """The arrays of one group while they come in."""

    meshes: list[Mesh] = field(default_factory=list)
    owners: list[Occurrence] = field(default_factory=list)


_Key = tuple[Material, bool, bool, bool]


def set_up(roots: Sequence[Occurrence]) -> Stage:
    """Place what some occurrences and all below them show; what is hidden stays away.

    A scene that does not stand on y is turned so that it does. Exact shapes without triangles are tessellated.
    """
    _tessellate(roots)
    placed = [(occurrence, mesh, matrix) for occurrence, mesh, matrix in _placed(roots) if len(mesh.positions)]
    scale, shift = _frame([(mesh, matrix) for _, mesh, matrix in placed])
    norm = numpy.diag([scale, scale, scale, 1.0])
    norm[:3, 3] = shift
    piles: dict[_Key, _Pile] = {}
    clouds = _Pile()
    cut: dict[Mesh, list[tuple[Material | None, Mesh]]] = {}
    for occurrence, mesh, matrix in placed:
        if mesh not in cut:
            cut[mesh] = list(mesh.pieces())
        for material, piece in cut[mesh]:
            pile = clouds if piece.is_points else piles.setdefault(_key(material, piece), _Pile())
            pile.meshes.append(moved(piece, norm @ matrix))
            pile.owners.append(occurrence)
    return _joined(piles, clouds, scale, shift)


def _key(material: Material | None, mesh: Mesh) -> _Key:
    material = material or (PLAIN if mesh.colours is None else WHITE)
    textured = mesh.uvs is not None and bool(material.textures)
    return material, mesh.normals is not None, textured, mesh.colours is not None


def _joined(piles: dict[_Key, _Pile], clouds: _Pile, scale: float, shift: NDArray[numpy.float64]) -> Stage:
    meshes = [mesh for pile in piles.values() for mesh in pile.meshes]
    count, faces = sum(len(mesh.positions) for mesh in meshes), sum(len(mesh.triangles) for mesh in meshes)
    positions, triangles = numpy.empty((count, 3), numpy.float32), numpy.empty((faces, 3), numpy.uint32)
    normals = numpy.zeros((count, 3), numpy.float32) if any(key[1] for key in piles) else None
    uvs = numpy.zeros((count, 2), numpy.float32) if any(key[2] for key in piles) else None
    colours = numpy.full((count, 4), 255, numpy.uint8) if any(key[3] for key in piles) else None
    groups: list[Group] = []
    places: dict[Occurrence, list[NDArray[numpy.float32]]] = {}
    vertex = triangle = 0
    for key, pile in piles.items():
        first, start = vertex, triangle
        for mesh, owner in zip(pile.meshes, pile.owners, strict=True):
            here = slice(vertex, vertex + len(mesh.positions))
            positions[here] = mesh.positions
            _put(normals if key[1] else None, here, mesh.normals)
            _put(uvs if key[2] else None, here, mesh.uvs)
            _put(colours if key[3] else None, here, mesh.colours)
            triangles[triangle : triangle + len(mesh.triangles)] = mesh.triangles + numpy.uint32(vertex)
            places.setdefault(owner, []).append(positions[here])
            vertex, triangle = here.stop, triangle + len(mesh.triangles)
        groups.append(_group(key, slice(first, vertex), slice(start, triangle)))
    for mesh, owner in zip(clouds.meshes, clouds.owners, strict=True):
        places.setdefault(owner, []).append(mesh.positions)
    return Stage(
        positions=positions,
        triangles=triangles,
        normals=normals,
        uvs=uvs,
        colours=colours,
        groups=tuple(groups),
        points=_stacked([mesh.positions for mesh in clouds.meshes], numpy.float32, 3),
        point_colours=_stacked([_point_colours(mesh) for mesh in clouds.meshes], numpy.uint8, 4),
        scale=scale,
        shift=shift,
        places=places,
    )


def _put(target: NDArray[Any] | None, here: slice, source: NDArray[Any] | None) -> None:
    if target is not None:
        target[here] = source


def _group(key: _Key, vertices: slice, triangles: slice) -> Group:
    material, smooth, textured, coloured = key
    return Group(
        material=material,
        vertices=vertices,
        triangles=triangles,
        smooth=smooth,
        textured=textured,
        coloured=coloured,
    )


def _point_colours(mesh: Mesh) -> NDArray[numpy.uint8]:
    if mesh.colours is not None:
        return mesh.colours
    material = mesh.materials[0]
    levels = _POINT_LEVELS if material is None else material.srgb
    return numpy.tile(numpy.array(levels, numpy.uint8), (len(mesh.positions), 1))


def _stacked(arrays: list[Any], kind: Any, width: int) -> Any:
    return numpy.concatenate(arrays) if arrays else numpy.empty((0, width), kind)


def _placed(roots: Sequence[Occurrence]) -> Iterator[tuple[Occurrence, Mesh, NDArray[numpy.float64]]]:
    """What is shown below some occurrences, each once, with its place in a world whose y axis points up."""
    seen: set[Occurrence] = set()
    for root in roots:
        if not root.shown():
            continue
        scene = root.owner()
        upright = turn(scene.up, "y") if scene is not None and scene.up else numpy.eye(4)
        above = numpy.eye(4) if root.parent is None else root.parent.world()
        pending = [(root, upright @ above)]
        while pending:
            occurrence, matrix = pending.pop()
            if not occurrence.visible or occurrence in seen:
                continue
            seen.add(occurrence)
            here = matrix if occurrence.matrix is None else matrix @ occurrence.matrix
            if occurrence.part is not None and occurrence.part.mesh is not None:
                yield occurrence, occurrence.part.mesh, here
            pending.extend((child, here) for child in reversed(occurrence.children))


def _frame(placed: Sequence[tuple[Mesh, NDArray[numpy.float64]]]) -> tuple[float, NDArray[numpy.float64]]:
    """The scale and shift that bring the boxes of all meshes around the origin."""
    least, most = numpy.full(3, numpy.inf), numpy.full(3, -numpy.inf)
    boxes: dict[Mesh, NDArray[numpy.float64]] = {}
    for mesh, matrix in placed:
        if mesh not in boxes:
            boxes[mesh] = mesh.bounds
        low, high = boxes[mesh]
        middle = matrix[:3, :3] @ ((low + high) / 2) + matrix[:3, 3]
        half = numpy.abs(matrix[:3, :3]) @ ((high - low) / 2)
        least, most = numpy.minimum(least, middle - half), numpy.maximum(most, middle + half)
    if not numpy.isfinite(least).all():
        return 1.0, numpy.zeros(3)
    radius = float(numpy.linalg.norm(most - least)) / 2
    scale = 1 / radius if radius > 1e-30 else 1.0
    return scale, -(least + most) / 2 * scale


def _tessellate(roots: Sequence[Occurrence]) -> None:
    for scene in dict.fromkeys(root.owner() for root in roots):
        if scene is not None and any(part.mesh is None and part.brep is not None for part in scene.parts()):
            from pixyz_worker.kernel.algorithms import tessellation

            tessellation.ensure(scene)
