"""FBX, 3D Studio and DXF through Open Asset Import Library (assimp), always in a process of its own.

Some damaged files crash assimp, so nothing here calls it in the job's process: read_fbx and its like start a child
that runs parse_fbx and its like.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.axes import turn
from pixyz_worker.kernel.formats.assimp import fbx_facts
from pixyz_worker.kernel.formats.assimp.studio_names import has_smoothing, mesh_names
from pixyz_worker.kernel.formats.shared.roots import MAX_OCCURRENCES, root_of
from pixyz_worker.kernel.formats.shared.side_images import ImagesBeside, decoded
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh, merged
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Animation, Occurrence, Part, Scene

_HELPER = "_$AssimpFbx$_"
"""In the names of nodes that assimp makes for one step of a transformation."""
_NO_MATERIAL = ("DefaultMaterial", "AI_DEFAULT_MATERIAL", "%%%DEFAULT", "%%_default")
_NO_KEY_FRAMES = "<3DSDummyRoot>"
_CENTIMETRE = 0.01
_INCH = 0.0254
_STACK_BYTES = 1 << 28
_TAIL_BYTES = 4096
_FOOT, _MILE, _YARD = 0.3048, 1609.344, 0.9144
_DXF_UNITS = (
    # $INSUNITS of the DXF reference of Autodesk: none, inches, feet, miles, millimetres, centimetres, metres,
    # kilometres, microinches, mils, yards, and from angstroms to gigametres.
    *(None, _INCH, _FOOT, _MILE, 1e-3, 1e-2, 1.0, 1e3, _INCH / 1e6, _INCH / 1e3, _YARD),
    *(1e-10, 1e-9, 1e-6, 0.1, 10.0, 100.0, 1e9),
)


def read_fbx(path: Path, options: ReadOptions) -> Scene:
    """Read an FBX file: tree, names, instances, materials with their textures; animations by their names alone."""
    return isolation.read(f"{__name__}:parse_fbx", path, options)


def read_3ds(path: Path, options: ReadOptions) -> Scene:
    """Read a 3D Studio file: parts with their materials, at their places."""
    return isolation.read(f"{__name__}:parse_3ds", path, options)


def read_dxf(path: Path, options: ReadOptions) -> Scene:
    """Read the faces and polyface meshes of a DXF drawing."""
    return isolation.read(f"{__name__}:parse_dxf", path, options)


def parse_fbx(path: Path, options: ReadOptions) -> Scene:
    """What read_fbx does, in the child; ValueError when the file is no FBX file, or holds no triangles."""
    return _with_room(_fbx, path, options)


def _fbx(path: Path, options: ReadOptions) -> Scene:
    found = fbx_facts.facts(path.read_bytes())
    unit_m = found.unit_m or options.unit_m or _CENTIMETRE
    tree = _Tree(path, unit_m, found.images)
    turned = _numbers(tree.top.transformation)
    # Assimp turns what stands on another axis than y; the axes of the file are kept where we know how it did so.
    plain = found.up is not None and numpy.allclose(turned, turn(found.up, "y"), atol=1e-5)
    root = tree.root(path.stem, numpy.eye(4) if plain else turned)
    animations = [Animation(name=name) for name in found.animations]
    return Scene(name=path.stem, root=root, unit_m=unit_m, up=found.up if plain else "y", animations=animations)


def parse_3ds(path: Path, options: ReadOptions) -> Scene:
    """What read_3ds does, in the child; ValueError when the file is damaged, or holds no triangles."""
    return _with_room(_studio, path, options)


def _studio(path: Path, options: ReadOptions) -> Scene:
    tree = _Tree(path, options.unit_m or 1.0, {})
    data = path.read_bytes()
    tree.names = mesh_names(data)
    # Assimp makes all of a mesh smooth that has no smoothing groups.
    tree.normals = has_smoothing(data)
    if tree.top.name == _NO_KEY_FRAMES:
        # The tree that assimp makes up has a node for each material of each mesh; meshes bear the number of theirs.
        numbers = list(dict.fromkeys(str(mesh.name) for mesh in tree.meshes))
        groups = [[n for n, mesh in enumerate(tree.meshes) if mesh.name == number] for number in numbers]
        root = tree.listed(path.stem, groups)
    else:
        # Assimp turns the root so that y points up.
        root = tree.root(path.stem, turn("y", "z") @ _numbers(tree.top.transformation))
    return Scene(name=path.stem, root=root, unit_m=options.unit_m, up="z")


def parse_dxf(path: Path, options: ReadOptions) -> Scene:
    """What read_dxf does, in the child; ValueError when the drawing has no faces, or is damaged or cut off."""
    return _with_room(_drawing, path, options)


def _drawing(path: Path, options: ReadOptions) -> Scene:
    with path.open("rb") as file:
        file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
        if b"EOF" not in file.read():
            raise ValueError("it is cut off, or no drawing: there is no EOF at its end")
    unit_m = _dxf_unit(path) or options.unit_m
    tree = _Tree(path, unit_m or 1.0, {})
    root = tree.listed(path.stem, [[number] for number in range(len(tree.meshes))])
    return Scene(name=path.stem, root=root, unit_m=unit_m, up="z")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Step:
    """A node of assimp that is still to be looked at."""

    node: Any
    above: Occurrence | None
    before: NDArray[numpy.float64]
    """Product of the helper nodes between it and what is above."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Pictures:
    """The pictures of a file: in it, or beside it."""

    inside: dict[str, bytes]
    beside: ImagesBeside
    made: dict[str, Image | None] = field(default_factory=dict)

    def find(self, reference: str) -> Image | None:
        name = fbx_facts.file_name(reference)
        if name not in self.inside:
            return self.beside.find(reference)
        if name not in self.made:
            self.made[name] = decoded(self.inside[name], name)
        return self.made[name]


