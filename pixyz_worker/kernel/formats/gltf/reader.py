"""A GLB as a tree of occurrences; its arrays are views of the GLB's bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.exception import FormatError, PixyzException
from pixyz_worker.kernel import mesh as meshes
from pixyz_worker.kernel.formats.gltf import arrays as gltf_arrays
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.gltf.document import Document
from pixyz_worker.kernel.formats.gltf.materials import Materials
from pixyz_worker.kernel.formats.reading import problem_of
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Animation, AnnotationGroup, Channel, Occurrence, Part, Scene, Value

ANNOTATIONS = "pixyz_annotations"
"""Key among a node's extras for product manufacturing information, which glTF has no place for."""
_PASSED_ON_ALONE = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
_MAX_GPU_INSTANCES = 1_000_000


def read(glb: bytes, *, name: str) -> Scene:
    """A scene of a GLB, taken apart; ValueError says what is wrong with it."""
    scene = Scene(name=name, glb=glb, unit_m=1.0, up="y")
    scene.changed()
    return scene


def fill(scene: Scene, glb: bytes) -> Occurrence:
    """Take a GLB apart: returns the root of its tree, and gives the scene its animations and variants.

    Raises FormatError with a sentence when something in it makes no sense.
    """
    try:
        document = gltf.split(glb)
        required = document.tree.get("extensionsRequired", [])
        if alone := [extension for extension in _PASSED_ON_ALONE if extension in required]:
            raise ValueError(f"it uses {', '.join(alone)}, which can only be passed on to GLB, glTF and pxz")
        gltf.check(document)
        return _Reader(document, scene).root()
    except PixyzException:
        raise
    except Exception as error:
        raise FormatError(f"{scene.name} {problem_of(error)}") from error


