"""A graph has one meaning: random ones end in this process exactly as they do on the platform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pixyz_worker.loader import load_script, script_folder, unload_script
from pixyz_worker.pc import ProgramContext
from tests.rest_client import RestClient

SCRIPT = Path(__file__).with_name("tree_script.py")
TREES_OF_A_JOB = 16
JOBS = 6
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CAUSE = re.compile(r"Not run, because task (?P<id>\S+)(?: \(.*?\))? failed: (?P<error>.*)", re.DOTALL)
_NO_JSON = re.compile('"(set|tuple|type)":')
_KINDS = frozenset({"task", "chain", "group", "chord", "chunks"})
Tree = dict[str, Any]

WELL = ["ident", "add", "pair", "odd", "change", "steps", "where", "long", "awaits", "fetches", "hands_out"]
BADLY = ["boom", "key", "bad_file", "silent", "leave", "leave_well"]
OWN = st.fixed_dictionaries(
    {}, optional={"mark": st.sampled_from([None, 1, {"a": [1]}, "text"]), "mark_too": st.booleans()}
)
BASES = st.sampled_from([{}, {"a": 9, "quality": 3}, [1, 2], 5, None])
VALUES = st.sampled_from([0, 7, -1.5, None, "text", [], [1, 2], {"a": [1]}, {"result": 3}])
OPTIONS = st.sampled_from([{}, {}, {}, {"queue": "gpuhigh"}, {"queue": "control", "time_limit": 50}])


BROKEN: list[Tree] = [
    {"task": "add", "params": 1},
    {"chain": []},
    {"chord": [[{"task": "ident"}], None]},
    {"chunks": [{"task": "ident"}, [1], 0]},
    {"group": [{"task": "ident"}, {"task": "ident", "params": [1], "as": "set", "immutable": True}]},
    {"task": "ident", "lost": True},
]
"""What cannot be run, where a result would feed it at least."""


@st.composite
def tasks(draw: st.DrawFn, *, fed: bool) -> Tree:
    """Draw a task; one that is fed has no params of its own, or keeps them."""
    tree: Tree = {"task": draw(st.sampled_from(WELL * 3 + BADLY)), "raw": draw(st.booleans())}
    immutable = draw(st.sampled_from([False, False, False, True]))
    if immutable or not fed:
        tree |= {"immutable": immutable} | draw(st.fixed_dictionaries({}, optional={"params": VALUES}))
        if isinstance(tree.get("params"), list):
            tree |= draw(st.sampled_from([{}, {"as": "tuple"}]))
    return tree | draw(st.fixed_dictionaries({"options": OPTIONS}, optional={"data": VALUES, "own": OWN}))


@st.composite
def trees(draw: st.DrawFn, *, fed: bool = False, depth: int = 3) -> Tree:
    """Draw a composition that can be run where a result feeds it, or none."""
    kind = draw(st.sampled_from(["chain", "chord", "group", "chunks", "task", "task", "task"] if depth else ["task"]))
    if kind == "task":
        return draw(st.sampled_from(BROKEN)) if draw(st.integers(0, 40)) == 40 else draw(tasks(fed=fed))
    inner, later = trees(fed=fed, depth=depth - 1), trees(fed=True, depth=depth - 1)
    what: Any
    if kind == "chain":
        what = [draw(inner), *draw(st.lists(later, max_size=2))]
    elif kind == "group":
        what = draw(st.lists(inner, max_size=3))
    elif kind == "chord":
        what = [draw(st.lists(inner, max_size=3)), draw(later)]
    else:
        task = {key: value for key, value in draw(tasks(fed=True)).items() if key not in {"params", "immutable"}}
        what = [task, draw(st.lists(VALUES, max_size=4)), draw(st.integers(1, 3))]
    return {kind: what, "options": draw(OPTIONS)}


def _run_here(forest: list[Tree], base: Any) -> list[Any]:
    """Run the script in this process."""
    with script_folder(SCRIPT), redirect_stdout(StringIO()):
        module = load_script(SCRIPT)
        try:
            answer = module.main(
                ProgramContext.from_local(SCRIPT, None, "/nonexistent"), {"trees": forest, "base": base}
            )
        finally:
            unload_script(module)
    return list(json.loads(json.dumps(answer)))


def _run_there(rest: RestClient, forest: list[Tree], base: Any) -> list[Any]:
    params = {"trees": forest, "base": base}
    details = rest.run(SCRIPT.read_text(encoding="utf-8"), params=params, deadline_s=90)
    assert details["status"] == "SUCCESS", details["error"]
    return list(details["result"])


def _comparable(told: Any) -> Any:
    """Return what must be the same everywhere: ids as their order, and no word of which failure came first."""
    if "nodes" in told:
        errors = {node["id"]: node["alone"] for node in told["nodes"]}
        told["nodes"] = [_comparable_node(node, errors) for node in told["nodes"]]
        for view in ("end", "result"):
            told[view] = _without_errors(told[view], itself=told["nodes"][0]["text"] == "not run")
    numbers: dict[str, str] = {}
    text = _UUID.sub(lambda found: numbers.setdefault(found[0], f"#{len(numbers)}"), json.dumps(told))
    return json.loads(text)


def _comparable_node(node: Any, errors: dict[str, Any]) -> Any:
    """Return what must be the same of a node. Which of several failures one was not run for is a matter of time."""
    text = (node["text"] or "").rstrip()
    cause = _CAUSE.search(text)
    node = {**node, "text": cause["error"] if cause else text.rpartition("\n")[2]}
    if cause and cause.start() == 0:
        assert errors.get(cause["id"], node["alone"]) == node["alone"], f"not the error of the named task: {node}"
        node["text"] = "not run"
    for view in ("value", "alone"):
        # Only the end of a graph keeps what is no JSON, and only its handle gives it; there is a word of its type.
        if _NO_JSON.search(json.dumps(node[view])):
            node[view] = "no JSON"
        node[view] = _without_errors(node[view], itself=node["text"] == "not run")
    return node


def _without_errors(value: Any, *, itself: bool = True) -> Any:
    """Return a value without the errors that may be those of any cause: its members', and its own if it was not run."""
    if isinstance(value, list):
        return [_without_errors(each) for each in value]
    return "an error" if itself and isinstance(value, dict) and value.keys() == {"error"} else value


