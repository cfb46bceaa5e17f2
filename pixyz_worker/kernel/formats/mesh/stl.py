"""STL, binary and text: triangles without anything else, in millimetres by convention."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import header_comments, number_text
from pixyz_worker.kernel.formats.shared.corners import weld
from pixyz_worker.kernel.formats.shared.placing import occurrence, placed
from pixyz_worker.kernel.mapped_file import content_of
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Scene

_UNIT_M = 1e-3
_TRIANGLE = numpy.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEAD = 84
_AT_A_TIME = 1 << 16
_VERTEX = re.compile(rb"vertex((?:\s+[-+.\denaif]+){3})")
_SOLID = re.compile(rb"^[ \t]*solid\b[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def read(path: Path, options: ReadOptions) -> Scene:
    """STL as one part; text with several solids, as a part for each. Corners on the same place become one vertex."""
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    said = head[: _HEAD - 4].rstrip(b"\0").decode("latin-1").replace(";", "\n")
    announced = int.from_bytes(head[80:_HEAD], "little") if len(head) >= _HEAD else -1
    fits = announced >= 0 and size == _HEAD + announced * _TRIANGLE.itemsize
    unit_m = options.unit_m or _UNIT_M
    if not fits and head.lstrip()[:5].lower() == b"solid" and b"\0" not in head[:1024]:
        children = [_part(name or path.stem, corners, unit_m) for name, corners in _read_text(path)]
    else:
        if announced < 0:
            raise ValueError("it is neither text that begins with the word solid, nor long enough for a header")
        if announced * _TRIANGLE.itemsize > size - _HEAD:
            raise ValueError(f"it announces {announced} triangles, more than it has bytes for, and is not text either")
        children = [_part(path.stem, _read_binary(path, announced), unit_m)]
    root = Occurrence(name=path.stem, children=[child for child in children if child is not None])
    if not root.children:
        raise ValueError("there is no triangle in it")
    return Scene(name=path.stem, root=root, unit_m=unit_m, up=header_comments.up_of(said))


def write(scene: Scene, path: Path) -> None:
    """Binary STL in millimetres: all instances in one mesh."""
    instances = placed(scene, 1 / _UNIT_M, triangles=True)
    count = sum(len(instance.mesh.triangles) for instance in instances)
    if count >= 1 << 32:
        raise ValueError(f"it has {count} triangles, and this format counts to {(1 << 32) - 1}")
    with path.open("wb") as file:
        head = "; ".join(["binary STL", *header_comments.comments(_UNIT_M, scene.up)])
        file.write(head.encode("ascii").ljust(_HEAD - 4, b"\0") + count.to_bytes(4, "little"))
        for instance in instances:
            positions = instance.positions().astype(numpy.float32, copy=False)
            triangles = instance.triangles()
            for start in range(0, len(triangles), _AT_A_TIME):
                _records(positions[triangles[start : start + _AT_A_TIME]]).tofile(file)


def _records(corners: NDArray[numpy.float32]) -> NDArray[Any]:
    """Triangles as the file has them, with their normals; (n, 3, 3) corners."""
    records = numpy.zeros(len(corners), _TRIANGLE)
    records["corners"] = corners
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = numpy.stack(
        [
            u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
            u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
            u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
        ],
        axis=1,
    )
    lengths = numpy.sqrt(numpy.einsum("nc,nc->n", normals, normals))
    records["normal"] = normals / numpy.where(lengths > 0, lengths, 1)[:, None]
    return records


def _part(name: str, corners: NDArray[numpy.float32], unit_m: float) -> Occurrence | None:
    if not len(corners):
        return None
    if not numpy.isfinite(corners).all():
        raise ValueError("some of its coordinates are not numbers")
    first, vertices = weld(corners)
    return occurrence(name, unit_m, corners[first], vertices.reshape(-1, 3))


def _read_binary(path: Path, count: int) -> NDArray[numpy.float32]:
    """The corners of all triangles, (3 n, 3)."""
    if not count:
        return numpy.empty((0, 3), numpy.float32)
    records = content_of(path, _HEAD)[: count * _TRIANGLE.itemsize].view(_TRIANGLE)
    return numpy.ascontiguousarray(records["corners"]).reshape(-1, 3)


def _read_text(path: Path) -> list[tuple[str, NDArray[numpy.float32]]]:
    """The name of each solid, and the corners of its triangles, (3 n, 3)."""
    solids = list[tuple[str, list[NDArray[numpy.float32]]]]()
    with path.open("rb") as file:
        # A triangle belongs to one block.
        for block in number_text.blocks(file, b"endfacet"):
            _take_text(block, solids)
    return [(name, _joined(blocks)) for name, blocks in solids]


def _take_text(text: bytes, solids: list[tuple[str, list[NDArray[numpy.float32]]]]) -> None:
    lower = text.lower()
    places = [*_SOLID.finditer(text)]
    starts = [0, *(place.end() for place in places)]
    ends = [*(place.start() for place in places), len(text)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if number:
            solids.append((places[number - 1][1].decode("utf-8", "replace").strip(), []))
        found = _VERTEX.findall(lower, start, end)
        if len(found) != 3 * lower.count(b"endfacet", start, end):
            raise ValueError("some of its facets are not whole triangles")
        if found and solids:
            solids[-1][1].append(number_text.parse(b" ".join(found)).astype(numpy.float32))


def _joined(blocks: list[NDArray[numpy.float32]]) -> NDArray[numpy.float32]:
    return numpy.concatenate(blocks).reshape(-1, 3) if blocks else numpy.empty((0, 3), numpy.float32)
