"""Accessors of a glTF document as numpy arrays (glTF 2.0, section 3.6), and arrays as accessors."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.gltf.document import Document
from pixyz_worker.kernel.material import to_linear, to_srgb

_KINDS: dict[int, Any] = {
    5120: numpy.int8,
    5121: numpy.uint8,
    5122: numpy.int16,
    5123: numpy.uint16,
    5125: numpy.uint32,
    5126: numpy.float32,
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_NUMBERS = {numpy.dtype(kind): number for number, kind in _KINDS.items()}


def array(document: Document, index: int) -> NDArray[Any]:
    """An accessor of a checked document, (count, width); a view of the document's bytes where that is possible."""
    accessor = document.tree["accessors"][index]
    kind, width = numpy.dtype(_KINDS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
    count = accessor["count"]
    if "bufferView" in accessor:
        values = _view(document, accessor["bufferView"], accessor.get("byteOffset", 0), kind, width, count)
    else:
        values = numpy.zeros((count, width), kind)
    return _patched(document, accessor["sparse"], values) if "sparse" in accessor else values


def _view(document: Document, number: int, offset: int, kind: Any, width: int, count: int) -> NDArray[Any]:
    view = document.tree["bufferViews"][number]
    start, stride = view.get("byteOffset", 0) + offset, view.get("byteStride") or kind.itemsize * width
    if count == 0:
        return numpy.empty((0, width), kind)
    return numpy.ndarray((count, width), kind, document.binary, start, (stride, kind.itemsize))


def _patched(document: Document, sparse: Any, values: NDArray[Any]) -> NDArray[Any]:
    """Values of which a sparse accessor replaces some."""
    try:
        count, where, what = sparse["count"], sparse["indices"], sparse["values"]
        kind = numpy.dtype(_KINDS[where["componentType"]])
        rows = _view(document, where["bufferView"], where.get("byteOffset", 0), kind, 1, count)
        new = _view(document, what["bufferView"], what.get("byteOffset", 0), values.dtype, values.shape[1], count)
        values = values.copy()
        values[rows[:, 0]] = new
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError("a sparse accessor makes no sense") from error
    return values


def check(document: Document) -> None:
    """Raise ValueError when triangles refer to vertices that are not there, or coordinates are not numbers.

    Takes a checked document. What an extension has compressed is left to those who unpack it.
    """
    accessors, seen = document.tree.get("accessors", []), set[tuple[int, int]]()
    for mesh in document.tree.get("meshes", []):
        for primitive in mesh.get("primitives", []):
            position, indices = primitive.get("attributes", {}).get("POSITION", -1), primitive.get("indices", -1)
            if position == -1 or (position, indices) in seen:
                continue
            seen.add((position, indices))
            if _is_plain(document, position) and not _finite(array(document, position)):
                raise ValueError("some of its coordinates are not numbers")
            if _is_plain(document, indices) and accessors[indices]["count"]:
                order = array(document, indices)
                if order.min() < 0 or order.max() >= accessors[position]["count"]:
                    raise ValueError("its triangles refer to vertices that are not there")


def _is_plain(document: Document, index: int) -> bool:
    """Whether the numbers of an accessor stand in the file as they are."""
    accessor = document.tree["accessors"][index] if index != -1 else {}
    if "bufferView" not in accessor:
        return False
    extensions = document.tree["bufferViews"][accessor["bufferView"]].get("extensions", {})
    return not any(name.endswith("meshopt_compression") for name in extensions)


def _finite(values: NDArray[Any]) -> bool:
    """Whether all values are numbers; a sum shows it for nearly all arrays, without an array of its own."""
    with numpy.errstate(all="ignore"):
        return bool(numpy.isfinite(values.sum(dtype=numpy.float32)) or numpy.isfinite(values).all())


def floats(document: Document, index: int) -> NDArray[numpy.float32]:
    """An accessor as 32-bit floats; normalised whole numbers become 0 to 1, or -1 to 1."""
    values = array(document, index)
    if values.dtype == numpy.float32:
        return values
    result = values.astype(numpy.float32)
    if document.tree["accessors"][index].get("normalized"):
        result = numpy.maximum(result / numpy.iinfo(values.dtype).max, -1.0)
    return result


def srgb_levels(document: Document, index: int) -> NDArray[numpy.uint8]:
    """A COLOR_0 accessor, which is linear, as 8-bit sRGB and opacity, (n, 4)."""
    values = numpy.clip(floats(document, index), 0.0, 1.0)
    levels = numpy.full((len(values), 4), 255, numpy.uint8)
    steps = numpy.rint(values * 65535).astype(numpy.uint16)
    levels[:, :3] = _TO_SRGB[steps[:, :3]]
    if steps.shape[1] == 4:
        levels[:, 3] = numpy.rint(steps[:, 3] / 257.0)
    return levels


def linear_steps(levels: NDArray[numpy.uint8]) -> NDArray[numpy.uint16]:
    """8-bit sRGB and opacity as 16-bit linear values, which keep each level apart."""
    steps = _TO_LINEAR[levels]
    steps[:, 3] = levels[:, 3].astype(numpy.uint16) * 257
    return steps


def accessor(values: NDArray[Any], view: int, *, bounds: bool = False, normalised: bool = False) -> dict[str, Any]:
    """The JSON of an accessor for an array, (n, width) or (n,), that fills a buffer view."""
    width = values.shape[1] if values.ndim > 1 else 1
    made: dict[str, Any] = {
        "bufferView": view,
        "componentType": _NUMBERS[values.dtype],
        "count": len(values),
        "type": _TYPES[width],
    }
    if normalised:
        made["normalized"] = True
    if bounds and len(values):
        made["min"] = numpy.atleast_1d(values.min(axis=0)).tolist()
        made["max"] = numpy.atleast_1d(values.max(axis=0)).tolist()
    return made


_TO_LINEAR = numpy.array([round(to_linear(level / 255.0) * 65535) for level in range(256)], dtype=numpy.uint16)
_TO_SRGB = numpy.array([round(to_srgb(step / 65535.0) * 255.0) for step in range(65536)], dtype=numpy.uint8)
