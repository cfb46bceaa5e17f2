"""Params and context values of a task: merging, and serialisation for the process that runs the task.

Values go as JSON. What JSON cannot hold (a datetime, bytes, an array) is pickled as a whole, with its containers
normalised as JSON would have done it, so that a value arrives alike here and on a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pixyz_worker.exception import PixyzException


def merged(base: Any, own: Any) -> Any:
    """Return the params that a task runs with.

    Args:
        base: params of the context that the task was made from.
        own: the task's own params.

    Returns:
        Where both are mappings, `own` over `base`, key by key on the first level; else `own`.

    >>> merged({"quality": 3, "size": 1}, {"size": 2})
    {'quality': 3, 'size': 2}
    >>> merged({"quality": 3}, [1, 2])
    [1, 2]
    """
    return {**base, **own} if isinstance(base, Mapping) and isinstance(own, Mapping) else own


def packed(value: Any, what: str) -> str | None:
    """Return None for a value that JSON can hold, else its pickle as text.

    Args:
        value: params, or the value of a context's key.
        what: names the value in the message of an error.

    Raises:
        InvalidBackendParameter: the value can be neither written as JSON nor pickled.
    """
    if is_json(value):
        return None
    from pixyz_worker.generated import packed as pickled

    return pickled(_normalised(value, 0, what), what)


def unpacked(text: str, what: str) -> Any:
    """Return the value that `packed` made text of.

    Raises:
        PixyzException: it cannot be rebuilt here, for example because its module is missing.
    """
    from pixyz_worker.generated import unpacked as unpickled

    return unpickled(text, what)


def as_received(value: Any, what: str) -> Any:
    """Return a value as the task receives it: a copy that went through JSON or pickle."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        text = packed(value, what)
        assert text is not None
        return unpacked(text, what)


def is_json(value: Any) -> bool:
    """Return whether `json.dumps` takes a value."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


_MAX_DEPTH = 200


def _normalised(value: Any, depth: int, what: str) -> Any:
    """Return a value with keys and containers as JSON has them; other values are kept."""
    if depth > _MAX_DEPTH:
        raise PixyzException(f"{what} is nested more than {_MAX_DEPTH} levels deep, or contains itself")
    if type(value) is dict:
        return {_key(key): _normalised(item, depth + 1, what) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_normalised(item, depth + 1, what) for item in value]
    return value


def _key(key: Any) -> Any:
    """Return a key as JSON writes it; one that JSON does not have is kept."""
    if key is None or isinstance(key, bool | int | float):
        return next(iter(json.loads(json.dumps({key: None}))))
    return key
