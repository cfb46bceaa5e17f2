"""Strips and fans of triangles as triangles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy
from numpy.typing import NDArray


def strips_to_triangles(strips: Iterable[NDArray[Any]]) -> NDArray[numpy.int64]:
    """The triangles of strips, each an array of vertex numbers, (m, 3); every other one is turned over."""
    found = [numpy.empty((0, 3), numpy.int64)]
    for strip in strips:
        if len(strip) >= 3:
            triangles = numpy.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1).astype(numpy.int64)
            triangles[1::2] = triangles[1::2, [1, 0, 2]]
            found.append(triangles)
    return numpy.concatenate(found)


def fans_to_triangles(fans: Iterable[NDArray[Any]]) -> NDArray[numpy.int64]:
    """The triangles of fans, each an array of vertex numbers, the hub first, (m, 3)."""
    found = [numpy.empty((0, 3), numpy.int64)]
    for fan in fans:
        if len(fan) >= 3:
            hub = numpy.full(len(fan) - 2, fan[0])
            found.append(numpy.stack([hub, fan[1:-1], fan[2:]], axis=1).astype(numpy.int64))
    return numpy.concatenate(found)