class _Tree:
    """What assimp found in a file, as occurrences and parts."""

    def __init__(self, path: Path, unit_m: float, images: dict[str, bytes]) -> None:
        found = _import(path)
        self.unit_m = unit_m
        self.pictures = _Pictures(inside=images, beside=ImagesBeside(path))
        self.top = found.root_node
        self.meshes: Sequence[Any] = found.meshes
        self.materials = [self.material(record) for record in found.materials]
        self.parts: dict[tuple[int, ...], Part | None] = {}
        self.names: list[str] = []
        """Names of meshes that assimp knows by their numbers alone."""
        self.normals = True
        """Whether the normals that assimp gives count."""

    def listed(self, name: str, groups: list[list[int]]) -> Occurrence:
        """A tree of one level: an occurrence for each of some groups of meshes."""
        parts = [self.part(group, "") for group in groups]
        tops = [Occurrence(name=part.name, part=part) for part in parts if part is not None]
        if not tops:
            raise ValueError("there is no mesh in it")
        return root_of(tops, name)

    def root(self, name: str, matrix: NDArray[numpy.float64]) -> Occurrence:
        """The tree; `matrix` takes the place of the root node's own."""
        tops: list[Occurrence] = []
        shape = self.part(self.top.mesh_indices, self.top.name)
        if shape is not None:
            tops.append(Occurrence(name=str(self.top.name), part=shape, matrix=self.metres(matrix)))
        count = 0
        pending = [_Step(node=child, above=None, before=matrix) for child in reversed(self.top.children)]
        while pending:
            step = pending.pop()
            if (count := count + 1) > MAX_OCCURRENCES:
                raise ValueError(f"it has more than {MAX_OCCURRENCES} nodes")
            before = step.before @ _numbers(step.node.transformation)
            above = step.above
            if _HELPER not in step.node.name:
                above = self.occurrence(step, before)
                (tops.append if step.above is None else step.above.add)(above)
                before = numpy.eye(4)
            pending.extend(_Step(node=child, above=above, before=before) for child in reversed(step.node.children))
        if not any(self.parts.values()):
            raise ValueError("there is no mesh in it")
        return root_of(tops, name)

    def occurrence(self, step: _Step, matrix: NDArray[numpy.float64]) -> Occurrence:
        """One node."""
        part = self.part(step.node.mesh_indices, step.node.name)
        return Occurrence(name=str(step.node.name), matrix=self.metres(matrix), part=part)

    def metres(self, matrix: NDArray[numpy.float64]) -> NDArray[numpy.float64] | None:
        """A matrix in metres, None for the identity."""
        if not numpy.isfinite(matrix).all():
            raise ValueError("one of its transformations is not made of numbers")
        scaled = matrix.copy()
        scaled[:3, 3] *= self.unit_m
        return None if numpy.array_equal(scaled, numpy.eye(4)) else scaled

    def part(self, numbers: Sequence[int], name: str) -> Part | None:
        """The part of some meshes; assimp cuts one with several materials into several meshes."""
        key = tuple(numbers)
        if key not in self.parts:
            pieces = [mesh for mesh in (self.mesh(self.meshes[number]) for number in key) if mesh is not None]
            whole = merged(pieces) if len(pieces) > 1 else pieces[0] if pieces else None
            known = self.name(self.meshes[key[0]]) if key else ""
            self.parts[key] = None if whole is None else Part(name=known or str(name), mesh=whole)
        return self.parts[key]

    def name(self, mesh: Any) -> str:
        """The name of a mesh."""
        name = str(mesh.name)
        return self.names[int(name)] if name.isdigit() and int(name) < len(self.names) else name

    def mesh(self, record: Any) -> Mesh | None:
        """One mesh of assimp; None for points and lines."""
        positions = _rows(record.vertices, 3)
        if positions is None or record.num_indices != 3 * record.num_faces or not record.num_faces:
            return None
        uvs = _rows(record.texcoords[0], record.num_uv_components[0]) if record.texcoords else None
        colours = _rows(record.colors[0], 4) if record.colors else None
        return make_mesh(
            positions * numpy.float32(self.unit_m),
            numpy.frombuffer(record.indices, numpy.uint32).reshape(-1, 3).copy(),
            normals=_rows(record.normals, 3) if self.normals else None,
            uvs=None if uvs is None else numpy.column_stack([uvs[:, 0], 1.0 - uvs[:, 1]]),
            colours=None if colours is None else numpy.rint(numpy.clip(colours, 0, 1) * 255),
            materials=(self.materials[record.material_index],),
        )

    def material(self, record: dict[str, Any]) -> Material | None:
        """One material of assimp; None for the one that it makes up."""
        name = str(record.get("NAME", ""))
        textures = record.get("TEXTURES") or {}
        if name in _NO_MATERIAL and not textures:
            return None
        diffuse = self.texture(textures, (1, 12))
        colour = (1.0, 1.0, 1.0) if diffuse else _colour(record.get("COLOR_DIFFUSE"), 0.8)
        opacity = record.get("OPACITY", 1.0)
        opacity = float(opacity) if isinstance(opacity, (int, float)) else 1.0
        glow = from_srgb(*_colour(record.get("COLOR_EMISSIVE"), 0.0))
        return Material(
            name=name,
            base_colour=from_srgb(*colour, opacity),
            emission=glow[:3],
            base_colour_texture=diffuse,
            normal_texture=self.texture(textures, (6,)),
            alpha_mode="blend" if opacity < 1 else "opaque",
        )

    def texture(self, textures: dict[int, list[str]], kinds: tuple[int, ...]) -> Texture | None:
        """The first texture of these kinds (aiTextureType) whose picture is there."""
        for kind in kinds:
            for reference in textures.get(kind) or ():
                if image := self.pictures.find(str(reference)):
                    return Texture(image=image)
        return None


