"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

MISSPELT = 0.75
"""Similarity (difflib's ratio) from which on a name counts as a misspelling of another."""
SIMILAR = 0.6
"""Similarity that is enough where a name is refused in any case, so that a wrong guess does no harm."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = MISSPELT) -> str | None:
    """Return the known name that `name` is probably a misspelling of, or None.

    Upper case, and hyphens or blanks in place of underscores, make no difference.

    >>> nearest("entrypiont", ["queue", "entrypoint"]), nearest("Compute-Only", ["compute_only"])
    ('entrypoint', 'compute_only')
    >>> nearest("own", ["raw"]) is None
    True

    Args:
        name: what was given.
        known: the names that exist.
        cutoff: least similarity, from 0 to 1.
    """
    return next(iter(close_names(name, known, most=1, cutoff=cutoff)), None)


def close_names(name: str, known: Iterable[str], *, most: int, cutoff: float) -> list[str]:
    """Return the known names that are similar to `name`, the most similar one first.

    Args:
        name: what was given.
        known: the names that exist.
        most: how many to return at most.
        cutoff: least similarity, from 0 to 1.
    """
    from difflib import get_close_matches

    by_plain = {_plain(each): each for each in known}
    return [by_plain[each] for each in get_close_matches(_plain(name), by_plain, n=most, cutoff=cutoff)]


def similarity(first: str, second: str) -> float:
    """Return how similar two texts are, from 0 to 1 (difflib's ratio)."""
    from difflib import SequenceMatcher

    return SequenceMatcher(None, first, second).ratio()


def suggestion(name: str, known: Iterable[str], *, cutoff: float = MISSPELT) -> str:
    """Return ` Did you mean 'NAME'?` with the nearest known name, or an empty text when none is near."""
    found = nearest(name, known, cutoff=cutoff)
    return "" if found is None else f" Did you mean {found!r}?"


def _plain(name: str) -> str:
    return name[:100].strip().lower().replace("-", "_").replace(" ", "_")
