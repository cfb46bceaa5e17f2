"""Graphs as data, and a graph's run: what may begin, whose values are still wanted. Without Ray."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.graph.nodes import NodeJobs
from pixyz_ray.cluster.graph.run import GraphRun, Value
from pixyz_ray.graphs import MAX_NESTING, Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_worker.canvas import Canvas, Signature, chain, chord, chunks, group
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import compile_plan, handles_of
from pixyz_worker.tasks import pixyz_execute
from pixyz_worker.wire import plan_as_plain

ROOT = str(uuid4())
Plain = dict[str, Any]
SCRIPT = "def main(pc, params):\n    return params\n\ndef other(pc, params):\n    return params\n"


def task(entrypoint: str = "main", params: Any = None) -> Signature:
    """A signature; it takes what comes before it where it has no params."""
    context = ProgramContext({"script": "job.py", "entrypoint": entrypoint, "raw": True})
    return pixyz_execute.s(pc=context) if params is None else pixyz_execute.si(params, context)


def plain_of(canvas: Canvas) -> Plain:
    """A composition as the tracker gets it."""
    plan = plan_as_plain(compile_plan(canvas), lambda context: str(context["script"]))
    return {**json.loads(json.dumps(plan)), "number": 0, "attempt": 1, "requested": 1.0}


def graph_of(canvas: Canvas) -> Graph:
    """A composition as an accepted graph."""
    return Graph.checked(plain_of(canvas), ROOT, ROOT)


def canvases() -> st.SearchStrategy[Canvas]:
    """Compositions of any shape."""
    single = st.builds(task, st.sampled_from(["main", "other"]), st.sampled_from([None, 1, {"n": 2}]))
    mapped = st.builds(lambda n, size: chunks(task(), range(n), size), st.integers(0, 4), st.integers(1, 3))

    def composed(inner: st.SearchStrategy[Canvas]) -> st.SearchStrategy[Canvas]:
        several = st.lists(inner, min_size=1, max_size=3)
        return (
            st.builds(chain, several)
            | st.builds(group, st.lists(inner, max_size=3))
            | st.builds(chord, several, inner)
            | st.builds(lambda one: one.set(fail_fast=True), inner)
        )

    return st.recursive(single | mapped, composed, max_leaves=10)


# --- Checking --------------------------------------------------------------------------------------------------------

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.just(ROOT)
    | st.lists(st.integers(-1, 3), max_size=3)
    | st.dictionaries(st.sampled_from(["id", "after", "members", "calls"]), st.integers(0, 2), max_size=2)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@given(canvases(), st.data())
def test_given_any_plan_when_damaged_anywhere_then_it_is_refused_with_a_sentence_or_still_makes_sense(
    canvas: Canvas, data: st.DataObject
) -> None:
    """A client may send anything: what is accepted must not fail later where nobody can be told."""
    plain = plain_of(canvas)
    for _ in range(data.draw(st.integers(1, 3))):
        found = sorted(places(plain), key=repr)
        *way, last = data.draw(st.sampled_from(found))
        spot: Any = plain
        for key in way:
            spot = spot[key]
        if data.draw(st.booleans()):
            spot[last] = copy.deepcopy(data.draw(VALUES | st.sampled_from(found).map(lambda at: value_at(plain, at))))
        else:
            del spot[last]
    try:
        graph = Graph.checked(plain, ROOT, ROOT)
    except InvalidBackendParameter as error:
        assert str(error).startswith("The graph cannot be read: ")
        return
    assert len(graph.nodes) == len(plain["nodes"])
    assert json.dumps(graph.as_tuple())
    assert graph.digest
    assert len([*graph.edges()]) <= len(graph.nodes)
    assert all(graph.calls[number] for node in graph.nodes.values() for number, _ in node.calls)


def value_at(value: Any, path: tuple[Any, ...]) -> Any:
    """What is at a place, or was."""
    for key in path:
        value = value[key]
    return value


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_given_anything_else_when_checked_then_it_is_refused(plain: Any) -> None:
    """It is no plan."""
    with pytest.raises(InvalidBackendParameter):
        Graph.checked(plain, ROOT, ROOT)


def _change(plain: Plain, **changes: Any) -> Plain:
    return {**plain, **changes}


def _with_node(plain: Plain, place: int, **changes: Any) -> Plain:
    nodes = [*plain["nodes"]]
    nodes[place] = {**nodes[place], **changes}
    return {**plain, "nodes": nodes}


def _with_call(plain: Plain, **changes: Any) -> Plain:
    return {**plain, "calls": [{**call, **changes} for call in plain["calls"]]}


def _again(group: Plain) -> Plain:
    return {**group, "id": str(uuid4())}


BROKEN: dict[str, tuple[Callable[[Plain], Plain], str]] = {
    "version": (lambda plain: _change(plain, version=99), "of version 99"),
    "no nodes": (lambda plain: _change(plain, nodes=[]), "has 0 nodes"),
    "end": (lambda plain: _change(plain, end=ROOT), "its end is not one of its nodes"),
    "backwards": (lambda plain: _change(plain, nodes=plain["nodes"][::-1]), "does not come before it"),
    "id": (lambda plain: _with_node(plain, 0, id="../../etc"), "no fresh UUID"),
    "same id": (lambda plain: _change(plain, nodes=[plain["nodes"][0], *plain["nodes"]]), "no fresh UUID"),
    "itself": (lambda plain: _with_node(plain, 1, after=plain["nodes"][1]["id"]), "does not come before it"),
    "no call": (lambda plain: _with_node(plain, 0, calls=[]), "has 0 calls"),
    "two calls": (lambda plain: _with_node(plain, 0, calls=[[0, 1], [0, 1]]), "has 2 calls"),
    "empty part": (lambda plain: _with_node(plain, 0, calls=[], part=True), "has 0 calls"),
    "number": (lambda plain: _with_node(plain, 0, calls=[[7, 1]]), "not in the table"),
    "fraction": (lambda plain: _with_node(plain, 0, calls=[[0.0, 1]]), "not in the table"),
    "truth": (lambda plain: _with_node(plain, 0, calls=[[False, 1]]), "not in the table"),
    "neither JSON nor pickle": (lambda plain: _with_node(plain, 0, calls=[[0, 1, True]]), "neither JSON nor a pickle"),
    "third item": (lambda plain: _with_node(plain, 0, calls=[[0, "x", False]]), "neither JSON nor a pickle"),
    "in two groups": (lambda plain: _change(plain, nodes=[*plain["nodes"], _again(plain["nodes"][-2])]), "in a group"),
    "parents": (
        lambda plain: _change(plain, parents={plain["nodes"][0]["id"]: plain["end"]}),
        "leads back to one that does not come before it",
    ),
    "script": (lambda plain: _with_call(plain, script=None), "names no script"),
    "options": (lambda plain: _with_call(plain, options=[]), "options of a call"),
    "fail_fast": (lambda plain: _with_call(plain, options={"fail_fast": []}), "fail_fast"),
}


@pytest.mark.parametrize(("damage", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_given_a_broken_plan_when_checked_then_the_sentence_says_what_is_wrong(
    damage: Callable[[Plain], Plain], sentence: str
) -> None:
    """Each check by itself."""
    plain = plain_of(chord([task(), chain(task(), task())], task()))
    assert Graph.checked(plain, ROOT, ROOT)
    with pytest.raises(InvalidBackendParameter, match=sentence):
        Graph.checked(damage(plain), ROOT, ROOT)


def test_given_groups_in_groups_when_nested_too_deeply_then_the_plan_is_refused() -> None:
    """Their results would be lists that nothing can write down."""
    canvas: Canvas = task()
    for _ in range(MAX_NESTING):
        # A group right in a group would be one group; a chain keeps them apart.
        canvas = group(chain(canvas))
    assert graph_of(canvas)
    with pytest.raises(InvalidBackendParameter, match="nested more than"):
        graph_of(group(chain(canvas)))


# --- What a graph tells of itself ------------------------------------------------------------------------------------


@given(canvases())
def test_given_a_plan_when_made_again_then_only_its_ids_differ(canvas: Canvas) -> None:
    """So a script that is run again finds the graph that it had started."""
    one, two = graph_of(canvas), graph_of(canvas)
    assert one.digest == two.digest
    assert not one.nodes.keys() & two.nodes.keys()
    assert one.digest == Graph(one.uuid, ROOT, ROOT, json.loads(one.text)).digest


@pytest.mark.parametrize(
    "other",
    [
        chain(task(params=2), task()),
        chain(task(params=1), task("other")),
        chain(task(params=1), task(params=1)),
        chain(task(params=1), task(), task()),
        group(task(params=1), task()),
        chain(task(params=1), task()).set(queue="gpu"),
        chain(task(params=1), group(task())),
    ],
    ids=["params", "entrypoint", "fed", "longer", "shape", "options", "group"],
)
def test_given_another_plan_when_compared_then_its_digest_differs(other: Canvas) -> None:
    """A script that makes another graph gets another graph."""
    assert graph_of(chain(task(params=1), task())).digest != graph_of(other).digest


@given(canvases())
def test_given_a_graph_when_asked_for_ids_then_they_are_those_of_its_handle(canvas: Canvas) -> None:
    """`as_tuple()` of what the script holds."""
    plan = compile_plan(canvas)
    graph = Graph.checked(plan_as_plain(plan, lambda _: "job.py"), ROOT, ROOT)
    handle: Any = handles_of(plan, None)[plan.end]  # type: ignore[arg-type]
    assert graph.as_tuple() == handle.as_tuple()


def test_given_a_graph_when_drawn_then_edges_say_what_feeds_and_what_only_comes_after() -> None:
    """A group that has members is entered by them; only an empty one is itself a target."""
    graph = graph_of(chain(task(params=1), group(task(), task(params=5)), task(), group([])))
    first, fed, ordered, members, body, empty = graph.nodes
    assert [*graph.edges()] == [
        (None, first, "starts"),
        (first, fed, "data"),
        (first, ordered, "order"),
        (members, body, "data"),
        (body, empty, "order"),
    ]
    assert graph.group_of() == {fed: members, ordered: members}
    assert graph.tasks == 4


# --- A run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job whose script starts the graphs; its script is on the share."""
    folder = JobFolder(tmp_path_factory.mktemp("share"), ROOT)
    folder.stage("job.py", SCRIPT.encode())
    return Job(uuid=ROOT, name="parent", process="custom", script="job.py", notes=(str(folder.share),))


