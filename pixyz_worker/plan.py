"""The plan of a graph: its tasks in a flat list, each after those that it depends on.

`compile_plan` makes it of a composition; nothing here runs a task, a backend does. One plan, several
executors: in this process (local.py), or on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pixyz_worker.backend import TaskCall, current_backend, new_id
from pixyz_worker.canvas import UNSET, Canvas, Chain, Chord, Chunks, Group, Map, Signature
from pixyz_worker.exception import InvalidBackendParameter, PixyzException
from pixyz_worker.outcome import Outcomes
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import AsyncResult, GroupResult, ResultHandle
from pixyz_worker.task_options import CALLBACK_OPTIONS, START_OPTIONS, checked


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskNode:
    """A task to run."""

    call: TaskCall
    """What to run; its params are replaced when the node is fed."""

    after: str | None = None
    """Id of the node that must have ended well before."""

    fed: bool = False
    """Whether the result of `after` becomes the params."""

    on_failure: bool = False
    """Whether it runs when `after` has failed, instead of when it has ended well; fed, it gets the id of `after`."""

    @property
    def id(self) -> str:
        """Id of the task."""
        return self.call.id


@dataclass(frozen=True, kw_only=True, slots=True)
class PartNode:
    """A part of chunks, or a map: one task that makes several calls, one after another, and gives the list."""

    id: str
    """Id of the task."""

    calls: tuple[TaskCall, ...]
    """Its calls, each with the id of the part."""

    after: str | None = None
    """Id of the node that must have ended well before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GatherNode:
    """The list of results of its members; no task of its own."""

    id: str
    """Id of the group."""

    members: tuple[str, ...]
    """Ids of the nodes whose results make the list."""

    after: str | None = None
    """Id of the node that its members run after."""


FAIL_FAST = "fail_fast"
"""Option of a composition whose other tasks are not to go on once one of them has failed."""

Node = TaskNode | PartNode | GatherNode


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A graph of tasks, flat."""

    nodes: tuple[Node, ...]
    """All nodes; each one after those that it depends on."""

    end: str
    """Id of the node whose result is that of the graph."""

    parents: Mapping[str, str]
    """Which node a node's handle leads back to."""


def run(canvas: Canvas, params: Any = UNSET) -> ResultHandle:
    """Run a composition on the current backend."""
    return current_backend().submit_plan(compile_plan(canvas, params))


def single_call(signature: Signature) -> TaskCall:
    """The call of one signature."""
    node = compile_plan(signature).nodes[0]
    assert isinstance(node, TaskNode)
    return node.call


def compile_plan(canvas: Canvas, params: Any = UNSET) -> Plan:
    """The plan of a composition; `params`, if given, feed what comes first."""
    compiler = _Compiler()
    end = compiler.add(canvas, _Feed(value=params, options={}))
    return Plan(nodes=tuple(compiler.nodes), end=end, parents=compiler.parents)


def handles_of(plan: Plan, outcomes: Outcomes) -> dict[str, ResultHandle]:
    """Handles of all nodes by id, each leading back to its parent; `outcomes` knows how they stand."""
    members = ((node.id, node.members if isinstance(node, GatherNode) else None) for node in plan.nodes)
    return linked(members, plan.parents, outcomes)


def linked(
    nodes: Iterable[tuple[str, Sequence[str] | None]], parents: Mapping[str, str], outcomes: Outcomes | None = None
) -> dict[str, ResultHandle]:
    """The same of (id, members of a group or None), each after its parent and its members."""
    handles: dict[str, ResultHandle] = {}
    for id, members in nodes:
        above = handles[parents[id]] if id in parents else None
        if members is None:
            handles[id] = AsyncResult(id, outcomes, parent=above)
        else:
            handles[id] = GroupResult(id, (handles[each] for each in members), outcomes, parent=above)
    return handles


@dataclass(frozen=True, kw_only=True, slots=True)
class _Feed:
    """What a part of a graph stands on."""

    after: str | None = None
    """Node whose result it gets."""

    value: Any = UNSET
    """Params known from the start."""

    on_failure: bool = False
    """Whether it runs when `after` has failed."""

    options: Mapping[str, Any]
    """Options of the compositions around it."""

    def inside(self, canvas: Canvas) -> _Feed:
        if not canvas.options:
            return self
        options = {**self.options, **canvas.options}
        for name in CALLBACK_OPTIONS:
            # Callbacks belong to the composition, not to the tasks in it.
            options.pop(name, None)
        if options.get(FAIL_FAST):
            # Not a flag but a scope: what was composed together ends together. The widest one counts.
            options[FAIL_FAST] = self.options.get(FAIL_FAST) or new_id()
        return replace(self, options=options)

    def followed_by(self, end: str) -> _Feed:
        """Return the feed of the next step; start options of a chain are for its first step alone."""
        options = {name: value for name, value in self.options.items() if name not in START_OPTIONS}
        return _Feed(after=end, options=options)


