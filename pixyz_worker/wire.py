"""A plan as plain values, to be sent to where its tasks will run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixyz_worker.backend import TaskCall
from pixyz_worker.exception import PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import FAIL_FAST, GatherNode, PartNode, Plan
from pixyz_worker.task_input import input_path, is_path
from pixyz_worker.task_options import CONTEXT_OPTIONS, SENT_OPTIONS, start_options
from pixyz_worker.task_params import as_received, packed

VERSION = 1

RUNNER_KEYS = frozenset(
    {
        "script",
        "input_dir",
        "input_file",
        "output_dir",
        "progress",
        "params",
        "task",
        "task_id",
        "retry",
        "is_local",
        "time_request",
    }
)
"""Keys of a context that the code which runs a task sets; values from elsewhere are ignored."""

_NOT_SENT = (RUNNER_KEYS | CONTEXT_OPTIONS) - {"params"}
_DEFAULTS = {
    "compute_only": False,
    "data": None,
    "tmp": True,
    "root_file": None,
    "raw": False,
    "entrypoint": None,
    "params": None,
}


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
            if node.on_failure:
                plain["on_failure"] = True
        nodes.append(plain)
    return {
        "version": VERSION,
        "calls": calls.table,
        "nodes": nodes,
        "end": plan.end,
        "parents": dict(plan.parents),
    }


def as_sent(call: TaskCall) -> TaskCall:
    """Return the call as the task receives it: params and context values went through JSON or pickle."""
    context = call.context.clone()
    for key, value in own_values(call.context).items():
        dict.__setitem__(context, key, as_received(value, _what(key)))
    dict.update(context, {"input_file": None, "input_dir": None} | _input_of(call.context))
    return replace(call, params=as_received(call.params, _what("params")), context=context)


def own_values(context: ProgramContext) -> dict[str, Any]:
    """Return the values of a context that are sent to the task, its params among them."""
    return {
        key: os.fspath(value) if key == "data" and is_path(value) else value
        for key, value in context.items()
        if key not in _NOT_SENT and not _is_default(key, value)
    }


def _is_default(key: str, value: Any) -> bool:
    # Compared by identity: a value of the script's own may be an array, which == compares item by item.
    return key in _DEFAULTS and (value is None or value is _DEFAULTS[key] or (key == "params" and value == {}))


def _what(key: str) -> str:
    return "the params of a task" if key == "params" else f"the value of {key!r} in the context of a task"


class _Calls:
    """The table of different calls; a node names its own by number and adds its params."""

    def __init__(self, script_name: Callable[[ProgramContext], str]) -> None:
        self._script_name = script_name
        self.table: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[Any, int] = {}
        self._scopes: dict[str, int] = {}

    def add(self, call: TaskCall) -> tuple[Any, ...]:
        """Return the number of a call, and its params; a third item, True, marks params that are a pickle."""
        text = packed(call.params, _what("params"))
        params = (call.params,) if text is None else (text, True)
        # A large group has one context and the same options ten thousand times over.
        same = (id(call.context), *sorted(call.options.items(), key=lambda option: option[0]))
        try:
            number = self._seen.get(same)
        except TypeError:  # an option that cannot be hashed
            return self._number(call), *params
        if number is None:
            number = self._seen[same] = self._number(call)
        return number, *params

    def _number(self, call: TaskCall) -> int:
        own = own_values(call.context)
        pickles = {key: text for key, value in own.items() if (text := packed(value, _what(key))) is not None}
        entry: dict[str, Any] = {
            "script": self._script_name(call.context),
            "context": {key: value for key, value in own.items() if key not in pickles} | _input_of(call.context),
            "options": _known(call.options, SENT_OPTIONS) | start_options(call.options),
        }
        if pickles:
            entry["packed"] = pickles
        if scope := call.options.get(FAIL_FAST):
            # A number, so that the same graph made again looks the same.
            entry["options"][FAIL_FAST] = self._scopes.setdefault(scope, len(self._scopes))
        key = _text(entry)
        if key not in self._numbers:
            self._numbers[key] = len(self.table)
            self.table.append(entry)
        return self._numbers[key]


def _input_of(context: ProgramContext) -> dict[str, Any]:
    """Return where the input of a task is: its path, and its folder where that is not simply the file's."""
    path = input_path(context)
    if path is None:
        return {}
    folder = context.get("input_dir")
    if folder and Path(path).parent != Path(folder) and Path(folder) in Path(path).parents:
        return {"input_file": path, "input_dir": folder}
    return {"input_file": path}


def _known(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: values[name] for name in sorted(names) if values.get(name) is not None}


def _text(entry: Mapping[str, Any]) -> str:
    try:
        return json.dumps(entry)
    except (TypeError, ValueError, RecursionError) as error:
        raise PixyzException(f"the options of a task must be JSON: {error}") from None
