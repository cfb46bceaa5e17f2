"""The table of queues that an operator's settings make of the default one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pixyz_ray.queues import DEFAULT_QUEUES, Queue
from pixyz_ray.units import parse_size
from pixyz_worker.nearest import SIMILAR, nearest

_SIZES = ("memory_limit", "gpu_memory")


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
    sizes = {}
    for key in _SIZES:
        if isinstance(text := given.get(key), str):
            try:
                sizes[key] = parse_size(text)
            except ValueError as error:
                raise ValueError(f"cannot be used: queue {name!r}: {key} {text!r} {error}") from None
    return {**given, **sizes}
