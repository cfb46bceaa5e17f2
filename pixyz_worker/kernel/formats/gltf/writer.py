"""A tree of occurrences as glTF 2.0: the JSON, and the arrays that fill its one buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.gltf import arrays as gltf_arrays
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.gltf.materials import MaterialTable
from pixyz_worker.kernel.formats.gltf.reader import ANNOTATIONS
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Animation, Occurrence, Part, Scene

GENERATOR = "Pixyz on Ray"
_ALIGNMENT = 8
_ARRAY, _ELEMENTS = 34962, 34963
_POINTS = 0


def encode(scene: Scene) -> bytes:
    """A scene as a GLB: the bytes that it came as, unless it was changed."""
    return scene.source if scene.source is not None else b"".join(chunks(scene))


def chunks(scene: Scene) -> Iterator[bytes]:
    """The pieces of a GLB in their order; arrays are not copied together."""
    writer = document(scene)
    yield gltf.head(writer.tree, writer.size)
    yield from writer.pieces


def document(scene: Scene) -> Writer:
    """A scene as JSON and pieces of its buffer; ValueError when there is nothing in it that glTF can hold."""
    writer = Writer(scene)
    writer.write()
    return writer


@dataclass(eq=False, slots=True)
class Writer:
    """A document that is being written."""

    scene: Scene
    tree: dict[str, Any] = field(default_factory=dict)
    """The JSON."""
    pieces: list[Any] = field(default_factory=list)
    """The content of the buffer, in its order, padding included."""
    size: int = 0
    """Bytes in pieces."""
    looks: MaterialTable = field(init=False)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[Part, int | None] = field(default_factory=dict)
    arrays: dict[tuple[int, str], int] = field(default_factory=dict)
    """Accessors of arrays that several meshes share, by the array's identity and its use."""
    kept: list[Any] = field(default_factory=list)
    """These arrays, so that no other gets the identity of one."""

    def __post_init__(self) -> None:
        self.looks = MaterialTable(self.store)

    def write(self) -> None:
        """Fill tree and pieces."""
        root = self.scene.root
        tops = root.children if _is_frame(root) else [root]
        order = [occurrence for top in tops for occurrence in top.walk()]
        numbers = {occurrence: number for number, occurrence in enumerate(order)}
        nodes = [self.node(occurrence, numbers) for occurrence in order]
        if not self.meshes:
            raise ValueError("there is no mesh and no point in the scene")
        animations = [self.animation(animation, numbers) for animation in self.scene.animations]
        scene: dict[str, Any] = {"nodes": [numbers[top] for top in tops]}
        if root.name:
            scene["name"] = root.name
        self.tree = {"asset": {"version": "2.0", "generator": GENERATOR}, "scene": 0, "scenes": [scene], "nodes": nodes}
        lists = {
            "meshes": self.meshes,
            "materials": self.looks.materials,
            "textures": self.looks.textures,
            "images": self.looks.images,
            "samplers": self.looks.samplers,
            "animations": [animation for animation in animations if animation["channels"]],
            "accessors": self.accessors,
            "bufferViews": self.views,
        }
        self.tree |= {key: value for key, value in lists.items() if value}
        if self.size:
            self.tree["buffers"] = [{"byteLength": self.size}]
        self.say_extensions(nodes)

    def say_extensions(self, nodes: list[dict[str, Any]]) -> None:
        """Put the names of the extensions that are used into the JSON."""
        used = set(self.looks.extensions)
        used.update(extension for node in nodes for extension in node.get("extensions", ()))
        if self.scene.variants:
            names = [{"name": variant} for variant in self.scene.variants]
            self.tree["extensions"] = {"KHR_materials_variants": {"variants": names}}
            used.add("KHR_materials_variants")
        if used:
            self.tree["extensionsUsed"] = sorted(used)

    def node(self, occurrence: Occurrence, numbers: dict[Occurrence, int]) -> dict[str, Any]:
        """An occurrence as a node."""
        made: dict[str, Any] = {"name": occurrence.name}
        if occurrence.matrix is not None:
            made |= _placement(occurrence.matrix, animated=bool(self.scene.animations))
        if occurrence.part is not None and (mesh := self.part(occurrence.part)) is not None:
            made["mesh"] = mesh
        if occurrence.children:
            made["children"] = [numbers[child] for child in occurrence.children]
        extras: dict[str, Any] = dict(occurrence.metadata)
        if occurrence.annotations:
            groups = [{"name": group.name, "annotations": list(group.annotations)} for group in occurrence.annotations]
            extras[ANNOTATIONS] = groups
        if extras:
            made["extras"] = extras
        if not occurrence.visible:
            made["extensions"] = {"KHR_node_visibility": {"visible": False}}
        return made

    def part(self, part: Part) -> int | None:
        """The number of the mesh that is a part; None for one without any."""
        if part not in self.parts:
            self.parts[part] = None
            if part.mesh is not None:
                record: dict[str, Any] = {"name": part.name, "primitives": self.primitives(part.mesh)}
                if part.metadata:
                    record["extras"] = dict(part.metadata)
                self.parts[part] = len(self.meshes)
                self.meshes.append(record)
        return self.parts[part]

    def primitives(self, mesh: Mesh) -> list[dict[str, Any]]:
        """A primitive for each material; they share the vertices."""
        attributes = {"POSITION": self.shared(mesh.positions, "positions")}
        for name, array in (("NORMAL", mesh.normals), ("TEXCOORD_0", mesh.uvs), ("COLOR_0", mesh.colours)):
            if array is not None:
                attributes[name] = self.shared(array, name)
        if mesh.is_points:
            return [self.look({"attributes": attributes, "mode": _POINTS}, mesh.materials[0], {})]
        variants = mesh.variants or ({},) * len(mesh.materials)
        mappings = dict(zip(mesh.materials, variants, strict=True))
        made = []
        for material, triangles in mesh.by_material():
            kind = numpy.uint16 if len(mesh.positions) <= 0xFFFF else numpy.uint32
            corners = numpy.ascontiguousarray(triangles, dtype=kind).reshape(-1)
            primitive = {"attributes": attributes, "indices": self.accessor(corners, _ELEMENTS)}
            made.append(self.look(primitive, material, mappings[material]))
        return made

    def look(
        self, primitive: dict[str, Any], material: Material | None, mapping: dict[str, Material | None]
    ) -> dict[str, Any]:
        """A primitive with its material, and those of the scene's variants."""
        if material is not None:
            primitive["material"] = self.looks.number(material)
        entries = [
            {"material": self.looks.number(other), "variants": [self.scene.variants.index(name)]}
            for name, other in mapping.items()
            if other is not None and name in self.scene.variants
        ]
        if entries:
            primitive["extensions"] = {"KHR_materials_variants": {"mappings": entries}}
        return primitive

    def shared(self, array: NDArray[Any], use: str) -> int:
        """The accessor of vertices, written once for all parts that share the array."""
        key = (id(array), use)
        if key not in self.arrays:
            self.kept.append(array)
            if use == "COLOR_0":
                self.arrays[key] = self.accessor(gltf_arrays.linear_steps(array), _ARRAY, normalised=True)
            else:
                self.arrays[key] = self.accessor(array, _ARRAY, bounds=use == "positions")
        return self.arrays[key]

    def accessor(self, array: NDArray[Any], target: int | None = None, **options: bool) -> int:
        """Put an array into the buffer, and return the number of its accessor."""
        values = numpy.ascontiguousarray(array)
        view = self.store(values.reshape(-1).view(numpy.uint8).data, target)
        self.accessors.append(gltf_arrays.accessor(values, view, **options))
        return len(self.accessors) - 1

    def store(self, data: Any, target: int | None = None) -> int:
        """Put bytes into the buffer, and return the number of their view."""
        view = {"buffer": 0, "byteOffset": self.size, "byteLength": len(data)}
        self.views.append(view if target is None else view | {"target": target})
        padding = -len(data) % _ALIGNMENT
        self.pieces += [data, b"\0" * padding] if padding else [data]
        self.size += len(data) + padding
        return len(self.views) - 1

    def animation(self, animation: Animation, numbers: dict[Occurrence, int]) -> dict[str, Any]:
        """The channels whose occurrences are still in the tree."""
        channels, samplers = list[dict[str, Any]](), list[dict[str, Any]]()
        for channel in animation.channels:
            if channel.target not in numbers:
                continue
            target = {"node": numbers[channel.target], "path": channel.path}
            channels.append({"sampler": len(samplers), "target": target})
            samplers.append(
                {
                    "input": self.accessor(numpy.asarray(channel.times, numpy.float32), bounds=True),
                    "output": self.accessor(numpy.asarray(channel.values, numpy.float32)),
                    "interpolation": channel.interpolation,
                }
            )
        return {"name": animation.name, "channels": channels, "samplers": samplers}


