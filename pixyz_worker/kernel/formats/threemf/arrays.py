"""Arrays in and out of lib3mf: its own Python functions make an object of each vertex, which takes ten times longer."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import lib3mf
import numpy
from numpy.typing import NDArray


@cache
def library() -> Any:
    """The library, loaded once in a process."""
    return lib3mf.get_wrapper()


def vertices(mesh: Any) -> NDArray[numpy.float32]:
    """The vertices of a mesh object, (n, 3), in the model's unit."""
    places = numpy.empty((mesh.GetVertexCount(), 3), numpy.float32)
    _call(mesh, "meshobject_getvertices", *_room(places, lib3mf.Position))
    return places


def triangles(mesh: Any) -> NDArray[numpy.uint32]:
    """The vertices of the triangles of a mesh object, (m, 3)."""
    corners = numpy.empty((mesh.GetTriangleCount(), 3), numpy.uint32)
    _call(mesh, "meshobject_gettriangleindices", *_room(corners, lib3mf.Triangle))
    return corners


def properties(mesh: Any) -> NDArray[numpy.uint32]:
    """For each triangle the group of properties, 0 for none, and the property at each of its corners, (m, 4)."""
    rows = numpy.empty((mesh.GetTriangleCount(), 4), numpy.uint32)
    _call(mesh, "meshobject_getalltriangleproperties", *_room(rows, lib3mf.TriangleProperties))
    return rows


def set_geometry(mesh: Any, places: NDArray[Any], corners: NDArray[Any]) -> None:
    """Give a mesh object its vertices, (n, 3), and triangles, (m, 3)."""
    points = numpy.ascontiguousarray(places, numpy.float32)
    numbers = numpy.ascontiguousarray(corners, numpy.uint32)
    given = (*_given(points, lib3mf.Position), *_given(numbers, lib3mf.Triangle))
    _call(mesh, "meshobject_setgeometry", *given)


def set_properties(mesh: Any, rows: NDArray[Any], default: NDArray[Any]) -> None:
    """Give the triangles of a mesh object their properties, (m, 4), as properties() has them.

    The format wants an object whose triangles have properties to have some itself: the first two of `default`.
    """
    plain = numpy.ascontiguousarray(rows, numpy.uint32)
    mesh.SetObjectLevelProperty(int(default[0]), int(default[1]))
    _call(mesh, "meshobject_setalltriangleproperties", *_given(plain, lib3mf.TriangleProperties))


def content(attachment: Any) -> bytes:
    """The bytes of an attachment."""
    data = numpy.empty((attachment.GetStreamSize(), 1), numpy.uint8)
    _call(attachment, "attachment_writetobuffer", *_room(data, ctypes.c_uint8))
    return data.tobytes()


def set_content(attachment: Any, data: bytes) -> None:
    """Give an attachment its bytes."""
    _call(attachment, "attachment_readfrombuffer", *_given(numpy.frombuffer(data, numpy.uint8), ctypes.c_uint8))


def _call(target: Any, name: str, *arguments: Any) -> None:
    wrapper = library()
    wrapper.checkError(target, getattr(wrapper.lib, f"lib3mf_{name}")(target._handle, *arguments))


def _given(values: NDArray[Any], kind: Any) -> tuple[Any, ...]:
    return ctypes.c_uint64(len(values)), values.ctypes.data_as(ctypes.POINTER(kind))


def _room(values: NDArray[Any], kind: Any) -> tuple[Any, ...]:
    count = ctypes.c_uint64(len(values))
    return count, ctypes.byref(ctypes.c_uint64(0)), values.ctypes.data_as(ctypes.POINTER(kind))
