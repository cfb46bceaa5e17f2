"""OFF (Geomview's object file format): one mesh as text, with or without colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import header_comments, number_text
from pixyz_worker.kernel.formats.shared.placing import placed, single
from pixyz_worker.kernel.formats.shared.polygons import triangulate
from pixyz_worker.kernel.formats.shared.vertex_colours import of_faces, painted
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_HEAD = re.compile(rb"\s*(ST)?(C)?(N)?OFF\b[ \t]*(BINARY\b)?")
_COMMENT = re.compile(rb"#[^\r\n]*")


def read(path: Path, options: ReadOptions) -> Scene:
    """OFF and its variants COFF, NOFF and STOFF as one part; the others (4OFF, nOFF, binary) are refused."""
    text = path.read_bytes()
    comments = [found[0] for _, found in zip(range(100), _COMMENT.finditer(text, 0, 1 << 16), strict=False)]
    if b"#" in text:
        text = _COMMENT.sub(b"", text)
    head = _HEAD.match(text)
    if head is None or head[4]:
        raise ValueError("it is binary" if head else "it does not begin with the word OFF")
    numbers, at = _counts(text, head.end())
    vertices, faces = numbers
    rows, faces_at = _vertices(text, at, vertices)
    attributes = _attributes(rows, bool(head[1]), bool(head[2]), bool(head[3]))
    if faces:
        attributes |= _faces(text[faces_at:], faces, rows[:, :3])
        if attributes.pop("split", False):
            corners = attributes["triangles"].reshape(-1)
            rows = rows[corners]
            attributes = {"triangles": numpy.arange(len(rows)), "colours": attributes["colours"]}
    return single(path, b"\n".join(comments).decode("utf-8", "replace"), options, rows[:, :3], **attributes)


def write(scene: Scene, path: Path) -> None:
    """OFF: all instances in one mesh; COFF, with colours at the vertices, where there are some."""
    instances = painted(placed(scene, 1 / (scene.unit_m or 1.0), triangles=True))
    with_colours = any(instance.mesh.colours is not None for instance in instances)
    vertices = sum(len(instance.mesh.positions) for instance in instances)
    triangles = sum(len(instance.mesh.triangles) for instance in instances)
    said = "".join(f"# {text}\n" for text in header_comments.comments(scene.unit_m, scene.up))
    with path.open("wb") as file:
        file.write(b"COFF\n" if with_colours else b"OFF\n")
        file.write(f"{said}{vertices} {triangles} 0\n".encode())
        for instance in instances:
            positions, levels = instance.positions(), instance.mesh.colours
            columns: list[Any] = [positions[:, axis] for axis in range(3)]
            if with_colours:
                columns += ["255"] * 4 if levels is None else [levels[:, channel] for channel in range(4)]
            number_text.write_lines(file, columns)
        start = 0
        for instance in instances:
            corners = instance.triangles()
            number_text.write_lines(
                file, ["3", *(corners[:, corner].astype(numpy.int64) + start for corner in range(3))]
            )
            start += len(instance.mesh.positions)


def _counts(text: bytes, at: int) -> tuple[tuple[int, int], int]:
    """How many vertices and faces it announces, and where the vertices begin."""
    found = re.compile(rb"\s*(\d{1,18})[ \t]+(\d{1,18})([ \t]+\d+)?[ \t]*(?=[\r\n]|$)").match(text, at)
    if found is None:
        raise ValueError("it does not say how many vertices and faces it has")
    vertices, faces = int(found[1]), int(found[2])
    if 6 * vertices + 4 * faces > len(text) + 2:
        raise ValueError(f"it announces {vertices} vertices and {faces} faces, more than it has bytes for")
    return (vertices, faces), found.end()


def _vertices(text: bytes, at: int, count: int) -> tuple[NDArray[Any], int]:
    """The numbers of each vertex, (n, k), and where the faces begin."""
    while text[at : at + 1].isspace():
        at += 1
    width = len(text[at : _end_of_line(text, at)].split())
    if not count or width < 3:
        raise ValueError("there is no mesh and no point in it")
    end = _after_lines(text, at, count)
    values = number_text.parse(text[at:end])
    if len(values) != count * width:
        raise ValueError("its vertices do not have the same number of values each, or some are missing")
    return values.reshape(-1, width), end


def _end_of_line(text: bytes, at: int) -> int:
    end = text.find(b"\n", at)
    return len(text) if end < 0 else end


def _after_lines(text: bytes, at: int, count: int) -> int:
    """The place after some lines that are not empty."""
    data = numpy.frombuffer(text, numpy.uint8, offset=at)
    ends = numpy.append(numpy.flatnonzero(data == 10), len(data))
    if len(ends) >= count and b"\n\n" not in text and b"\n\r" not in text:
        return at + int(ends[count - 1])
    for number in range(len(ends)):
        start = at + (int(ends[number - 1]) + 1 if number else 0)
        count -= bool(text[start : at + int(ends[number])].strip())
        if not count:
            return at + int(ends[number])
    raise ValueError("it ends before all the vertices that it announces")


def _attributes(rows: NDArray[Any], has_uvs: bool, has_colours: bool, has_normals: bool) -> dict[str, Any]:
    """What stands behind the coordinates: normals, then colours, then texture coordinates."""
    at, found = 3, dict[str, Any]()
    if has_normals and rows.shape[1] >= at + 3:
        found["normals"], at = rows[:, at : at + 3], at + 3
    spare = rows.shape[1] - at - (2 if has_uvs else 0)
    if (has_colours or not has_normals) and spare in (3, 4):
        found["colours"], at = _levels(rows[:, at : at + spare]), at + spare
    if has_uvs and rows.shape[1] >= at + 2:
        uvs = rows[:, at : at + 2].copy()
        uvs[:, 1] = 1 - uvs[:, 1]
        found["uvs"] = uvs
    return found


def _levels(values: NDArray[Any]) -> NDArray[numpy.uint8]:
    """Colours as 8-bit levels: all of them from 0 to 1, or from 0 to 255; white where they are not numbers."""
    known = numpy.nan_to_num(values, posinf=255.0, neginf=0.0)
    scale = 255.0 if known.max() <= 1 and (known != numpy.floor(known)).any() else 1.0
    levels = numpy.full((len(values), 4), 255, numpy.uint8)
    levels[:, : values.shape[1]] = numpy.round((known * scale).clip(0, 255))
    levels[numpy.isnan(values).any(axis=1)] = 255
    return levels


def _faces(text: bytes, count: int, points: NDArray[Any]) -> dict[str, Any]:
    """Triangles, and materials of the colours that faces have."""
    counts, numbers, colours = _even(text, count) or _uneven(text, count)
    if not numpy.isfinite(numbers).all() or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(points)):
        raise ValueError("its triangles refer to vertices that are not there")
    corners = numbers.astype(numpy.int64, copy=False)
    places, owner = triangulate(points, corners, counts)
    triangles = corners.reshape(-1, 3) if (counts == 3).all() else corners[places]
    if colours is None or not len(places):
        return {"triangles": triangles}
    return {"triangles": triangles, **of_faces(_levels(colours)[owner], triangles)}


_Faces = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]
"""How many corners each face has, the numbers of all of them, and the colours of the faces."""


def _even(text: bytes, count: int) -> _Faces | None:
    """The faces when all lines are alike; None when they are not."""
    values = number_text.parse(text, numpy.float64 if b"." in text else numpy.int64)
    start = text[: len(text) - len(text.lstrip())]
    width = len(text[len(start) : _end_of_line(text, len(start))].split())
    if not width or len(values) < count * width:
        return None
    rows = values[: count * width].reshape(-1, width)
    size = int(rows[0, 0])
    if (rows[:, 0] != size).any() or not 1 <= size <= width - 1:
        return None
    colours = rows[:, size + 1 :] if width - size - 1 in (3, 4) else None
    return numpy.full(count, size), numpy.ascontiguousarray(rows[:, 1 : size + 1]).reshape(-1), colours


def _uneven(text: bytes, count: int) -> _Faces:
    """The faces line by line; the colours of those that have none are not numbers."""
    lines = [line for line in text.split(b"\n") if line.strip()][:count]
    if len(lines) < count:
        raise ValueError("it ends before all the faces that it announces")
    rows = [number_text.parse(line) for line in lines]
    sizes = [int(row[0]) if 0 <= row[0] < len(row) else -1 for row in rows]
    if -1 in sizes:
        raise ValueError("one of its faces has fewer corners than it says")
    numbers = numpy.concatenate([row[1 : 1 + size] for row, size in zip(rows, sizes, strict=True)])
    rest = [row[1 + size :] for row, size in zip(rows, sizes, strict=True)]
    if not any(len(entry) in (3, 4) for entry in rest):
        return numpy.array(sizes), numbers, None
    whole = 255.0 if max(float(entry.max(initial=0)) for entry in rest) > 1 else 1.0
    colours = numpy.full((count, 4), numpy.nan)
    for row, entry in enumerate(rest):
        if len(entry) in (3, 4):
            colours[row] = [*entry[:3], entry[3] if len(entry) == 4 else whole]
    return numpy.array(sizes), numbers, colours
