"""Collapsing edges onto one of their ends, many at a time: for meshes with triangles too narrow for the library.

Errors are those of M. Garland and P. S. Heckbert, Surface simplification using quadric error metrics (1997), with
planes weighted by area. In each round the cheapest collapses that do not disturb each other are made together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.algorithms import adjacency

Floats = NDArray[numpy.float64]
Integers = NDArray[numpy.int64]
Marks = NDArray[numpy.bool_]

_CHEAPEST = 0.3
"""Share of the vertices, those that cost least, from which a round chooses."""
_HUB = 128
"""Neighbours above which a vertex stays: each of them would have to be looked at from each."""
_LEAST_COSINE = 0.2
"""Between the normals of a triangle before and after; below it would be turned over."""
_WALL = 10.0
"""How much more leaving a line costs than leaving a surface of the same size."""

_EQUAL = 1e-14
"""Costs below which it does not matter which is lower, for a mesh of about size 1."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Moves:
    """Collapses that may be made: the first vertex goes into the second one."""

    gone: Integers
    """Vertices that go, (k,)."""
    onto: Integers
    """Where each goes, (k,)."""
    edge: Integers
    """The number of the edge between the two, (k,)."""

    def only(self, chosen: NDArray[Any]) -> _Moves:
        """Some of them."""
        return _Moves(gone=self.gone[chosen], onto=self.onto[chosen], edge=self.edge[chosen])


def thin_out(points: Floats, triangles: NDArray[Any], target: int, walls: NDArray[Any] | None) -> Integers:
    """Collapse edges until no more than `target` triangles are left, or no further one can go.

    Args:
        points: vertices, (n, 3), within a box of about size 1.
        triangles: their vertices, three different ones each, (m, 3).
        target: triangles wanted.
        walls: edges (w, 2) of lines whose vertices stay on them.

    Returns:
        For each vertex the one that it went into, itself if it stays, (n,).
    """
    count = len(points)
    roots = numpy.arange(count)
    triangles = triangles.astype(numpy.int64)
    walls = numpy.zeros((0, 2), numpy.int64) if walls is None else walls
    errors = _quadrics(points, triangles, walls)
    share = _CHEAPEST
    while len(triangles) > target:
        edges = adjacency.edges(triangles)
        moves, cost = _moves(points, edges, errors, walls, share)
        chosen = _chosen(points, triangles, edges, moves, cost, len(triangles) - target)
        if not len(chosen.gone):
            if share == 1.0:
                break
            share = 1.0
            continue
        share = _CHEAPEST
        step = numpy.arange(count)
        step[chosen.gone] = chosen.onto
        errors[chosen.onto] += errors[chosen.gone]
        roots, triangles, walls = step[roots], step[triangles], step[walls]
        triangles = triangles[adjacency.is_proper(triangles)]
        walls = walls[walls[:, 0] != walls[:, 1]]
    return roots


def _quadrics(points: Floats, triangles: Integers, walls: NDArray[Any]) -> Floats:
    """The error quadrics of the vertices, (n, 4, 4)."""
    first, second, third = (points[triangles[:, number]] for number in range(3))
    normals = numpy.cross(second - first, third - first)
    count = len(points)
    errors = numpy.zeros((count, 4, 4))
    _add(errors, triangles, normals, first, numpy.linalg.norm(normals, axis=1))
    if len(walls):
        around = numpy.stack(
            [numpy.bincount(triangles.reshape(-1), numpy.repeat(normals[:, axis], 3), count) for axis in range(3)],
            axis=1,
        )
        start, along = points[walls[:, 0]], points[walls[:, 1]] - points[walls[:, 0]]
        upright = numpy.cross(along, around[walls].sum(axis=1))
        _add(errors, walls, upright, start, _WALL * numpy.einsum("ij,ij->i", along, along))
    return errors


def _add(errors: Floats, users: NDArray[Any], normals: Floats, places: Floats, weights: Floats) -> None:
    """Add the planes through places, with such normals and weights, to the quadrics of the vertices that use them."""
    lengths = numpy.linalg.norm(normals, axis=1, keepdims=True)
    unit = normals / numpy.where(lengths > 0, lengths, 1)
    plane = numpy.column_stack([unit, -numpy.einsum("ij,ij->i", unit, places)])
    width = users.shape[1]
    for row in range(4):
        for column in range(4):
            values = numpy.repeat(plane[:, row] * plane[:, column] * weights, width)
            errors[:, row, column] += numpy.bincount(users.reshape(-1), values, len(errors))


