"""The table of queues that an operator's settings make of the default one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pixyz_ray.queues import DEFAULT_QUEUES, Queue
from pixyz_ray.units import parse_size
from pixyz_worker.nearest import SIMILAR, nearest

_SIZES = ("memory_limit", "gpu_memory")
_QUEUE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?"
_KEY = re.compile(_WORD)
_SELECTOR = re.compile(rf"!?{_WORD}|!?in\({_WORD}(?:, *{_WORD})*\)")
"""What Ray takes as the value of a label: a value, or one of its operators: `!x`, `in(x, y)`, `!in(x, y)`."""


def check_queue_name(name: str) -> None:
    """Check the name of a queue that an operator has chosen.

    Raises:
        ValueError: it has other characters than a name may have.
    """
    if not _QUEUE_NAME.fullmatch(name):
        raise ValueError(
            f"cannot name the queue {name[:100]!r}: a name has letters, digits, '_', '.' and '-', at most 100"
        )


def make_queue_table(names: tuple[str, ...], changes: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Queue]:
    """Return the queues: the default table, with more names and with changes.

    Args:
        names: names of QUEUE_NAME; those that are not in the table become queues like cpu.
        changes: PIXYZ_QUEUES.

    Raises:
        ValueError: a change names something that a queue does not have, or has an unusable value.
    """
    table = dict(DEFAULT_QUEUES)
    for name in names:
        table.setdefault(name, replace(table["cpu"], name=name, purpose="computing, named by QUEUE_NAME"))
    for name, given in changes.items():
        if name not in table:
            check_queue_name(name)
        base = table.get(name) or Queue(name=name, purpose="set by the operator", num_cpus=1)
        table[name] = replace(base, **given)
    for queue in table.values():
        if problem := queue.problem(table):
            raise ValueError(f"cannot be used: queue {queue.name!r}: {problem}")
    return table


def queue_changes(name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what PIXYZ_QUEUES says of one queue, with its amounts of memory in bytes.

    Raises:
        ValueError: it names something that a queue does not have, or an amount is not a size.
    """
    known = sorted({field.name for field in fields(Queue)} - {"name"})
    for unknown in sorted(set(given) - set(known)):
        meant = nearest(unknown, known, cutoff=SIMILAR)
        hint = f"did you mean {meant}?" if meant else f"use {', '.join(known)}"
        raise ValueError(f"cannot be used: queue {name!r} has no setting {unknown}; {hint}")
    for kind in ("labels", "resources"):
        _check_keys(name, kind, given.get(kind))
    sizes = {}
    for key in _SIZES:
        if isinstance(text := given.get(key), str):
            try:
                sizes[key] = parse_size(text)
            except ValueError as error:
                raise ValueError(f"cannot be used: queue {name!r}: {key} {text!r} {error}") from None
    return {**given, **sizes}


def _check_keys(queue: str, kind: str, given: Any) -> None:
    """Check the labels or the custom resources of a queue.

    Raises:
        ValueError: they are no JSON object, or have a name or a value that Ray does not know as such.
    """
    if given is None:
        return
    what = f"cannot be used: queue {queue!r}: {kind}"
    if not isinstance(given, Mapping):
        raise ValueError(f'{what} must be a JSON object, such as {{"NAME": VALUE}}')
    for key, value in given.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{what}: {key[:100]!r} is not a name: use letters, digits, '_', '.', '-' and '/'")
        if kind == "labels" and not (isinstance(value, str) and _SELECTOR.fullmatch(value)):
            raise ValueError(
                f"{what}: {key} must be the value of a label, or !VALUE, in(ONE, TWO) or !in(ONE, TWO), "
                f"not {str(value)[:100]!r}"
            )
        if kind == "resources" and (type(value) not in (int, float) or not 0 <= value < math.inf):
            raise ValueError(f"{what}: {key} must be a number from 0 on, not {str(value)[:100]!r}")
