"""Graphs: chain, group, chord and chunks as data, their plan, and their run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_worker.canvas import Canvas, Chain, Group, chain, chord, chunks, group
from pixyz_worker.exception import PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import GatherNode, TaskNode, compile_plan
from pixyz_worker.result import AsyncResult, GroupResult
from pixyz_worker.tasks import pixyz_execute

BODY = """
    def add(pc, params):
        return params + 1

    def total(pc, params):
        return sum(params)

    def merge(pc, params):
        return [x["result"] for x in params]

    def fail(pc, params):
        raise ValueError("bad part")

    def record(pc, params):
        return params["result"]
"""
Make = Callable[..., Any]


@pytest.fixture
def pc(write_script: Callable[..., Path]) -> ProgramContext:
    """A context for the script of these tests, with bare results."""
    return ProgramContext.from_local(write_script(BODY)).update(raw=True)


@pytest.fixture
def task(pc: ProgramContext) -> Make:
    """Make a signature: task("add", 1), or task("add") to be fed."""
    return lambda entrypoint, *params, **kw: pixyz_execute.s(*params, pc=pc.clone(entrypoint=entrypoint, **kw))


def test_given_a_chain_when_run_then_each_result_feeds_the_next(task: Make) -> None:
    """The handle is the last task's, and leads back."""
    handle = chain(task("add", 1), task("add"), task("add")).apply_async()
    assert handle.get() == 4
    assert [handle.parent.get(), handle.parent.parent.get()] == [3, 2]
    assert handle.parent.parent.parent is None
    ids = [handle.id, handle.parent.id, handle.parent.parent.id]
    assert handle.as_tuple() == ((ids[0], ((ids[1], ((ids[2], None), None)), None)), None)
    assert handle.as_list() == ids
    assert (task("add", 1) | task("add"))().get() == 3
    assert chain([task("add", 1), task("add")]).delay().get() == 3
    assert chain(task("add"), task("add")).apply_async(args=(5,)).get() == 7


def test_given_records_when_chained_then_the_next_task_reads_result(task: Make) -> None:
    """Without raw, a task gets the record of the one before."""
    handle = chord([task("add", n, raw=False) for n in (1, 2)])(task("merge", raw=False))
    assert handle.get()["result"] == [2, 3]
    assert chain(task("add", 1, raw=False), task("record"))().get() == 2


def test_given_a_group_when_run_then_results_come_in_order(task: Make) -> None:
    """Groups may be nested, empty, or made of a generator."""
    handle = group(task("add", n) for n in range(3))()
    assert handle.get() == [1, 2, 3]
    assert handle.children == handle.results
    assert handle.successful()
    assert handle[1].get() == 2
    assert handle.as_tuple() == ((handle.id, None), [((each.id, None), None) for each in handle.results])
    assert group(task("add", 1), group(task("add", 2), task("add", 3)))().get() == [2, 3, 4]
    assert group([])().get() == []


def test_given_a_chord_when_run_then_the_body_gets_the_list(task: Make) -> None:
    """Both ways to write it, an empty header, and a chain that says the same."""
    header = [task("add", 1), task("add", 2)]
    handles = [
        chord(header, task("total"))(),
        chord(header)(task("total")),
        chord(group(header), task("total")).apply_async(),
        chain(group(header), task("total"))(),
        (group(header) | task("total")).delay(),
    ]
    assert [handle.get() for handle in handles] == [5] * 5
    assert isinstance(handles[0].parent, GroupResult)
    members = [((each.id, None), None) for each in handles[0].parent.results]
    assert handles[0].as_tuple() == ((handles[0].id, ((handles[0].parent.id, None), members)), None)
    json.dumps(handles[0].as_tuple())
    assert chord([], task("total"))().get() == 0


def test_given_chunks_when_run_then_the_list_of_lists_comes(task: Make, pc: ProgramContext) -> None:
    """Items are params, or (params, pc)."""
    assert chunks(task("add"), range(5), 2)().get() == [[1, 2], [3, 4], [5]]
    items = [(n, pc.clone(entrypoint="add")) for n in range(3)]
    assert pixyz_execute.chunks(items, 2).apply_async().get() == [[1, 2], [3]]
    assert chunks(pixyz_execute, items, 5).group()().get() == [[1, 2, 3]]
    parts = chord(chunks(task("add"), range(3), 2), task("merge_nothing")).header
    assert isinstance(parts, Canvas)


def test_given_a_graph_inside_a_graph_when_run_then_data_flows_through(task: Make) -> None:
    """A chain in a group in a chain, fed by what comes before."""
    inner = group(chain(task("add"), task("add")), task("add"))
    handle = chain(task("add", 1), inner, task("total"), task("add"))()
    assert handle.get() == (4 + 3) + 1
    assert handle.parent.parent.parent.get() == 2
    nested = chord([chord([task("add", 1), task("add", 2)], task("total")), task("add", 3)], task("total"))()
    assert nested.get() == 9


def test_given_a_member_that_fails_when_the_graph_ends_then_what_depends_on_it_names_the_cause(task: Make) -> None:
    """Nothing waits for ever, and nothing that lacks its params runs."""
    handle = chain(group(task("add", 1), task("fail", 2)), task("total"), task("add"))()
    with pytest.raises(ValueError, match="bad part"):
        handle.get()
    culprit = handle.parent.parent.results[1]
    assert handle.state == handle.parent.state == "FAILURE"
    assert handle.traceback == f"Not run, because task {culprit.id} (fail) failed: ValueError: bad part"
    assert handle.parent.parent.results[0].get() == 2
    assert handle.parent.parent.failed()
    assert [type(each) for each in handle.parent.parent.get(propagate=False)] == [int, ValueError]
    assert chunks(task("fail"), [1], 1)().failed()