def _moves(
    points: Floats, edges: adjacency.Edges, errors: Floats, walls: NDArray[Any], share: float
) -> tuple[_Moves, Floats]:
    """The moves that cost least, and what they cost: along lines only for what is on a line, and ends of lines stay."""
    count = len(points)
    line = edges.counts != 2
    line |= numpy.isin(edges.ends @ [count, 1], numpy.sort(walls, axis=1) @ [count, 1])
    lines = numpy.bincount(edges.ends[line].reshape(-1), minlength=count)
    neighbours = numpy.bincount(edges.ends.reshape(-1), minlength=count)
    numbers = numpy.arange(len(line))
    every = _Moves(
        gone=edges.ends.T.reshape(-1), onto=edges.ends.T[::-1].reshape(-1), edge=numpy.concatenate([numbers, numbers])
    )
    free = (lines[every.gone] == 0) | (line[every.edge] & (lines[every.gone] == 2))
    every = every.only(free & (neighbours[every.gone] <= _HUB))
    places = numpy.column_stack([points[every.onto], numpy.ones(len(every.onto))])
    cost = numpy.einsum("ij,ijk,ik->i", places, errors[every.gone] + errors[every.onto], places)
    if share < 1 and len(cost):
        limit = numpy.partition(cost, int(len(cost) * share))[int(len(cost) * share)]
        return every.only(cost <= limit), cost[cost <= limit]
    return every, cost


def _chosen(
    points: Floats, triangles: Integers, edges: adjacency.Edges, moves: _Moves, cost: Floats, needed: int
) -> _Moves:
    """The cheapest moves that keep the surface whole, do not disturb each other, and take no more than is needed.

    A move is disturbed by a cheaper one that uses one of its two vertices or a neighbour of the one that goes.
    """
    # Without chance, long rows of neighbours that cost the same would wait for each other.
    order = numpy.argsort((cost + _EQUAL) * numpy.random.default_rng(0).uniform(1, 1.5, len(cost)), kind="stable")
    moves = moves.only(order)
    moves = moves.only(_keeps_sides(points, triangles, moves))
    owner, ring = _rings(edges, moves.gone, len(points))
    moves_kept = _keeps_links(edges, moves, owner, ring, len(points))
    kept_rows = moves_kept[owner]
    place = numpy.cumsum(moves_kept) - 1
    moves, owner, ring = moves.only(moves_kept), place[owner[kept_rows]], ring[kept_rows]
    rank = numpy.arange(len(moves.gone))
    best = numpy.full(len(points), len(rank))
    numpy.minimum.at(best, moves.gone, rank)
    numpy.minimum.at(best, moves.onto, rank)
    alone = (best[moves.gone] == rank) & (best[moves.onto] == rank)
    alone[owner[best[ring] < owner]] = False
    moves = moves.only(alone)
    taken = numpy.cumsum(edges.counts[moves.edge])
    return moves.only(taken - edges.counts[moves.edge] < needed)


def _keeps_sides(points: Floats, triangles: Integers, moves: _Moves) -> Marks:
    """Whether no triangle around the vertex that goes would be turned over or lose its area."""
    flat = triangles.reshape(-1)
    owner, corner = _expanded(flat, moves.gone, len(points))
    stays = (triangles[corner // 3] != moves.onto[owner, None]).all(axis=1)
    owner, corner = owner[stays], corner[stays]
    next_, last = flat[adjacency.next_corners(corner)], flat[adjacency.next_corners(adjacency.next_corners(corner))]
    side = points[last] - points[next_]
    before = numpy.cross(side, points[moves.gone[owner]] - points[next_])
    after = numpy.cross(side, points[moves.onto[owner]] - points[next_])
    agreement = numpy.einsum("ij,ij->i", before, after)
    lengths = numpy.linalg.norm(before, axis=1) * numpy.linalg.norm(after, axis=1)
    fails = (agreement <= _LEAST_COSINE * lengths) & before.any(axis=1)
    marks = numpy.ones(len(moves.gone), bool)
    marks[owner[fails]] = False
    return marks


def _keeps_links(edges: adjacency.Edges, moves: _Moves, owner: Integers, ring: Integers, count: int) -> Marks:
    """Whether the two vertices have no other neighbours in common than those of the triangles between them.

    Else the surface would be pinched (the link condition of T. K. Dey and others, Topology preserving edge
    contraction, 1999).
    """
    pair = numpy.sort(numpy.stack([moves.onto[owner], ring], axis=1), axis=1) @ [count, 1]
    keys = edges.ends @ [count, 1]
    place = numpy.minimum(numpy.searchsorted(keys, pair), len(keys) - 1)
    common = numpy.bincount(owner[keys[place] == pair], minlength=len(moves.gone))
    marks: Marks = common == edges.counts[moves.edge]
    return marks


def _rings(edges: adjacency.Edges, vertices: Integers, count: int) -> tuple[Integers, Integers]:
    """The neighbours of vertices: for each the place of the vertex, and the neighbour."""
    owner, end = _expanded(edges.ends.reshape(-1), vertices, count)
    return owner, edges.ends.reshape(-1)[end ^ 1]


def _expanded(users: Integers, wanted: Integers, count: int) -> tuple[Integers, Integers]:
    """All places where wanted numbers stand in `users`: for each the place of the number in `wanted`, and its own."""
    order = numpy.argsort(users, kind="stable")
    counts = numpy.bincount(users, minlength=count)
    starts = numpy.cumsum(counts) - counts
    sizes = counts[wanted]
    owner = numpy.repeat(numpy.arange(len(wanted)), sizes)
    within = numpy.arange(len(owner)) - numpy.repeat(numpy.cumsum(sizes) - sizes, sizes)
    return owner, order[starts[wanted][owner] + within]