def jobs_of(graph: Graph, parent: Job, **options: Any) -> NodeJobs:
    """What makes the jobs of a graph's nodes."""
    return NodeJobs(graph, parent, Settings(share_path=Path(parent.notes[0])), **options)


class Simulation:
    """Runs a graph as the tracker does, with tasks that only end, in any order; and looks after each end."""

    def __init__(self, run: GraphRun, order: random.Random) -> None:
        self.run = run
        self.order = order
        self.running: list[str] = []
        self.begun: list[str] = []

    def play(self) -> None:
        """Run to the end."""
        for id in self.run.first():
            self._begin(id)
        while self.running:
            id = self.running.pop(self.order.randrange(len(self.running)))
            self._end(id)
            self._check_values()

    def _begin(self, id: str) -> None:
        node = self.run.nodes[id]
        assert id not in self.begun
        assert node.after is None or self.run.states[node.after] is JobState.SUCCESS
        self.begun.append(id)
        if node.kind == "group":
            if not self.run.left[id]:
                self.running.append(id)
            return
        if node.fed and node.after is not None:
            references: list[Any] = []
            assert self.run.missing(id) == [], "a value was released too early"
            shape = self.run.shape(node.after, references)
            assert sorted(references) == sorted(self.run.sources(node.after))
            assert flat(shape) == [*range(len(references))]
        self.running.append(id)

    def _end(self, id: str) -> None:
        wanted = self.run.is_wanted(id)
        self.run.end(id, JobState.SUCCESS, Value(id) if wanted else None)
        for other in self.run.dependents(id):
            self._begin(other)
        group = self.run.group_of.get(id)
        if group is not None:
            self.run.left[group] -= 1
            if not self.run.left[group]:
                assert group in self.begun
                self.running.append(group)

    def _check_values(self) -> None:
        """A value is held from the end of its task to the end of the last that gets it, and no longer."""
        run = self.run
        wanted = set()
        for node in run.nodes.values():
            if node.fed and node.after is not None and node.id not in run.states:
                wanted.update(id for id in run.sources(node.after) if id in run.states)
        assert run.values.keys() == wanted