def test_given_a_long_chain_when_run_then_its_length_costs_no_recursion(task: Make) -> None:
    """Neither to compile, nor to run, nor to walk."""
    handle = chain([task("add", 0), *[task("add")] * 1500])()
    assert handle.get() == 1501
    assert len(handle.as_list()) == 1501
    depth, each = 0, handle.as_tuple()
    while each is not None:
        depth, each = depth + 1, each[0][1]
    assert depth == 1501


def test_set_changes_in_place(task: Make) -> None:
    """Given a composition, when set is a statement, then the composition has changed; a clone is its own."""
    one = task("add", 1)
    for each in (one, chain(one), group(one), chord([one], one), chunks(one, [1], 1), one.map([1])):
        copy = each.clone(queue="zip")
        each.set(queue="gpu")
        assert each.set(time_limit=5) is each
        assert type(copy) is type(each)
        assert (each.options, copy.options) == ({"queue": "gpu", "time_limit": 5}, {"queue": "zip"})
        each.options.clear()
    assert chain(one).clone().tasks[0] is not one
    assert isinstance(one | one, Chain)
    assert len((one | one | one).tasks) == 3
    assert isinstance(group(one).clone(), Group)
    with pytest.raises(TypeError):
        one | 5


def test_given_options_around_a_task_when_compiled_then_its_own_are_stronger(task: Make) -> None:
    """Options of a composition are those of all tasks in it."""
    graph = chain(task("add", 1).set(queue="gpu"), group(task("add")).set(time_limit=5)).set(queue="cpu", time_limit=9)
    nodes = [node for node in compile_plan(graph).nodes if isinstance(node, TaskNode)]
    assert [dict(node.call.options) for node in nodes] == [
        {"queue": "gpu", "time_limit": 9},
        {"queue": "cpu", "time_limit": 5},
    ]


def test_given_a_signature_that_keeps_its_params_when_chained_then_it_is_not_fed(
    task: Make, pc: ProgramContext
) -> None:
    """`.si` waits for what comes before, and takes nothing of it."""
    assert chain(task("add", 1), pixyz_execute.si(10, pc.clone(entrypoint="add")))().get() == 11


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda task: chain(), "at least one task"),
        (lambda task: chord([task("add", 1)])(), "needs a body"),
        (lambda task: chain(task("add", 1), task("add", 2)), r"\.si\(params, pc\)"),
        (lambda task: chain(task("add", 1), pixyz_execute.s()), "no context"),
        (lambda task: group(1, 2), "made of pixyz_execute"),
        (lambda task: chunks(task("add"), [1], 0), "at least 1"),
        (lambda task: group(task("add", 1)).apply_async(args=(1, ProgramContext())), "only params"),
    ],
)
def test_given_a_graph_made_wrong_when_run_then_the_error_says_what_to_write(
    task: Make, make: Callable[[Make], Any], sentence: str
) -> None:
    """And nothing of it runs."""
    with pytest.raises(PixyzException, match=sentence):
        make(task)()


LEAVES = st.just("task")
SHAPES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(["chain", "group"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=8,
)


def build(shape: Any, leaf: Canvas) -> Canvas:
    """The composition that a shape describes."""
    if shape == "task":
        return leaf
    kind, parts = shape
    return (chain if kind == "chain" else group)([build(part, leaf) for part in parts])


@given(shape=SHAPES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_given_any_graph_when_compiled_then_each_node_comes_after_what_it_needs(task: Make, shape: Any) -> None:
    """The law that lets an executor walk the list once."""
    plan = compile_plan(build(shape, task("add")), params=1)
    seen: set[str] = set()
    for node in plan.nodes:
        needs = {node.after} if node.after else set()
        needs |= set(node.members) if isinstance(node, GatherNode) else set()
        needs |= {plan.parents[node.id]} if node.id in plan.parents else set()
        assert needs <= seen
        seen.add(node.id)
    assert plan.nodes[-1].id == plan.end
    assert len(seen) == len(plan.nodes)


def test_given_the_tutorials_chain_when_run_then_it_works_as_written(write_script: Callable[..., Path]) -> None:
    """With celery's name for chain, and the tuple as the result."""
    script = write_script("""
        from pixyz_worker.tasks import pixyz_execute
        from celery import chain
        from celery.result import allow_join_result

        def my_sleep(pc: ProgramContext, params: dict):
            pc.progress_next("sleeping " + str(params))
            params["time"] = params["time"] / 10
            return params

        def main(pc: ProgramContext, params: dict):
            c = chain(pixyz_execute.s({"time": 2, "id": 2}, pc.clone().update(entrypoint="my_sleep", raw=True)),
                pixyz_execute.s(pc=pc.clone().update(entrypoint="my_sleep", raw=True))).apply_async()
            print("chain return" + str(c) + str(type(c)))
            print(c.children)
            with allow_join_result():
                return c.as_tuple(), c.get()
    """)
    (ids, result) = pixyz_execute({}, ProgramContext.from_local(script).update(raw=True))
    assert result == {"time": 0.02, "id": 2}
    (last, (first, children)), more = ids
    assert isinstance(AsyncResult(last).get(), dict)
    assert AsyncResult(first[0]).get() == {"time": 0.2, "id": 2}
    assert (first[1], children, more) == (None, None, None)


def test_failing_callback_is_shown(task: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a callback that fails, when its task runs in this process, then stderr says so and the task is well."""
    handle = task("add", 1).set(link=task("fail")).apply_async(link_error=task("add"))
    assert handle.get() == 2
    told = capsys.readouterr().err
    assert told.startswith("A callback failed: Traceback")
    assert "ValueError: bad part" in told
    assert [child.state for child in handle.children] == ["FAILURE", "REVOKED"]
