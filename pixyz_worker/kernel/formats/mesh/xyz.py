"""Clouds of points as lines of text: coordinates, then maybe colours or normals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import header_comments, number_text
from pixyz_worker.kernel.formats.shared.placing import placed, single
from pixyz_worker.kernel.formats.shared.vertex_colours import painted
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_COMMENT = re.compile(rb"(?:#|//)[^\r\n]*")


def read(path: Path, options: ReadOptions) -> Scene:
    """Lines of x y z, x y z r g b, x y z nx ny nz, or all nine, as one cloud of points; commas may part them."""
    comments = list[bytes]()
    with path.open("rb") as file:
        blocks = [_rows(block, comments) for block in number_text.blocks(file)]
    filled = [rows for rows in blocks if len(rows)]
    if not filled:
        raise ValueError("there is no point in it")
    if len({rows.shape[1] for rows in filled}) > 1:
        raise ValueError("its lines are not all of the same length")
    rows = numpy.concatenate(filled)
    said = b"\n".join(comments[:100]).decode("utf-8", "replace")
    return single(path, said, options, rows[:, :3], **_attributes(rows[:, 3:]))


def write(scene: Scene, path: Path) -> None:
    """Lines of coordinates, with colours where there are some: all points, or all vertices of all instances."""
    instances = painted(placed(scene, 1 / (scene.unit_m or 1.0)))
    with_colours = any(instance.mesh.colours is not None for instance in instances)
    with path.open("wb") as file:
        for text in header_comments.comments(scene.unit_m, scene.up):
            file.write(f"# {text}\n".encode())
        for instance in instances:
            positions, levels = instance.positions(), instance.mesh.colours
            columns: list[Any] = [positions[:, axis] for axis in range(3)]
            if with_colours:
                columns += ["255"] * 3 if levels is None else [levels[:, channel] for channel in range(3)]
            number_text.write_lines(file, columns)


def _rows(text: bytes, comments: list[bytes]) -> NDArray[Any]:
    """The numbers of some whole lines, (n, k)."""
    if b"#" in text or b"//" in text:
        comments += _COMMENT.findall(text)
        text = _COMMENT.sub(b"", text)
    text = text.translate(bytes.maketrans(b",;\t", b"   ")).strip()
    if not text:
        return numpy.empty((0, 0))
    counts = number_text.words_of_lines(text)
    width = int(counts.max())
    if not 3 <= width <= 16:
        raise ValueError("its lines do not begin with three numbers each")
    if not ((counts == width) | (counts == 0)).all():
        raise ValueError("its lines are not all of the same length")
    values = number_text.parse(text)
    return values.reshape(-1, width)


def _attributes(rest: NDArray[Any]) -> dict[str, Any]:
    """What columns after the coordinates are, by their values."""
    if rest.shape[1] == 6:
        first, second = _attributes(rest[:, :3]), _attributes(rest[:, 3:])
        return {**first, **second}
    if rest.shape[1] not in (3, 4):
        return {}
    low, high = float(rest.min()), float(rest.max())
    lengths = numpy.linalg.norm(rest[:, :3], axis=1)
    if rest.shape[1] == 3 and numpy.abs(lengths - 1).max() < 0.01:
        return {"normals": rest}
    if low < 0 or not high <= 255:
        return {}
    scale = 1 if (rest == numpy.floor(rest)).all() and high > 1 else 255 if high <= 1 else 0
    if not scale:
        return {}
    levels = numpy.full((len(rest), 4), 255, numpy.uint8)
    levels[:, : rest.shape[1]] = numpy.round(rest * scale)
    return {"colours": levels}
