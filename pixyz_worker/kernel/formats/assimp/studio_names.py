"""What assimp does not tell of a 3D Studio file: the names of meshes without key frames, whether there is smoothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAIN, _EDITOR, _OBJECT, _MESH, _FACES, _SMOOTHING = 0x4D4D, 0x3D3D, 0x4000, 0x4100, 0x4120, 0x4150
_LONGEST_NAME = 256


def mesh_names(data: bytes) -> list[str]:
    """The names of the meshes of a whole file, in its order; ValueError when it is no such file, or cut off."""
    top = next(_chunks(data, 0, len(data)), None)
    if top is None or top[0] != _MAIN:
        raise ValueError(f"it does not begin as 3D Studio files do but with {data[:8]!r}")
    if top[2] > len(data):
        raise ValueError(f"it is cut off: {top[2]} bytes announced, {len(data)} there")
    return [
        name for kind, start, end in _chunks(data, *top[1:]) if kind == _EDITOR for name, _ in _meshes(data, start, end)
    ]


def has_smoothing(data: bytes) -> bool:
    """Whether any mesh of a whole file has smoothing groups; without them all triangles are flat."""
    return any(
        kind == _SMOOTHING
        for _, top, stop in _chunks(data, 0, len(data))
        for part, start, end in _chunks(data, top, stop)
        if part == _EDITOR
        for _, mesh in _meshes(data, start, end)
        for below, inside, last in _chunks(data, *mesh)
        if below == _FACES and inside + 2 <= last <= len(data)
        for kind, _, _ in _chunks(data, inside + 2 + 8 * struct.unpack_from("<H", data, inside)[0], last)
    )


def _meshes(data: bytes, start: int, end: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name of each mesh, and where its content begins and ends."""
    for kind, inside, stop in _chunks(data, start, end):
        if kind != _OBJECT:
            continue
        length = data.find(b"\0", inside, min(stop, inside + _LONGEST_NAME))
        found = (
            [(at, last) for part, at, last in _chunks(data, length + 1, stop) if part == _MESH] if length >= 0 else []
        )
        if found:
            yield _text(data[inside:length]), found[0]


def _chunks(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The chunks that follow each other: kind, where the content begins, where it ends."""
    while start + 6 <= min(end, len(data)):
        kind, length = struct.unpack_from("<HI", data, start)
        if length < 6:
            return
        yield kind, start + 6, start + length
        start += length


def _text(name: bytes) -> str:
    """A name: UTF-8 where it is, else the code page of the time."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp1252", "replace")
