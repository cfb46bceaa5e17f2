"""What can be said of a scene whatever format it came through: the tests compare these."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy

from pixyz_worker.kernel.axes import turn
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

Colour = tuple[int, int, int]


def placed_positions(scene: Scene) -> list[numpy.ndarray]:
    """The vertices of each instance, in metres, standing on y."""
    standing = turn(scene.up or "y", "y")
    found = []
    for occurrence in scene.instances():
        assert occurrence.part is not None
        if occurrence.part.mesh is not None:
            matrix = standing @ occurrence.world()
            found.append(occurrence.part.mesh.positions @ matrix[:3, :3].T + matrix[:3, 3])
    return found


def extents(scene: Scene) -> list[float]:
    """Size of the scene along x, y and z, in metres, standing on y."""
    points = numpy.concatenate(placed_positions(scene))
    size: list[float] = (points.max(axis=0) - points.min(axis=0)).tolist()
    return size


def area(scene: Scene) -> float:
    """Area of all triangles, in square metres."""
    total = 0.0
    for occurrence in scene.instances():
        assert occurrence.part is not None
        mesh = occurrence.part.mesh
        if mesh is not None and len(mesh.triangles):
            corners = (mesh.positions @ occurrence.world()[:3, :3].T)[mesh.triangles]
            sides = numpy.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            total += float(numpy.linalg.norm(sides, axis=1).sum()) / 2
    return total


def volume(scene: Scene) -> float:
    """Signed volume of all triangles, in cubic metres: negative when they show their backs."""
    total = 0.0
    for points, occurrence in zip(placed_positions(scene), scene.instances(), strict=True):
        assert occurrence.part is not None and occurrence.part.mesh is not None
        a, b, c = (points[occurrence.part.mesh.triangles[:, corner]] for corner in range(3))
        total += float((numpy.cross(a, b) * c).sum()) / 6
    return total


def names(scene: Scene) -> set[str]:
    """The names of the instances and of their parts."""
    instances = scene.instances()
    return {o.name for o in instances} | {o.part.name for o in instances if o.part is not None}


def has_name(scene: Scene, word: str) -> bool:
    """Whether a word stands in one of the names."""
    return any(word in name for name in names(scene))


def paths(scene: Scene) -> list[tuple[str, ...]]:
    """For each instance the names of the groups above it that hold several things together, the top one left out."""
    top = scene.root
    while top.part is None and len(top.children) == 1:
        top = top.children[0]
    found = []
    for occurrence in scene.instances():
        above, path = occurrence.parent, list[str]()
        while above is not None and above is not top:
            if len(above.children) > 1:
                path.append(above.name)
            above = above.parent
        found.append(tuple(path))
    return sorted(found)


def counts(scene: Scene) -> tuple[int, int]:
    """How many different parts there are, and how many instances."""
    return len(scene.parts()), len(scene.instances())


def colours(scene: Scene) -> set[Colour]:
    """The sRGB colours that are shown: of vertices, else of plain materials."""
    found: set[Colour] = set()
    for part in scene.parts():
        if part.mesh is None:
            continue
        if part.mesh.colours is not None:
            found |= {tuple(map(int, row)) for row in numpy.unique(part.mesh.colours[:, :3], axis=0)}  # type: ignore[misc]
        else:
            found |= {_plain(material) for material in part.mesh.materials if material and not material.textures}
    return found


def close(wanted: Colour, found: set[Colour], tolerance: int = 3) -> bool:
    """Whether a colour is among others, but for rounding."""
    return any(max(abs(a - b) for a, b in zip(wanted, other, strict=True)) <= tolerance for other in found)


def quadrants(scene: Scene) -> dict[str, Colour] | None:
    """The colours that a textured square shows in its four quarters, by the texture coordinates there; else None."""
    from PIL import Image

    for occurrence in scene.instances():
        part: Part | None = occurrence.part
        texture = _texture(part)
        if part is None or part.mesh is None or part.mesh.uvs is None or texture is None:
            continue
        picture = Image.open(BytesIO(texture.image.data)).convert("RGB")
        points, uvs = _upright(scene, occurrence), part.mesh.uvs
        return {name: _shown(picture, points, uvs, place) for name, place in _PLACES.items()}
    return None


_PLACES = {"lower left": (0, 0), "lower right": (1, 0), "upper left": (0, 1), "upper right": (1, 1)}


def _upright(scene: Scene, occurrence: Occurrence) -> numpy.ndarray:
    """The vertices of a part, x and y from 0 to 1 as one sees it from the front."""
    assert occurrence.part is not None and occurrence.part.mesh is not None
    matrix = turn(scene.up or "y", "y") @ occurrence.world()
    points = (occurrence.part.mesh.positions @ matrix[:3, :3].T)[:, :2]
    result: numpy.ndarray = (points - points.min(axis=0)) / numpy.ptp(points, axis=0)
    return result


def _shown(picture: Any, points: numpy.ndarray, uvs: numpy.ndarray, place: tuple[int, int]) -> Colour:
    """The colour of a picture a little inside of the corner nearest to a place."""
    corner = uvs[numpy.abs(points - place).sum(axis=1).argmin()]
    middle = (uvs.max(axis=0) + uvs.min(axis=0)) / 2
    u, v = (corner + (middle - corner) * 0.5) % 1.0
    colour: Colour = picture.getpixel((int(u * picture.width), int(v * picture.height)))
    return colour


def _texture(part: Part | None) -> Any:
    if part is None or part.mesh is None:
        return None
    used = (material.base_colour_texture for material in part.mesh.materials if material is not None)
    return next((texture for texture in used if texture is not None), None)


def _plain(material: Material) -> Colour:
    return material.srgb[:3]
