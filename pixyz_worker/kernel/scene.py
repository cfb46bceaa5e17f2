"""The scene that scripts hold between importScene and exportScene.

A scene is kept as the GLB that it came as, or as a trimesh scene, and turned into the other only when
somebody asks: a STEP or GLB file that is only converted keeps its bytes and loads no mesh library. Lengths
inside are metres, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pixyz_worker.kernel import gltf

READABLE_EXTENSIONS = frozenset(
    {
        "KHR_materials_specular",
        "KHR_materials_ior",
        "KHR_materials_emissive_strength",
        "KHR_materials_unlit",
        "KHR_texture_transform",
        "KHR_mesh_quantization",
        "EXT_texture_webp",
        "KHR_materials_pbrSpecularGlossiness",
    }
)
"""glTF extensions that a file may require and that do not change how its triangles are stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """One place in the tree of a scene."""

    name: str
    """Its name, as the file gave it; need not be unique."""
    parent: int | None
    """Position of its parent in Scene.occurrences; None for a root."""
    part: int | None
    """Number of the part (mesh) that it shows, the same for all its instances; None for a group."""


class Scene:
    """A tree of named occurrences of parts."""

    __slots__ = ("_glb", "_parsed", "name", "unit_m")

    def __init__(
        self, *, name: str, unit_m: float | None = 1.0, glb: bytes | None = None, parsed: Any | None = None
    ) -> None:
        """Hold a scene that is given as a GLB or as a trimesh scene, either one in metres.

        unit_m is the unit of the file that it came from (millimetre: 0.001), None when that file told none:
        formats that know no unit are written in it.
        """
        if (glb is None) == (parsed is None):
            raise ValueError("a scene is made of a GLB or of a trimesh scene, one of them")
        self.name = name
        self.unit_m = unit_m
        self._glb = glb
        self._parsed = parsed

    def __repr__(self) -> str:
        return f"<Scene {self.name!r}>"

    @property
    def glb(self) -> bytes:
        """The scene as a GLB: the bytes that it was read from, unless it was edited."""
        if self._glb is None:
            from pixyz_worker.kernel import meshes

            self._glb = meshes.encode_glb(self._parsed)
        return self._glb

    def view(self) -> Any:
        """The scene as a trimesh scene, to read; use edit() to change it."""
        if self._parsed is None:
            required = gltf.split(self.glb).tree.get("extensionsRequired", [])
            if missing := sorted(set(required) - READABLE_EXTENSIONS):
                raise ValueError(f"it uses {', '.join(missing)}, which can only be passed on to GLB, glTF and pxz")
            from pixyz_worker.kernel import meshes

            self._parsed = meshes.decode_glb(self.glb)
        return self._parsed

    def edit(self) -> Any:
        """The scene as a trimesh scene, to change."""
        parsed = self.view()
        self._glb = None
        return parsed

    def take(self, other: Scene) -> None:
        """Bring the occurrences of another scene into this one."""
        from pixyz_worker.kernel import meshes

        self._parsed = meshes.append([self.view(), other.view()])
        self._glb = None

    @property
    def occurrences(self) -> tuple[Occurrence, ...]:
        """All occurrences, parents before their children."""
        tree = gltf.split(self.glb).tree
        nodes = tree.get("nodes", [])
        children = {child for node in nodes for child in node.get("children", ())}
        pending: list[tuple[int, int | None]] = [(n, None) for n in range(len(nodes)) if n not in children]
        found: list[Occurrence] = []
        pending.reverse()
        while pending:
            number, parent = pending.pop()
            node = nodes[number]
            found.append(Occurrence(name=node.get("name", f"node {number}"), parent=parent, part=node.get("mesh")))
            pending.extend((child, len(found) - 1) for child in reversed(node.get("children", ())))
        return tuple(found)

    @property
    def part_count(self) -> int:
        """How many different parts there are."""
        return len({occurrence.part for occurrence in self.occurrences} - {None})

    @property
    def instance_count(self) -> int:
        """How many occurrences show a part."""
        return sum(occurrence.part is not None for occurrence in self.occurrences)

    @property
    def triangle_count(self) -> int:
        """How many triangles the scene shows, instances counted each."""
        tree = gltf.split(self.glb).tree
        accessors, each = tree.get("accessors", []), list[int]()
        for mesh in tree.get("meshes", []):
            corners = 0
            for primitive in mesh.get("primitives", []):
                index = primitive.get("indices", primitive.get("attributes", {}).get("POSITION"))
                if primitive.get("mode", 4) == 4 and index is not None:
                    corners += accessors[index]["count"]
            each.append(corners // 3)
        return sum(each[occurrence.part] for occurrence in self.occurrences if occurrence.part is not None)


def combine(scenes: Sequence[Scene]) -> Scene:
    """One scene that holds several; a single one is given back as it is."""
    if len(scenes) == 1:
        return scenes[0]
    from pixyz_worker.kernel import meshes

    parsed = meshes.append([scene.view() for scene in scenes])
    return Scene(name=scenes[0].name, unit_m=scenes[0].unit_m, parsed=parsed)