class _Compiler:
    """Collects nodes; a chain of any length costs no recursion, only nesting does."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.parents: dict[str, str] = {}
        self._callbacks: set[str] = set()

    def add(self, canvas: Canvas, feed: _Feed) -> str:
        """Add the nodes of `canvas`, with those of its callbacks, and return the id of its end."""
        if canvas.options:
            # A script may have written into the mapping itself.
            canvas = replace(canvas, options=checked(canvas.options))
        first = len(self.nodes)
        end = _ADDERS[type(canvas)](self, canvas, feed.inside(canvas))
        failing = self._failing(canvas, end, first)
        for callback in canvas.options.get("link", ()):
            if isinstance(canvas, Group):
                canvas.link(callback)
            self._add_callback(callback, _Feed(after=end, options={}))
        for callback in canvas.options.get("link_error", ()):
            for id in failing:
                self._add_callback(callback, _Feed(after=id, on_failure=True, options={}))
        return end

    def _failing(self, canvas: Canvas, end: str, first: int) -> list[str]:
        """Return the tasks of `canvas` whose failure starts its error callbacks; of a chord that is its body."""
        tasks = [node.id for node in self.nodes[first:] if not isinstance(node, GatherNode)]
        if isinstance(canvas, Chord) and end in tasks:
            return [end]
        return [id for id in tasks if id not in self._callbacks]

    def _add_callback(self, callback: Canvas, feed: _Feed) -> None:
        assert feed.after is not None
        first = len(self.nodes)
        self.parents[self._root_of(self.add(callback, feed))] = feed.after
        self._callbacks.update(node.id for node in self.nodes[first:])

    def add_signature(self, signature: Signature, feed: _Feed) -> str:
        fed = feed.after is not None and not signature.immutable
        if feed.on_failure and signature.params is not UNSET:
            # An error callback with params of its own does not get the id of the failed task.
            fed = False
        # Checked now, with a stand-in for the result to come, so that nothing runs of a graph that cannot.
        params, context = signature.call(None if fed else feed.value)
        id = str(signature.options.get("task_id") or new_id())
        call = TaskCall(id=id, params=params, context=context, options=_task_options(context, feed))
        self.nodes.append(TaskNode(call=call, after=feed.after, fed=fed, on_failure=feed.on_failure))
        return call.id

    def add_chain(self, sequence: Chain, feed: _Feed) -> str:
        if not sequence.tasks:
            raise PixyzException("a chain needs at least one task")
        previous = ""
        for task in sequence.tasks:
            end = self.add(task, feed)
            if previous:
                self.parents[self._root_of(end)] = previous
            feed = feed.followed_by(end)
            previous = end
        return previous

    def add_group(self, side_by_side: Group, feed: _Feed) -> str:
        members = tuple(self.add(task, feed) for task in side_by_side.tasks)
        return self._gather(members, feed)

    def add_chord(self, whole: Chord, feed: _Feed) -> str:
        if whole.body is None:
            raise PixyzException("a chord needs a body: chord([a, b], body)() or chord([a, b])(body)")
        return self.add_chain(Chain(tasks=[whole.header, whole.body]), feed)

    def add_chunks(self, mapped: Chunks, feed: _Feed) -> str:
        starts = range(0, len(mapped.items), mapped.size)
        parts = (mapped.items[start : start + mapped.size] for start in starts)
        members = tuple(self._part(mapped.over, map(_as_arguments, part), feed) for part in parts)
        return self._gather(members, feed)

    def add_map(self, mapped: Map, feed: _Feed) -> str:
        if not mapped.items:
            return self._gather((), feed)
        return self._part(mapped.over, mapped.items, feed)

    def _part(self, task: Signature, items: Iterable[tuple[Any, ...]], feed: _Feed) -> str:
        if feed.on_failure:
            raise InvalidBackendParameter(
                "an error callback is a task, or a chain or group of tasks; not chunks or a map"
            )
        id = new_id()
        calls = tuple(self._item_call(id, task, item, feed) for item in items)
        self.nodes.append(PartNode(id=id, calls=calls, after=feed.after))
        return id

    def _gather(self, members: tuple[str, ...], feed: _Feed) -> str:
        id = new_id()
        self.nodes.append(GatherNode(id=id, members=members, after=feed.after))
        return id

    def _item_call(self, id: str, task: Signature, item: tuple[Any, ...], feed: _Feed) -> TaskCall:
        params, context = task.with_item(item).call()
        return TaskCall(id=id, params=params, context=context, options=_task_options(context, feed.inside(task)))

    def _root_of(self, end: str) -> str:
        """Where the parents of a step that was just added lead to, so far."""
        while end in self.parents:
            end = self.parents[end]
        return end


def _as_arguments(item: Any) -> tuple[Any, ...]:
    return item if isinstance(item, tuple) else (item,)


def _task_options(context: ProgramContext, feed: _Feed) -> dict[str, Any]:
    """Return the options of a task: those of its context, and over them those of its signature and around it."""
    options = {key: value for key, value in feed.options.items() if key != "task_id"}
    return {**context.asked_options, **options}


_ADDERS: Mapping[type[Canvas], Callable[[_Compiler, Any, _Feed], str]] = {
    Signature: _Compiler.add_signature,
    Chain: _Compiler.add_chain,
    Group: _Compiler.add_group,
    Chord: _Compiler.add_chord,
    Chunks: _Compiler.add_chunks,
    Map: _Compiler.add_map,
}