def _with_room(parse: Callable[[Path, ReadOptions], Scene], path: Path, options: ReadOptions) -> Scene:
    """Parse in a thread with a large stack: assimp goes down a tree by recursion, and some trees are deep."""
    before = threading.stack_size(_STACK_BYTES)
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(parse, path, options).result()
    except RuntimeError as error:
        if "thread" in str(error):
            raise MemoryError from error
        raise
    finally:
        threading.stack_size(before)


def _import(path: Path) -> Any:
    """What assimp makes of a file, with polygons cut into triangles."""
    import assimp_py

    flags = (
        assimp_py.Process_Triangulate
        | assimp_py.Process_JoinIdenticalVertices
        | assimp_py.Process_SortByPType
        | assimp_py.Process_ValidateDataStructure
    )
    try:
        found = assimp_py.import_file(str(path), flags)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).partition(f"'{path}': ")[2].replace(str(path), path.name)
        raise ValueError(said or "it is damaged") from error
    most = Limits.from_environment().max_triangles
    if most and sum(mesh.num_faces for mesh in found.meshes) > most:
        raise ValueError(f"it has more than the {most} triangles that are allowed (MAX_TRIANGLES)")
    return found


def _numbers(matrix: Any) -> NDArray[numpy.float64]:
    return numpy.array(matrix, dtype=numpy.float64).reshape(4, 4)


def _rows(view: Any, width: int) -> NDArray[numpy.float32] | None:
    """A copy of an array of assimp: what it gives is gone when the mesh is."""
    return None if view is None or not len(view) else numpy.frombuffer(view, numpy.float32).reshape(-1, width).copy()


def _colour(value: Any, default: float) -> tuple[float, float, float]:
    if isinstance(value, (list, tuple)) and len(value) >= 3:
        return (float(value[0]), float(value[1]), float(value[2]))
    return (default, default, default)


def _dxf_unit(path: Path) -> float | None:
    """Metres in one unit of a DXF drawing ($INSUNITS in its header), None when it does not say."""
    with path.open("rb") as file:
        lines = file.read(1 << 20).splitlines()
    words = [line.strip() for line in lines]
    if b"$INSUNITS" not in words:
        return None
    place = words.index(b"$INSUNITS")
    value = words[place + 2] if len(words) > place + 2 else b""
    return _DXF_UNITS[int(value)] if value.isdigit() and int(value) < len(_DXF_UNITS) else None