class _Reader:
    """What is shared while one document is taken apart."""

    def __init__(self, document: Document, scene: Scene) -> None:
        self.document = document
        self.tree = document.tree
        self.scene = scene
        self.materials = Materials(document)
        self.parts: dict[int, list[Part]] = {}

    def root(self) -> Occurrence:
        """The tree of the document's scene; one root node is the root, several get one above them."""
        nodes = self.tree.get("nodes", [])
        self.scene.variants = self.variants()
        occurrences = [self.occurrence(number, node) for number, node in enumerate(nodes)]
        for number, node in enumerate(nodes):
            for child in node.get("children", ()):
                occurrences[number].add(occurrences[child])
        scenes = self.tree.get("scenes", [])
        chosen = scenes[self.tree.get("scene", 0) % len(scenes)] if scenes else {}
        tops: list[int] = chosen.get(
            "nodes", [n for n, occurrence in enumerate(occurrences) if occurrence.parent is None]
        )
        self.scene.animations = self.animations(occurrences)
        if len(tops) == 1:
            return occurrences[tops[0]]
        root = Occurrence(name=str(chosen.get("name") or self.scene.name))
        for top in tops:
            root.add(occurrences[top])
        return root

    def occurrence(self, number: int, node: dict[str, Any]) -> Occurrence:
        name = str(node.get("name") or f"node {number}")
        made = Occurrence(name=name, matrix=_matrix(node), metadata=_metadata(node.get("extras")))
        made.annotations = _annotations(node.get("extras"))
        extensions = node.get("extensions", {})
        made.visible = bool(extensions.get("KHR_node_visibility", {}).get("visible", True))
        if "mesh" not in node:
            return made
        parts = self.part(node["mesh"])
        if "EXT_mesh_gpu_instancing" in extensions:
            for matrix in self.gpu_instances(extensions["EXT_mesh_gpu_instancing"]):
                for part in parts:
                    made.add(Occurrence(name=name, matrix=matrix, part=part))
        elif parts:
            made.part = parts[0]
            for part in parts[1:]:
                made.add(Occurrence(name=part.name, part=part))
        return made

    def gpu_instances(self, extension: dict[str, Any]) -> list[NDArray[numpy.float64]]:
        """The matrices of EXT_mesh_gpu_instancing."""
        attributes = extension.get("attributes", {})
        columns = {
            key: gltf_arrays.floats(self.document, self.index("accessors", attributes[key])) for key in attributes
        }
        count = min((len(values) for values in columns.values()), default=0)
        if count > _MAX_GPU_INSTANCES:
            raise ValueError(f"one of its nodes has {count} instances, more than {_MAX_GPU_INSTANCES}")
        keys = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
        matrices = []
        for row in range(count):
            record = {keys[key]: columns[key][row].tolist() for key in keys if key in columns}
            matrix = _matrix(record)
            matrices.append(numpy.eye(4) if matrix is None else matrix)
        return matrices

    def part(self, number: int) -> list[Part]:
        """What a mesh of the document is: a part of triangles, a part of points, both, or (lines) none."""
        if number not in self.parts:
            record = self.tree["meshes"][number]
            name = str(record.get("name") or f"mesh {number}")
            faces, clouds = self.faces(record), self.clouds(record)
            found = [mesh for mesh in (faces, clouds) if mesh is not None]
            extras = _metadata(record.get("extras"))
            self.parts[number] = [Part(name=name, mesh=mesh, metadata=extras) for mesh in found]
        return self.parts[number]

    def faces(self, record: dict[str, Any]) -> Mesh | None:
        """The triangles of a mesh, one array of vertices for all of its primitives."""
        primitives = [p for p in record.get("primitives", []) if p.get("mode", 4) in (_TRIANGLES, _STRIP, _FAN)]
        primitives = [primitive for primitive in primitives if "POSITION" in primitive.get("attributes", {})]
        if not primitives:
            return None
        corners = [self.corners(primitive) for primitive in primitives]
        if any(primitive["attributes"] != primitives[0]["attributes"] for primitive in primitives):
            pieces = [self.mesh(p, c) for p, c in zip(primitives, corners, strict=True) if len(c)]
            return self.one(pieces)
        looks = [(self.material(primitive), self.mapping(primitive)) for primitive in primitives]
        whole = self.mesh(primitives[0], numpy.concatenate(corners) if len(corners) > 1 else corners[0])
        whole.materials = tuple(material for material, _ in looks)
        whole.variants = tuple(mapping for _, mapping in looks) if any(mapping for _, mapping in looks) else ()
        if len(primitives) > 1:
            counts = [len(c) for c in corners]
            whole.triangle_materials = numpy.repeat(numpy.arange(len(counts), dtype=numpy.uint16), counts)
        return whole if len(whole.triangles) else None

    def one(self, pieces: list[Mesh]) -> Mesh | None:
        """Several meshes of one part as one."""
        if not pieces:
            return None
        return meshes.merged(pieces) if len(pieces) > 1 else pieces[0]

    def clouds(self, record: dict[str, Any]) -> Mesh | None:
        """The points of a mesh."""
        primitives = [p for p in record.get("primitives", []) if p.get("mode", 4) == _POINTS]
        pieces = [self.mesh(p, None) for p in primitives if "POSITION" in p.get("attributes", {})]
        return self.one(pieces)

    def mesh(self, primitive: dict[str, Any], corners: NDArray[Any] | None) -> Mesh:
        """One primitive with the attributes that we keep."""
        attributes, material = primitive["attributes"], self.material(primitive)
        texcoord = f"TEXCOORD_{self.materials.texcoord(material)}"
        made = meshes.make_mesh(
            gltf_arrays.floats(self.document, attributes["POSITION"]),
            corners,
            normals=self.optional(attributes, "NORMAL"),
            uvs=self.optional(attributes, texcoord),
            colours=gltf_arrays.srgb_levels(self.document, attributes["COLOR_0"]) if "COLOR_0" in attributes else None,
            materials=(material,),
        )
        if mapping := self.mapping(primitive):
            made.variants = (mapping,)
        return made

    def optional(self, attributes: dict[str, int], key: str) -> NDArray[numpy.float32] | None:
        return gltf_arrays.floats(self.document, attributes[key]) if key in attributes else None

    def corners(self, primitive: dict[str, Any]) -> NDArray[Any]:
        """The triangles of a primitive, (n, 3); strips and fans are taken apart."""
        if "indices" in primitive:
            order = gltf_arrays.array(self.document, primitive["indices"])[:, 0]
        else:
            position = primitive["attributes"]["POSITION"]
            order = numpy.arange(self.tree["accessors"][position]["count"], dtype=numpy.uint32)
        mode = primitive.get("mode", _TRIANGLES)
        if mode == _TRIANGLES:
            return order[: len(order) // 3 * 3].reshape(-1, 3)
        if len(order) < 3:
            return numpy.empty((0, 3), numpy.uint32)
        if mode == _FAN:
            return numpy.stack([numpy.full(len(order) - 2, order[0]), order[1:-1], order[2:]], axis=1)
        strip = numpy.stack([order[:-2], order[1:-1], order[2:]], axis=1)
        strip[1::2] = strip[1::2, [1, 0, 2]]
        return strip

    def material(self, primitive: dict[str, Any]) -> Material | None:
        number = primitive.get("material", -1)
        return None if number == -1 else self.materials[number]

    def mapping(self, primitive: dict[str, Any]) -> dict[str, Material | None]:
        """What KHR_materials_variants replaces the primitive's material with, by the variant's name."""
        found: dict[str, Material | None] = {}
        for entry in primitive.get("extensions", {}).get("KHR_materials_variants", {}).get("mappings", []):
            for number in entry.get("variants", []):
                name = self.scene.variants[number % len(self.scene.variants)] if self.scene.variants else str(number)
                found[name] = self.materials[self.index("materials", entry.get("material"))]
        return found

    def variants(self) -> list[str]:
        records = self.tree.get("extensions", {}).get("KHR_materials_variants", {}).get("variants", [])
        return [str(record.get("name", number)) for number, record in enumerate(records)]

    def animations(self, occurrences: list[Occurrence]) -> list[Animation]:
        found = []
        for number, record in enumerate(self.tree.get("animations", [])):
            channels = [self.channel(record, channel, occurrences) for channel in record.get("channels", [])]
            name = str(record.get("name") or f"animation {number}")
            found.append(Animation(name=name, channels=[channel for channel in channels if channel is not None]))
        return found

    def channel(self, record: dict[str, Any], channel: dict[str, Any], occurrences: list[Occurrence]) -> Channel | None:
        target = channel.get("target", {})
        if target.get("path") not in ("translation", "rotation", "scale") or "node" not in target:
            return None
        try:
            sampler = record["samplers"][channel["sampler"]]
            times = gltf_arrays.floats(self.document, self.index("accessors", sampler["input"]))[:, 0]
            values = gltf_arrays.floats(self.document, self.index("accessors", sampler["output"]))
            node = occurrences[self.index("nodes", target["node"])]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError("one of its animations refers to what is not there") from error
        kind = str(sampler.get("interpolation", "LINEAR"))
        return Channel(target=node, path=target["path"], times=times, values=values, interpolation=kind)

    def index(self, key: str, number: Any) -> int:
        """A number that refers to one of the document's lists, checked."""
        if not isinstance(number, int) or not 0 <= number < len(self.tree.get(key, ())):
            raise ValueError(f"it refers to number {number!r} of its {key}, which is not there")
        return number


def _matrix(node: dict[str, Any]) -> NDArray[numpy.float64] | None:
    """The matrix of a node, None for the identity; ValueError when it makes no sense."""
    try:
        if "matrix" in node:
            matrix = numpy.array(node["matrix"], dtype=float).reshape(4, 4).T
        elif node.keys() & {"translation", "rotation", "scale"}:
            matrix = _composed(node)
        else:
            return None
    except (TypeError, ValueError) as error:
        raise ValueError("one of its nodes has a matrix that makes no sense") from error
    if not numpy.isfinite(matrix).all():
        raise ValueError("one of its nodes has a matrix that makes no sense")
    return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix


def _composed(node: dict[str, Any]) -> NDArray[numpy.float64]:
    """Translation * rotation * scale; the rotation is a quaternion x, y, z, w."""
    x, y, z, w = numpy.array(node.get("rotation", (0, 0, 0, 1)), dtype=float)
    size = (x * x + y * y + z * z + w * w) or 1.0
    s = 2.0 / size
    matrix = numpy.eye(4)
    matrix[:3, :3] = (
        (1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)),
        (s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)),
        (s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)),
    )
    matrix[:3, :3] *= numpy.array(node.get("scale", (1, 1, 1)), dtype=float).reshape(3)
    matrix[:3, 3] = numpy.array(node.get("translation", (0, 0, 0)), dtype=float).reshape(3)
    return matrix


def _metadata(extras: Any) -> dict[str, Value]:
    """Extras as properties; what is not a plain value is kept as JSON text."""
    if not isinstance(extras, dict):
        return {}
    plain = {key: value for key, value in extras.items() if key != ANNOTATIONS}
    return {
        key: value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)
        for key, value in plain.items()
    }


def _annotations(extras: Any) -> tuple[AnnotationGroup, ...]:
    records = extras.get(ANNOTATIONS) if isinstance(extras, dict) else None
    if not isinstance(records, list):
        return ()
    groups = [record for record in records if isinstance(record, dict) and isinstance(record.get("annotations"), list)]
    return tuple(
        AnnotationGroup(name=str(group.get("name", "")), annotations=tuple(map(str, group["annotations"])))
        for group in groups
    )