def flat(shape: Any) -> list[Any]:
    """The places of a shape, in order."""
    kind, what = shape
    return [place for each in what for place in flat(each)] if kind == "list" else [what]


@given(canvases(), st.integers(0, 1000))
def test_given_any_graph_when_its_tasks_end_in_any_order_then_all_run_once_and_no_value_is_held_too_long(
    parent: Job, canvas: Canvas, seed: int
) -> None:
    """Nothing begins before what it depends on, and everything ends."""
    graph = graph_of(canvas)
    run = GraphRun(graph, jobs_of(graph, parent))
    simulation = Simulation(run, random.Random(seed))
    simulation.play()
    assert run.over
    assert not run.open_nodes()
    assert not run.begun
    assert not run.values
    assert sorted(simulation.begun) == sorted(run.nodes)


@given(canvases())
def test_given_any_graph_when_its_jobs_are_made_then_each_node_has_one(parent: Job, canvas: Canvas) -> None:
    """With what its call says, below the job whose script started it."""
    graph = graph_of(canvas)
    run = GraphRun(graph, jobs_of(graph, parent))
    for id, node in run.nodes.items():
        job = run.job(id)
        assert (job.uuid, job.kind, job.parent_id, job.home, job.graph) == (id, node.kind, ROOT, ROOT, graph.uuid)
        assert (job.state, job.attempts) == (JobState.PENDING, ())
        if node.kind == "task":
            assert job.params == node.calls[0][1]
        assert len(job.calls) == (len(node.calls) if node.kind == "part" else 0)
        assert job.as_details()


