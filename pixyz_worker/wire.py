"""A plan as plain values, to be sent to where its tasks will run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pixyz_worker.backend import TaskCall
from pixyz_worker.exception import PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import FAIL_FAST, GatherNode, PartNode, Plan

VERSION = 1
_CONTEXT = ("entrypoint", "root_file", "compute_only", "raw", "data", "input_file")
_OPTIONS = (
    "queue",
    "time_limit",
    "priority",
    "pools",
    "retries",
    "retry_on",
    "isolation",
    "memory_limit",
)


def plan_as_plain(plan: Plan, script_name: Callable[[ProgramContext], str]) -> dict[str, Any]:
    """A plan as JSON-able values; what its tasks have in common is written once.

    `script_name` gives the name by which the other side knows a context's script.
    """
    calls = _Calls(script_name)
    nodes: list[dict[str, Any]] = []
    for node in plan.nodes:
        plain: dict[str, Any] = {"id": node.id, "after": node.after}
        if isinstance(node, GatherNode):
            plain["members"] = list(node.members)
        elif isinstance(node, PartNode):
            plain |= {"part": True, "calls": [calls.add(call) for call in node.calls]}
        else:
            plain |= {"fed": node.fed, "calls": [calls.add(node.call)]}
        nodes.append(plain)
    return {
        "version": VERSION,
        "calls": calls.table,
        "nodes": nodes,
        "end": plan.end,
        "parents": dict(plan.parents),
    }


def as_sent(call: TaskCall) -> TaskCall:
    """The call as it arrives where it runs: its params have been JSON."""
    return replace(call, params=json.loads(_check(call.params, "params")))


class _Calls:
    """The table of different calls; a node names its own by number and adds its params."""

    def __init__(self, script_name: Callable[[ProgramContext], str]) -> None:
        self._script_name = script_name
        self.table: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[Any, int] = {}
        self._scopes: dict[str, int] = {}

    def add(self, call: TaskCall) -> tuple[int, Any]:
        """The number of a call, and its params."""
        _check(call.params, "params")
        # A large group has one context and the same options ten thousand times over.
        same = (id(call.context), *sorted(call.options.items(), key=lambda option: option[0]))
        try:
            number = self._seen.get(same)
        except TypeError:  # an option that cannot be hashed
            return self._number(call), call.params
        if number is None:
            number = self._seen[same] = self._number(call)
        return number, call.params

    def _number(self, call: TaskCall) -> int:
        entry: dict[str, Any] = {
            "script": self._script_name(call.context),
            "context": _known(call.context, _CONTEXT),
            "options": _known(call.options, _OPTIONS),
        }
        if scope := call.options.get(FAIL_FAST):
            # A number, so that the same graph made again looks the same.
            entry["options"][FAIL_FAST] = self._scopes.setdefault(scope, len(self._scopes))
        key = _check(entry, "context or options")
        if key not in self._numbers:
            self._numbers[key] = len(self.table)
            self.table.append(entry)
        return self._numbers[key]


def _known(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _check(value: Any, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PixyzException(
            f"the {what} of a task must be JSON: {error}; pass large or other values as the result of a task before it"
        ) from None
