"""Wavefront OBJ: objects and groups as parts, with materials and textures from the files beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any

import numpy
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.mesh.mtl import MaterialWriter, read_materials
from pixyz_worker.kernel.formats.mesh.obj_lines import Lines, read_lines
from pixyz_worker.kernel.formats.shared import header_comments, number_text
from pixyz_worker.kernel.formats.shared.corners import unite
from pixyz_worker.kernel.formats.shared.placing import Placed, occurrence, placed
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.formats.shared.roots import MAX_OCCURRENCES
from pixyz_worker.kernel.formats.shared.vertex_colours import spread
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.mesh import Mesh, merged
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Scene

_UNPRINTED = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")


def read(path: Path, options: ReadOptions) -> Scene:
    """OBJ: each object, or each group where there are no objects, is a part; an object's several groups lie below it.

    A file without faces is a cloud of points.
    """
    lines = read_lines(path)
    if not len(lines.positions):
        raise ValueError("there is no mesh and no point in it")
    said = "\n".join(lines.comments)
    unit_m = header_comments.unit_of(said, options)
    root = Occurrence(name=path.stem)
    if len(lines.counts):
        _add_parts(root, lines, read_materials(path, lines.libraries), unit_m)
    else:
        colours = None if lines.colours is None else _levels(lines.colours)
        root.add(occurrence(path.stem, unit_m, lines.positions, colours=colours))
    return Scene(name=path.stem, root=root, unit_m=unit_m, up=header_comments.up_of(said))


def write(scene: Scene, path: Path) -> None:
    """OBJ with <stem>.mtl and pictures beside it; an object for each instance."""
    instances = placed(scene, 1 / (scene.unit_m or 1.0), triangles=True)
    materials = MaterialWriter(path)
    with path.open("wb") as file:
        for text in header_comments.comments(scene.unit_m, scene.up):
            file.write(f"# {text}\n".encode())
        if any(material is not None for instance in instances for material in instance.mesh.materials):
            file.write(f"mtllib {path.stem}.mtl\n".encode())
        totals = [0, 0, 0]
        for instance in instances:
            _write(file, instance, materials, totals)
    materials.finish()


# --- reading


def _add_parts(root: Occurrence, lines: Lines, materials: dict[str, Material], unit_m: float | None) -> None:
    """Put the parts of a file below its root."""
    _check_range(lines)
    places, owner = triangulate(lines.positions, lines.corners[:, 0], lines.counts)
    if not len(places):
        raise ValueError("there is no triangle in it")
    keys = list(dict.fromkeys(state[:2] for state in lines.named))
    if len(keys) > MAX_OCCURRENCES:
        raise ValueError(f"it has more than {MAX_OCCURRENCES} objects")
    number_of = {key: number for number, key in enumerate(keys)}
    part_of = numpy.array([number_of[state[:2]] for state in lines.named])[lines.states[owner]]
    order = None if (part_of[1:] >= part_of[:-1]).all() else numpy.argsort(part_of, kind="stable")
    limits = numpy.searchsorted(part_of if order is None else part_of[order], numpy.arange(len(keys) + 1)).tolist()
    above = _objects(root, [key for key, low, high in zip(keys, limits, limits[1:], strict=False) if low < high])
    for key, low, high in zip(keys, limits, limits[1:], strict=False):
        if low < high:
            chosen = slice(low, high) if order is None else order[low:high]
            mesh = _attributes(lines, lines.corners[places[chosen].reshape(-1)], lines.states[owner[chosen]], materials)
            name = key[1] if key[1] and (not key[0] or key[0] in above) else key[0]
            above.get(key[0], root).add(occurrence(name or root.name, unit_m, **mesh))


def _objects(root: Occurrence, keys: list[tuple[str, str]]) -> dict[str, Occurrence]:
    """An occurrence for each object that has several groups."""
    groups = dict[str, int]()
    for name, _ in keys:
        groups[name] = groups.get(name, 0) + 1
    return {name: root.add(Occurrence(name=name)) for name, count in groups.items() if name and count > 1}


def _check_range(lines: Lines) -> None:
    found = lines.corners.max(axis=0)
    for most, there, what in (
        (found[0], lines.positions, "vertices"),
        (found[1], lines.uvs, "texture coordinates"),
        (found[2], lines.normals, "normals"),
    ):
        if most >= len(there):
            raise ValueError(f"its triangles refer to {what} that are not there")


def _attributes(
    lines: Lines, corners: NDArray[numpy.int32], states: NDArray[numpy.int32], materials: dict[str, Material]
) -> dict[str, Any]:
    """Arguments of make_mesh() for triangles: the three numbers of each corner, (3 m, 3), the state of each, (m,)."""
    columns = [corners[:, 0]]
    has_uvs, has_normals = bool((corners[:, 1] >= 0).any()), bool((corners[:, 2] >= 0).all())
    columns += [corners[:, 1]] if has_uvs else []
    columns += [corners[:, 2]] if has_normals else []
    first, vertices = unite(columns)
    used, uvs, normals, colours = corners[first], None, None, None
    if has_uvs:
        uvs = lines.uvs[used[:, 1]]
        uvs[used[:, 1] < 0] = 0
        uvs[:, 1] = 1 - uvs[:, 1]
        uvs = uvs if numpy.isfinite(uvs).all() else None
    if has_normals:
        normals = _unit(lines.normals[used[:, 2]])
    if lines.colours is not None and not numpy.isnan(rows := lines.colours[used[:, 0]]).all():
        colours = _levels(rows)
    found, places = numpy.unique(states, return_inverse=True)
    names = [lines.named[state][2] for state in found.tolist()]
    wanted = {name: number for number, name in enumerate(dict.fromkeys(names))}
    numbers = numpy.array([wanted[name] for name in names])[places]
    if len(wanted) > 65_535:
        raise ValueError("one of its parts has more than 65535 materials")
    return {
        "positions": lines.positions[used[:, 0]],
        "triangles": vertices.reshape(-1, 3),
        "normals": normals,
        "uvs": uvs,
        "colours": colours,
        "materials": tuple(_material(materials, name) for name in wanted),
        "triangle_materials": numbers,
    }


def _unit(normals: NDArray[numpy.float32]) -> NDArray[numpy.float32] | None:
    """Normals of length 1; None when some of them have no direction."""
    lengths = numpy.sqrt(numpy.einsum("nc,nc->n", normals, normals))
    if not (numpy.isfinite(lengths).all() and lengths.min() > 0):
        return None
    return normals if numpy.abs(lengths - 1).max() < 1e-5 else normals / lengths[:, None]


def _material(materials: dict[str, Material], name: str) -> Material | None:
    """The material of a name; one that the files beside do not hold keeps its name alone."""
    return materials.setdefault(name, Material(name=name)) if name else None


def _levels(colours: NDArray[Any]) -> NDArray[numpy.uint8]:
    """8-bit colours of some from 0 to 1, or to 255 as some programs write them; white where there is none."""
    known = numpy.where(numpy.isnan(colours), 1.0, colours)
    scale = 255.0 if known.max(initial=0) <= 1 else 1.0
    levels = numpy.full((len(known), 4), 255, numpy.uint8)
    levels[:, :3] = numpy.round((known * scale).clip(0, 255))
    if scale == 1.0:
        levels[numpy.isnan(colours).any(axis=1)] = 255
    return levels


# --- writing


def _write(file: IO[bytes], instance: Placed, materials: MaterialWriter, totals: list[int]) -> None:
    """One instance as an object; `totals` counts the positions, texture coordinates and normals so far."""
    mesh = _stretched(instance.mesh)
    instance = Placed(name=instance.name, mesh=mesh, matrix=instance.matrix)
    name = _UNPRINTED.sub(" ", instance.name).strip()
    file.write(f"o {name or 'part'}\n".encode())
    positions, normals = instance.positions(), instance.normals()
    columns: list[Any] = ["v", *(positions[:, axis] for axis in range(3))]
    if mesh.colours is not None:
        shares = (numpy.arange(256) / 255).round(4)
        columns += [shares[mesh.colours[:, channel]] for channel in range(3)]
    number_text.write_lines(file, columns)
    if mesh.uvs is not None:
        number_text.write_lines(file, ["vt", mesh.uvs[:, 0], 1 - mesh.uvs[:, 1]])
    if normals is not None:
        number_text.write_lines(file, ["vn", *(normals[:, axis] for axis in range(3))])
    corners = _corner_words(len(positions), mesh.uvs is not None, normals is not None, totals)
    for material, triangles in mesh.by_material():
        # A material holds until the next one is named, in the objects after this one too.
        if material is not None or materials.used:
            file.write(f"usemtl {materials.name(material)}\n".encode())
        _write_faces(file, corners, instance.fronts(triangles))


def _stretched(mesh: Mesh) -> Mesh:
    """The mesh with the transforms of its materials' textures put into its texture coordinates."""
    pieces, moved = list[Mesh](), False
    if mesh.uvs is None or not any(material and material.textures for material in mesh.materials):
        return mesh
    for material, piece in mesh.pieces():
        texture = material.textures[0] if material and material.textures else None
        uvs = piece.uvs if texture is None or piece.uvs is None else spread(texture, piece.uvs)
        moved = moved or uvs is not piece.uvs
        pieces.append(
            Mesh(
                positions=piece.positions,
                triangles=piece.triangles,
                normals=piece.normals,
                uvs=uvs,
                colours=piece.colours,
                materials=(material,),
            )
        )
    return merged(pieces) if moved else mesh


def _corner_words(count: int, has_uvs: bool, has_normals: bool, totals: list[int]) -> Any:
    """For each vertex of an object what its faces call it: v, v/vt, v//vn or v/vt/vn."""
    numbers = [
        pyarrow.array(numpy.arange(total + 1, total + count + 1)).cast(pyarrow.string()) if there else None
        for total, there in zip(totals, (True, has_uvs, has_normals), strict=True)
    ]
    totals[0] += count
    totals[1] += count if has_uvs else 0
    totals[2] += count if has_normals else 0
    position, uv, normal = numbers
    join = pyarrow.compute.binary_join_element_wise
    if normal is not None:
        return join(position, uv if uv is not None else "", normal, "/")
    return position if uv is None else join(position, uv, "/")


def _write_faces(file: IO[bytes], words: Any, triangles: NDArray[numpy.uint32]) -> None:
    step = 1 << 17
    for start in range(0, len(triangles), step):
        block = triangles[start : start + step]
        columns = [words.take(pyarrow.array(numpy.ascontiguousarray(block[:, corner]))) for corner in range(3)]
        number_text.write_lines(file, ["f", *columns])
