"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

_CUTOFF = 0.75
"""Similarity (difflib's ratio) from which on a name counts as a misspelling of another."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is probably a misspelling of, or None.

    Upper case, and hyphens or blanks in place of underscores, make no difference.

    >>> nearest("entrypiont", ["queue", "entrypoint"]), nearest("Compute-Only", ["compute_only"])
    ('entrypoint', 'compute_only')
    >>> nearest("own", ["raw"]) is None
    True

    Args:
        name: what was given.
        known: the names that exist.
    """
    from difflib import get_close_matches

    found = get_close_matches(_plain(name), list(known), n=1, cutoff=_CUTOFF)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'NAME'?` with the nearest known name, or an empty text when none is near."""
    found = nearest(name, known)
    return "" if found is None else f" Did you mean {found!r}?"


def _plain(name: str) -> str:
    return name[:100].strip().lower().replace("-", "_").replace(" ", "_")
