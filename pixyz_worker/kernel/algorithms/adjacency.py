"""What hangs together in a mesh: equal vertices, edges, boundary loops, connected pieces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

Integers = NDArray[numpy.int64]
Marks = NDArray[numpy.bool_]

_ODD = numpy.uint64(0x9E3779B97F4A7C15)
_HALF = numpy.uint64(32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edges:
    """The edges of triangles, each once; half-edge 3 t + k runs from corner k of triangle t to the next corner."""

    ends: Integers
    """The two vertices of each edge, the lower first, (k, 2)."""
    counts: Integers
    """How many triangles meet at each edge, (k,)."""
    half_edges: Integers
    """All half-edges, sorted by their edge, (3 m,)."""

    @property
    def starts(self) -> Integers:
        """Where the half-edges of each edge begin in half_edges, (k,)."""
        return numpy.cumsum(self.counts) - self.counts

    @property
    def boundary(self) -> Marks:
        """Which edges have one triangle only, (k,)."""
        marks: Marks = self.counts == 1
        return marks

    @property
    def non_manifold(self) -> Marks:
        """Which edges have more than two triangles, (k,)."""
        marks: Marks = self.counts > 2
        return marks

    def pairs(self) -> tuple[Integers, Integers]:
        """The two half-edges of each edge where two triangles meet."""
        starts = self.starts[self.counts == 2]
        return self.half_edges[starts], self.half_edges[starts + 1]


def distinct(*columns: NDArray[Any] | None) -> tuple[Integers, Integers]:
    """Number rows so that those equal in all columns get the same number, in the order in which they first appear.

    Columns that are None are passed over. Returns the first row of each number, and the number of each row. Minus
    zero equals zero.
    """
    words = numpy.hstack([_words(column) for column in columns if column is not None])
    marks = reduce(lambda mark, word: _stirred(mark ^ word), words.T, numpy.zeros(len(words), numpy.uint64))
    ordered = numpy.sort(marks)
    if not (ordered[1:] == ordered[:-1]).any():
        own = numpy.arange(len(words))
        return own, own
    order = numpy.argsort(marks)
    same = marks[order[1:]] == marks[order[:-1]]
    if (words[order[1:][same]] != words[order[:-1][same]]).any():
        # Two different rows with the same 64-bit mark: the slow way is exact.
        _, lowest, numbers = numpy.unique(words, axis=0, return_index=True, return_inverse=True)
        return _in_order(lowest, numbers.reshape(-1))
    starts = numpy.flatnonzero(numpy.concatenate([[True], ~same])[: len(order)])
    numbers = numpy.empty(len(order), numpy.int64)
    numbers[order] = numpy.repeat(numpy.arange(len(starts)), numpy.diff(numpy.append(starts, len(order))))
    return _in_order(numpy.minimum.reduceat(order, starts), numbers)


def edges(triangles: NDArray[Any]) -> Edges:
    """The edges of triangles (m, 3); those that have no three different vertices have none."""
    proper = is_proper(triangles)
    chosen = None if proper.all() else numpy.flatnonzero(proper)
    keys = _edge_keys(triangles if chosen is None else triangles[chosen])
    order = numpy.argsort(keys)
    ordered = keys[order]
    starts = _starts(ordered)
    return Edges(
        ends=_ends(ordered[starts]),
        counts=numpy.diff(numpy.append(starts, len(ordered))),
        half_edges=order if chosen is None else 3 * chosen[order // 3] + order % 3,
    )


def edge_counts(triangles: NDArray[Any]) -> tuple[Integers, Integers]:
    """The two vertices of each edge of triangles (m, 3), and how many triangles meet there; quicker than edges()."""
    ordered = numpy.sort(_edge_keys(triangles[is_proper(triangles)]))
    starts = _starts(ordered)
    return _ends(ordered[starts]), numpy.diff(numpy.append(starts, len(ordered)))


def is_proper(triangles: NDArray[Any]) -> Marks:
    """Which triangles (m, 3) have three different vertices, (m,)."""
    first, second, third = triangles.T
    marks: Marks = (first != second) & (second != third) & (third != first)
    return marks


def next_corners(corners: Integers) -> Integers:
    """For corners, or half-edges, numbered 3 t + k, the next ones of the same triangles."""
    return corners - corners % 3 + (corners + 1) % 3


def components(count: int, ends: NDArray[Any], others: NDArray[Any]) -> Integers:
    """Number `count` things so that those linked by pairs (ends[i], others[i]) get the same number, (count,)."""
    links = sparse.coo_matrix((numpy.ones(len(ends), numpy.int8), (ends, others)), shape=(count, count))
    numbers: Integers = csgraph.connected_components(links, directed=False)[1].astype(numpy.int64)
    return numbers


def pieces(triangles: NDArray[Any], vertex_count: int) -> Integers:
    """Number triangles (m, 3) so that those which hang together by vertices get the same number from 0, (m,)."""
    first, second, third = triangles.T
    joined = components(vertex_count, numpy.concatenate([first, second]), numpy.concatenate([second, third]))
    return distinct(joined[first])[1]


def loops(ends: NDArray[Any]) -> int:
    """How many loops edges (k, 2) make: those that hang together count as one."""
    if not len(ends):
        return 0
    used, numbers = numpy.unique(ends, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    return int(components(len(used), numbers[:, 0], numbers[:, 1]).max()) + 1


def _words(column: NDArray[Any]) -> NDArray[numpy.uint32]:
    rows = column.reshape(len(column), -1)
    rows = rows + rows.dtype.type(0) if rows.dtype.kind == "f" else rows
    words: NDArray[numpy.uint32] = numpy.ascontiguousarray(rows).view(numpy.uint32)
    return words


def _stirred(marks: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    mixed: NDArray[numpy.uint64] = (marks + _ODD) * _ODD
    mixed ^= mixed >> _HALF
    return mixed


def _edge_keys(triangles: NDArray[Any]) -> NDArray[numpy.uint64]:
    """A number for the edge of each half-edge, (3 m,): the same for both directions."""
    after = triangles[:, [1, 2, 0]]
    low = numpy.minimum(triangles, after).astype(numpy.uint64)
    keys: NDArray[numpy.uint64] = low << _HALF | numpy.maximum(triangles, after).astype(numpy.uint64)
    return keys.reshape(-1)


def _starts(ordered: NDArray[numpy.uint64]) -> Integers:
    return numpy.flatnonzero(numpy.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])


def _ends(keys: NDArray[numpy.uint64]) -> Integers:
    return numpy.stack([keys >> _HALF, keys & numpy.uint64(0xFFFFFFFF)], axis=1).astype(numpy.int64)


def _in_order(lowest: Integers, numbers: Integers) -> tuple[Integers, Integers]:
    """Numbers given in the order of the first row of each."""
    order = numpy.argsort(lowest)
    place = numpy.empty_like(order)
    place[order] = numpy.arange(len(order))
    return lowest[order], place[numbers]
