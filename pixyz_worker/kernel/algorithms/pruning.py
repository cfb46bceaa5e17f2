"""Small parts that nobody misses: screws, washers, letters."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz_worker.kernel.algorithms import measures, selection
from pixyz_worker.kernel.scene import Occurrence


def delete_small_parts(
    occurrences: Sequence[Occurrence], *, size_m: float | None = None, ratio: float | None = None
) -> int:
    """Take out what is smaller than a size: occurrences whose box in the world has a shorter diagonal.

    Args:
        occurrences: where to look; all below them.
        size_m: the shortest diagonal that stays, in metres.
        ratio: the same as a share, 0 to 1, of the diagonal of all the occurrences together; the larger one holds.

    Returns:
        How many occurrences show nothing any more. Groups that are empty then are gone too.
    """
    if size_m is None and ratio is None:
        raise ValueError("a size or a ratio is needed")
    if (size_m is not None and size_m < 0) or (ratio is not None and not 0 <= ratio <= 1):
        raise ValueError("the size must not be negative, and the ratio must lie between 0 and 1")
    boxes = {
        occurrence: box
        for occurrence, matrix in selection.placed(occurrences)
        if (box := measures.box_of(occurrence.part, matrix)) is not None
    }
    limit = max(size_m or 0.0, (ratio or 0.0) * measures.diagonal(measures.bounds(occurrences)))
    small = [occurrence for occurrence, box in boxes.items() if measures.diagonal(box) < limit]
    if small:
        selection.mark_changed(occurrences)
    for occurrence in small:
        occurrence.part = None
    selection.clear_out(small)
    return len(small)