def _differences(rest: RestClient, forest: list[Tree], base: Any) -> list[tuple[Tree, Any, Any]]:
    """Return the graphs that end otherwise there than here, with both endings."""
    endings = zip(forest, _run_here(forest, base), _run_there(rest, forest, base), strict=True)
    compared = ((tree, _comparable(here), _comparable(there)) for tree, here, there in endings)
    return [(tree, here, there) for tree, here, there in compared if here != there]


def _simpler(tree: Any) -> Iterator[Any]:
    """Yield descriptions with something left out; some cannot be run, which is the same everywhere."""
    if isinstance(tree, list):
        for n, each in enumerate(tree):
            yield [*tree[:n], *tree[n + 1 :]]
            yield from ([*tree[:n], simpler, *tree[n + 1 :]] for simpler in _simpler(each))
    elif isinstance(tree, dict):
        yield from (each for part in tree.values() if isinstance(part, list) for each in part if isinstance(each, dict))
        yield from ({key: value for key, value in tree.items() if key != name} for name in tree.keys() - _KINDS)
        yield from ({**tree, name: simpler} for name, part in tree.items() for simpler in _simpler(part))


def _check(rest: RestClient, forest: list[Tree], base: Any) -> None:
    """Fail with the simplest graph that differs, if one does. Many that are simpler than it are tried in one job."""
    simplest = None
    while found := _differences(rest, forest, base):
        simplest = min(found, key=lambda difference: len(str(difference[0])))
        forest = [*islice((each for each in _simpler(simplest[0]) if each.keys() & _KINDS), 2 * TREES_OF_A_JOB)]
    if simplest is not None:
        tree, here, there = simplest
        assert there == here, f"this graph ends otherwise on the platform: {tree}"


@given(forest=st.lists(trees(), min_size=TREES_OF_A_JOB, max_size=TREES_OF_A_JOB), base=BASES)
@settings(max_examples=JOBS, phases=[Phase.generate], suppress_health_check=[*HealthCheck], database=None)
def test_given_any_graphs_when_run_then_they_end_on_the_platform_as_they_do_here(
    rest: RestClient, forest: list[Tree], base: Any
) -> None:
    """The same values, states, errors and ids' shapes, whatever the params of the job, its tasks' data and own keys.

    One thing is exempt, as in the scheduler before this one: the handles of pc.execute(), subtask_async() and
    LocalPixyzTask give the bare value in this process, where those of the platform give the record (docs/scripts.md).
    """
    _check(rest, forest, base)