def test_given_a_group_when_its_nodes_are_looked_for_then_what_leads_to_its_members_is_there(parent: Job) -> None:
    """But nothing of what comes before or after it."""
    graph = graph_of(chain(task(params=1), group(chain(task(), task()), task()), task()))
    before, one, two, three, members, after = graph.nodes
    run = GraphRun(graph, jobs_of(graph, parent))
    assert set(run.with_members(members)) == {members, one, two, three}
    assert run.with_members(before) == [before]
    assert run.with_members(after) == [after]


def test_given_fail_fast_when_asked_for_then_the_open_tasks_of_that_composition_are_told(parent: Job) -> None:
    """And of no other."""
    graph = graph_of(group(task(params=1), group(task(), task()).set(fail_fast=True), task().set(fail_fast=True)))
    alone, one, two, _, other, _ = graph.nodes
    run = GraphRun(graph, jobs_of(graph, parent))
    assert run.scope(alone) is None
    assert [*run.in_scope(run.scope(one))] == [one, two]
    run.end(two, JobState.FAILURE)
    assert [*run.in_scope(run.scope(one))] == [one]
    assert run.scope(other) not in (None, run.scope(one))


def test_given_a_script_that_is_gone_when_a_graph_is_taken_up_again_then_its_nodes_can_still_be_told_of(
    parent: Job, tmp_path: Path
) -> None:
    """A new graph is refused; one that had begun must not keep the platform from starting."""
    graph = graph_of(chord([task(params=1), task("other")], task()))
    settings = Settings(share_path=tmp_path)
    with pytest.raises(InvalidScript, match="does not have"):
        NodeJobs(graph, parent, settings)
    jobs = NodeJobs(graph, parent, settings, again=True)
    assert jobs.problem is not None
    assert "does not have" in jobs.problem
    made = [jobs.job(node) for node in graph.nodes.values()]
    assert [job.entrypoint for job in made] == ["main", "other", "", "main"]
    assert all(job.as_details() for job in made)