def _is_frame(root: Occurrence) -> bool:
    """Whether a root only holds the others together, as a scene of glTF does without a node."""
    plain = root.part is None and root.matrix is None and root.visible
    return plain and not root.metadata and not root.annotations and len(root.children) > 1


def _placement(matrix: NDArray[numpy.float64], *, animated: bool) -> dict[str, Any]:
    """A matrix as glTF says it; of a scene with animations as translation, rotation and scale, which these need."""
    if animated and (parts := _decomposed(matrix)) is not None:
        return parts
    return {"matrix": [float(value) for value in matrix.T.reshape(-1)]}


def _decomposed(matrix: NDArray[numpy.float64]) -> dict[str, Any] | None:
    """Translation, rotation and scale of a matrix without shear; None for another."""
    linear = matrix[:3, :3]
    scale = numpy.linalg.norm(linear, axis=0)
    if (scale < 1e-12).any():
        return None
    if numpy.linalg.det(linear) < 0:
        scale[0] = -scale[0]
    turn = linear / scale
    if not numpy.allclose(turn.T @ turn, numpy.eye(3), atol=1e-6):
        return None
    return {"translation": matrix[:3, 3].tolist(), "rotation": _quaternion(turn), "scale": scale.tolist()}


def _quaternion(turn: NDArray[numpy.float64]) -> list[float]:
    """The unit quaternion x, y, z, w of a rotation matrix, by its largest component, which loses the least."""
    m = turn
    trace = float(numpy.trace(m))
    squares = numpy.array([1 + 2 * m[0, 0] - trace, 1 + 2 * m[1, 1] - trace, 1 + 2 * m[2, 2] - trace, 1 + trace])
    largest = int(squares.argmax())
    products = numpy.array(
        [
            [squares[0], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
            [m[1, 0] + m[0, 1], squares[1], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
            [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    row = products[largest]
    quaternion: list[float] = (row / numpy.linalg.norm(row)).tolist()
    return quaternion
