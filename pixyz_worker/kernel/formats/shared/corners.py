"""Vertices out of the corners of triangles, where a file numbers positions, normals and texture coordinates apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import pyarrow
from numpy.typing import NDArray

_ROOM = 1 << 62


def unite(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[numpy.int64], NDArray[numpy.uint32]]:
    """One vertex for each different row of some columns of whole numbers, each (n,).

    Gives for each vertex the first row that has its numbers, (k,), and for each row its vertex, (n,).
    """
    first = columns[0]
    apart = [column for column in columns[1:] if not numpy.array_equal(column, first)]
    if not apart:
        return _unite_one(first)
    key = first.astype(numpy.int64) - int(first.min())
    for column in apart:
        low, size = int(column.min()), int(column.max()) - int(column.min()) + 1
        if int(key.max()) + 1 >= _ROOM // size:
            key = numpy.asarray(_encoded(pyarrow.array(key))[1], dtype=numpy.int64)
        key = key * size + (column - low)
    return _encoded(pyarrow.array(key))


def weld(positions: NDArray[numpy.float32]) -> tuple[NDArray[numpy.int64], NDArray[numpy.uint32]]:
    """One vertex for each different place of (n, 3) positions: the first row that is there, and each row's vertex."""
    places = numpy.ascontiguousarray(positions + numpy.float32(0))  # -0 and 0 are the same place
    rows = pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(12), len(places), [None, pyarrow.py_buffer(places)])
    return _encoded(rows)


def _unite_one(column: NDArray[Any]) -> tuple[NDArray[numpy.int64], NDArray[numpy.uint32]]:
    """The same for one column: vertices keep the order of their numbers where these lie close together."""
    low, span = int(column.min()), int(column.max()) - int(column.min()) + 1
    if span > 4 * len(column) + 64:
        return _encoded(pyarrow.array(numpy.ascontiguousarray(column)))
    first = numpy.full(span, -1, numpy.int64)
    first[(column - low)[::-1]] = numpy.arange(len(column) - 1, -1, -1)
    used = first >= 0
    place = numpy.cumsum(used, dtype=numpy.int64) - 1
    return first[used], place[column - low].astype(numpy.uint32)


def _encoded(rows: Any) -> tuple[NDArray[numpy.int64], NDArray[numpy.uint32]]:
    numbers = rows.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = numpy.empty(int(numbers.max()) + 1, numpy.int64)
    first[numbers[::-1]] = numpy.arange(len(numbers) - 1, -1, -1)
    return first, numbers.astype(numpy.uint32)
