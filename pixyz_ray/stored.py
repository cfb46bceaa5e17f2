"""Decoding and checking of stored jobs and graphs; a bad row affects one job only."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.record_errors import UnreadableRecord, unreadable
from pixyz_ray.records import RECORD_KEYS, decode_job
from pixyz_worker.exception import PixyzException
from pixyz_worker.wire import VERSION

T = TypeVar("T")

_log = logging.getLogger(__name__)
NOT_READABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, PixyzException)
"""What decoding a malformed record may raise."""
UNKNOWN_STATE = "its state {!r} is not known to this version"
_STATES = frozenset(map(str, JobState))
_KINDS = frozenset({"task", "part", "group", "graph"})
_TEXT = str
_MAYBE_TEXT = (str, type(None))
_NUMBER = (int, float)
_MAYBE_NUMBER = (int, float, type(None))
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("name", "process", "script", "script_digest", "entrypoint", "queue", "submitter"), _TEXT),
    **dict.fromkeys(("alias", "input_file", "error", "parent_id", "graph", "home", "awaits"), _MAYBE_TEXT),
    **dict.fromkeys(("time_limit", "requested"), _NUMBER),
    **dict.fromkeys(("started", "stopped", "not_before", "wait_timeout", "total", "done"), _MAYBE_NUMBER),
    "config": Mapping,
}
_GRAPH_PARTS: Mapping[str, Any] = {"calls": list, "nodes": list, "end": str, "parents": Mapping}


def stored_job(row: Any) -> Job:
    """Return the job of a row with `uuid`, `state`, `record` and `result`.

    Raises:
        UnreadableRecord: it is not JSON, lacks something, or was written by a newer version.
    """
    try:
        if row.state not in _STATES:
            raise ValueError(UNKNOWN_STATE.format(row.state))
        record = _loads(row.record)
        job = decode_job(record, None if row.result is None else _loads(row.result))
        _check(job, record, row.uuid)
    except NOT_READABLE as error:
        raise unreadable("job", row.uuid, error) from error
    return job


def _loads(text: Any) -> Any:
    """Return the value of a stored JSON text, which is written in ASCII: what stands for other bytes is damage."""
    if not isinstance(text, str):
        raise TypeError(f"it is stored as {type(text).__name__}, not as text")
    if "\ufffd" in text:
        raise ValueError("it has bytes that are not UTF-8")
    return json.loads(text)


def is_listed(item: Mapping[str, Any]) -> bool:
    """Return whether the values of an item of the list of jobs can be shown: SQLite gives damaged ones another type."""
    return bytes not in map(type, item.values()) and not isinstance(item["progress"], str)


def spoilt_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of the list of jobs with what can be shown of one that is damaged."""
    texts = {name: value for name, value in item.items() if isinstance(value, _MAYBE_TEXT)}
    bad = ", ".join(sorted(item.keys() - texts.keys() - {"progress"})) or "progress"
    error = unreadable("job", str(item["uuid"]), f"its {bad} in the list is damaged")
    return {**dict.fromkeys(item, ""), "progress": None, **texts, "error": str(error)}


def _check(job: Job, record: Mapping[str, Any], uuid: str) -> None:
    """Check the values of a record; raise ValueError or TypeError if this version cannot use them."""
    if job.uuid != uuid:
        raise ValueError(f"it names another job, {job.uuid!r}")
    for name, kind in _TYPES.items():
        if not isinstance(getattr(job, name), kind):
            raise TypeError(f"{name!r} is {getattr(job, name)!r}")
    if job.kind not in _KINDS:
        raise ValueError(f"its kind {job.kind!r} is not known to this version")
    if not all(isinstance(step.info, str) and isinstance(step.duration, _NUMBER) for step in job.steps):
        raise TypeError("a step is not a text and a number of seconds")
    # An ended job is only shown. A live one must not run without a field that it has.
    if not job.state.terminal and (newer := sorted(record.keys() - RECORD_KEYS)):
        raise ValueError(f"this version does not know its fields {', '.join(newer)}")


def stored_graph(row: Any) -> Graph:
    """Return the graph of a row with `uuid`, `parent`, `root` and `record`.

    Raises:
        UnreadableRecord: it is not JSON, lacks something, or was written by a newer version.
    """
    try:
        plain = _loads(row.record)
        for name, kind in _GRAPH_PARTS.items():
            if not isinstance(plain[name], kind):
                raise TypeError(f"{name!r} is no {kind.__name__.lower()}")
        if plain["version"] != VERSION:
            raise ValueError(f"it is of version {plain['version']!r}, this platform knows {VERSION}")
    except NOT_READABLE as error:
        raise unreadable("graph", row.uuid, error) from error
    return Graph(row.uuid, row.parent, row.root, plain)


def is_waits(text: str) -> bool:
    """Return whether a text has the form that `Job.waits` writes."""
    try:
        queue, submitter, priority, pools, not_before, *pause = json.loads(text)
        seats = [(name, count) for name, count in pools]
    except NOT_READABLE:
        return False
    texts = (queue, submitter, *(name for name, _ in seats))
    numbers = (priority, *pause, *(count for _, count in seats))
    return (
        len(pause) <= 1
        and all(isinstance(one, str) for one in texts)
        and all(isinstance(one, _NUMBER) for one in numbers)
        and isinstance(not_before, _MAYBE_NUMBER)
    )


class RecordReader:
    """Decodes rows, and remembers which cannot be read."""

    def __init__(self) -> None:
        self.unreadable: dict[str, UnreadableRecord] = {}
        """Jobs and graphs whose records cannot be read, by id, and why."""

    def read(self, decode: Callable[[Any], T], row: Any) -> T:
        """Return the decoded row; an unreadable one is logged once.

        Raises:
            UnreadableRecord: it cannot be read.
        """
        try:
            return decode(row)
        except UnreadableRecord as error:
            self.note(row.uuid, error)
            raise

    def read_all(self, decode: Callable[[Any], T], rows: Iterable[Any]) -> list[T]:
        """Return the decoded rows, without unreadable ones."""
        found = []
        for row in rows:
            with suppress(UnreadableRecord):
                found.append(self.read(decode, row))
        return found

    def note(self, uuid: str, error: UnreadableRecord) -> None:
        """Remember and log a record that cannot be read."""
        if uuid not in self.unreadable:
            self.unreadable[uuid] = error
            _log.error("%s", error)
