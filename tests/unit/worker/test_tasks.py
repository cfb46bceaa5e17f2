"""pixyz_execute for one task: in place, as a task, here or on any backend."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker.backend import current_backend, use_backend
from pixyz_worker.celery_results import EagerResult
from pixyz_worker.exception import InvalidScript, PixyzException, PixyzExitFault, PixyzTimeout
from pixyz_worker.kernel import session
from pixyz_worker.local import LocalPixyzTask
from pixyz_worker.local_run import LocalBackend
from pixyz_worker.outcome import TaskOutcome
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import Plan, TaskNode, handles_of
from pixyz_worker.result import AsyncResult, GroupResult, ResultHandle, ResultSet
from pixyz_worker.tasks import pixyz_execute, subtask_async

ID = "0123abcd-0000-4000-8000-000000000000"
BODY = """
    def main(pc, params):
        pc.progress_next("working")
        params["seen"] = pc["entrypoint"]
        return params

    def fail(pc, params):
        raise KeyError("missing")

    def leave(pc, params):
        sys.exit(3)

    async def later(pc, params):
        return [pc["queue"], pc["retry"], pc["task"].id]

    def nested(pc, params):
        handle = subtask_async(pc, "main", {"n": 1}, raw=True)
        with pc.allow_join_result():
            return handle.get()

    @pixyz_schedule(wait=True)
    def waiting(pc, params):
        tasks = [pixyz_execute.s({"n": n}, pc.clone(entrypoint="main", raw=True)) for n in range(3)]
        return chord(tasks)(pixyz_execute.s(pc=pc.clone(entrypoint="count")))

    def count(pc, params):
        return len(params)
"""


@pytest.fixture
def pc(write_script: Callable[..., Path]) -> ProgramContext:
    """A context for the script of these tests."""
    return ProgramContext.from_local(write_script(BODY))


def test_given_a_context_when_executed_in_place_then_the_result_is_the_record(pc: ProgramContext) -> None:
    """A record is JSON-able, and its `result` is what the entrypoint returned."""
    params = {"a": 1}
    record = pixyz_execute(params, pc)
    assert record["result"] == {"a": 1, "seen": "main"}
    assert (record["status"], record["progress"], record["error"]) == ("SUCCESS", 100, None)
    assert [step["info"] for step in record["steps"]] == ["working"]
    assert record["steps"][0]["duration"] >= 0
    assert record["time_info"]["request"] <= record["time_info"]["started"] <= record["time_info"]["stopped"]
    assert params == {"a": 1}, "a task changes its own copy"


def test_given_raw_when_executed_in_place_then_the_result_is_bare(pc: ProgramContext) -> None:
    """And what the script raises passes through."""
    assert pixyz_execute({}, pc.clone(raw=True)) == {"seen": "main"}
    assert pixyz_execute.s(pc=pc.clone(raw=True))() == {"seen": "main"}
    with pytest.raises(KeyError):
        pixyz_execute({}, pc.clone(entrypoint="fail"))
    with pytest.raises(InvalidScript, match="functions are: main, fail"):
        pixyz_execute({}, pc.clone(entrypoint="nothing"))


@pytest.mark.parametrize(
    "start",
    [
        lambda pc: pixyz_execute.delay({"a": 1}, pc),
        lambda pc: pixyz_execute.apply_async(args=({"a": 1}, pc), queue="gpu"),
        lambda pc: pixyz_execute.apply_async(kwargs={"params": {"a": 1}, "pc": pc}),
        lambda pc: pixyz_execute.s({"a": 1}, pc).set(queue="gpu").apply_async(),
        lambda pc: pixyz_execute.s({"a": 1}, pc).delay(),
        lambda pc: pixyz_execute.s(pc=pc).delay({"a": 1}),
        lambda pc: pixyz_execute.s(pc).apply_async(args=({"a": 1},)),
        lambda pc: pixyz_execute.si({"a": 1}, pc).apply_async(),
        lambda pc: subtask_async(pc, "main", {"a": 1}),
    ],
)
def test_given_any_way_to_start_a_task_when_it_ends_then_the_handle_has_its_result(
    pc: ProgramContext, start: Callable[[ProgramContext], AsyncResult]
) -> None:
    """All ways are one."""
    handle = start(pc)
    assert handle.get(timeout=5)["result"] == {"a": 1, "seen": "main"}
    assert handle.id == handle.task_id == str(handle)
    if not isinstance(handle, LocalPixyzTask):
        assert handle.get()["uuid"] == handle.id
    assert (handle.state, handle.status, handle.ready()) == ("SUCCESS", "SUCCESS", True)
    assert handle.successful()
    assert not handle.failed()
    assert handle.as_tuple() == ((handle.id, None), None)
    assert handle.as_list() == [handle.id]


def test_given_a_task_that_fails_when_asked_then_its_own_exception_comes_back(pc: ProgramContext) -> None:
    """Raised with propagate, given without."""
    handle = pixyz_execute.delay({}, pc.clone(entrypoint="fail"))
    with pytest.raises(KeyError, match="missing"):
        handle.get()
    assert isinstance(handle.get(propagate=False), KeyError)
    assert isinstance(handle.result, KeyError)
    assert handle.state == "FAILURE"
    assert handle.failed()
    assert handle.traceback.endswith("KeyError: 'missing'\n")
    left = pixyz_execute.delay({}, pc.clone(entrypoint="leave")).get(propagate=False)
    assert isinstance(left, PixyzExitFault)
    assert left.exit_code == 3


def test_given_options_when_a_task_runs_then_its_context_shows_them(pc: ProgramContext) -> None:
    """Also for an async entrypoint."""
    handle = pixyz_execute.apply_async(({}, pc.clone(entrypoint="later", raw=True)), queue="gpu", task_id=ID)
    assert handle.get() == ["gpu", 0, ID]


def test_given_a_task_in_a_task_when_it_is_waited_for_then_its_result_comes(pc: ProgramContext) -> None:
    """A task may start and join another one."""
    assert pixyz_execute({}, pc.clone(entrypoint="nested", raw=True)) == {"n": 1, "seen": "main"}


def test_given_wait_when_the_entrypoint_returns_a_handle_then_the_result_is_that_of_the_graph(
    pc: ProgramContext,
) -> None:
    """The job lasts until its graph has ended, with one step for each task."""
    record = pixyz_execute({}, pc.clone(entrypoint="waiting"))
    assert record["result"] == 3
    assert len(record["steps"]) == 4
    assert all(step["info"].endswith(": SUCCESS") for step in record["steps"])


def test_given_on_message_when_a_task_ends_then_it_is_called(pc: ProgramContext) -> None:
    """With the words that existing scripts read."""
    messages: list[dict[str, Any]] = []
    handle = pixyz_execute.delay({}, pc.clone(raw=True))
    handle.get(on_message=messages.append, interval=0.1)
    assert messages == [
        {"task_id": handle.id, "status": "SUCCESS", "result": {"seen": "main"}, "traceback": None, "children": None}
    ]


def test_given_an_unknown_id_when_asked_then_it_is_pending_and_waiting_does_not_hang() -> None:
    """Nothing waits for ever."""
    handle = ProgramContext().AsyncResult("no-such-id")
    assert handle.state == "PENDING"
    assert not handle.ready()
    with pytest.raises(PixyzTimeout):
        handle.get(timeout=0.01)
    with pytest.raises(PixyzException, match="no-such-id"):
        handle.get()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pixyz_execute.delay({}), "no context"),
        (lambda: pixyz_execute.delay({}, ProgramContext()), "names no script"),
        (lambda: pixyz_execute.s(1, 2, 3), "takes"),
        (lambda: pixyz_execute.s(other=1), "takes"),
    ],
)
def test_given_a_task_made_wrong_when_started_then_the_error_says_what_to_write(
    make: Callable[[], AsyncResult], sentence: str
) -> None:
    """A user's mistake gets a sentence."""
    with pytest.raises(PixyzException, match=sentence):
        make().get()


def test_given_a_backend_when_used_then_tasks_and_handles_go_there(pc: ProgramContext, through_pickle: Any) -> None:
    """What is in use is told by one context variable; a handle from elsewhere finds it too."""
    before = current_backend()
    with use_backend(LocalBackend()) as backend:
        handle = pixyz_execute.delay({}, pc.clone(raw=True))
        assert current_backend() is backend
        assert through_pickle(handle).get() == {"seen": "main"}
    assert current_backend() is before
    assert AsyncResult(handle.id).state == "PENDING"
    assert handle.state == "SUCCESS"


class _Elsewhere:
    """A backend whose tasks never end."""

    is_local = False
    ends = ()

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.revoked: list[str] = []

    def submit_plan(self, plan: Plan) -> ResultHandle:
        self.plans.append(plan)
        return handles_of(plan, self)[plan.end]

    def result(self, task_id: str) -> AsyncResult:
        return AsyncResult(task_id, self)

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        return TaskOutcome(state="RUNNING")

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        return [self.outcome(task_id, timeout_s) for task_id in task_ids]

    def revoke(self, task_ids: Sequence[str]) -> None:
        self.revoked += task_ids


def test_given_another_backend_when_a_graph_is_started_then_it_gets_the_whole_plan(pc: ProgramContext) -> None:
    """With the options of each task; to revoke a handle is to cancel the graph that ends there."""
    from pixyz_worker.script import chain, group

    task = pixyz_execute.s({"a": 1}, pc).set(queue="gpu", time_limit=5)
    with use_backend(_Elsewhere()) as backend:
        handle = chain(group(task, task), pixyz_execute.s(pc=pc))()
        (plan,) = backend.plans
        first = plan.nodes[0]
        assert isinstance(first, TaskNode)
        assert (first.call.options, first.call.params) == ({"queue": "gpu", "time_limit": 5}, {"a": 1})
        with pytest.raises(PixyzTimeout):
            handle.get(timeout=0)
        handle.revoke()
        assert sorted(backend.revoked) == sorted(node.id for node in plan.nodes)
        assert copy.copy(handle).as_tuple() == handle.as_tuple()


def test_given_a_chain_of_thousands_when_handled_then_nothing_recurses(pc: ProgramContext) -> None:
    """Ids as a tuple and as a list, and the way through pickle, are flat inside."""
    from pixyz_worker.script import chain

    with use_backend(_Elsewhere()):
        handle = chain(pixyz_execute.si({}, pc) for _ in range(3000))()
        assert len(handle.as_list()) == 3000
        assert copy.copy(handle).as_list() == handle.as_list()
        ids = handle.as_tuple()
        depth = 0
        while ids is not None:
            (_, ids), depth = ids[0], depth + 1
        assert depth == 3000


def test_given_a_command_line_run_when_it_ends_then_result_progress_and_files_are_there(
    write_script: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LocalPixyzTask needs no cluster."""
    script = write_script("""
        def convert(pc, params):
            pc.progress_set_total(2)
            pc.progress_next("one")
            pc.progress_next("two")
            with open(pc.get_input_file()) as source, open(pc.get_output_dir("out.txt"), "w") as file:
                file.write(source.read() * params["times"])
            return 42

        def fail(pc, params):
            raise KeyError("missing")
    """)
    source = tmp_path / "in.txt"
    source.write_text("ab", encoding="utf-8")
    out = tmp_path / "out"
    assert LocalPixyzTask.from_commandline(script, out, "convert", {"times": 2}, source) == 42
    assert (out / "out.txt").read_text(encoding="utf-8") == "abab"
    assert capsys.readouterr().out == "[  0%] one\n[ 50%] two\n[100%] Done\n"
    with pytest.raises(KeyError):
        LocalPixyzTask.from_commandline(script, out, "fail")


def test_given_a_local_task_when_its_dict_is_asked_for_then_every_way_gives_it_by_result_too(
    write_script: Callable[..., Path],
) -> None:
    """On the cluster the same handle gives a record: `["result"]` has to work on both."""
    handle = LocalPixyzTask("main", ProgramContext.from_local(write_script(BODY)), {"n": 1})
    expected = {"n": 1, "seen": "main"}
    for value in (handle.get(), handle.wait(), handle.result, handle.info, handle.ret):
        assert (value, value["result"]) == (expected, expected)
    failed = LocalPixyzTask("fail", ProgramContext.from_local(write_script(BODY)))
    assert isinstance(failed.result, KeyError)


def pickled_and_back(handle: Any) -> Any:
    """The handle as another process gets it."""
    return pickle.loads(pickle.dumps(handle))  # noqa: S301 - made here


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled_and_back])
def test_given_handles_when_copied_or_pickled_then_they_know_what_they_knew(
    copied: Callable[[Any], Any], write_script: Callable[..., Path]
) -> None:
    """A local task has its outcome with it; a set has its members."""
    handle = LocalPixyzTask("main", ProgramContext.from_local(write_script(BODY)), {"n": 1})
    again = copied(handle)
    assert (type(again), again, again.get()) == (LocalPixyzTask, handle, {"n": 1, "seen": "main"})
    several = ResultSet([handle, AsyncResult("another")])
    assert copied(several) == several
    assert copied(several)[0].get() == handle.get()


def test_given_a_set_of_handles_from_several_backends_when_asked_then_each_has_its_own_result(
    write_script: Callable[..., Path],
) -> None:
    """As `.apply()` and EagerResult give them."""
    context = ProgramContext.from_local(write_script(BODY)).clone(raw=True)
    applied = [pixyz_execute.s({"n": n}, context).apply() for n in (1, 2)]
    eager = [EagerResult("a", "first", "SUCCESS"), EagerResult("b", "second", "SUCCESS")]
    several = ResultSet([*applied, *eager])
    assert (several.state, several.ready()) == ("SUCCESS", True)
    expected = [{"n": 1, "seen": "main"}, {"n": 2, "seen": "main"}, "first", "second"]
    assert (several.get(), list(several.iterate())) == (expected, expected)


class CountingBackend(LocalBackend):
    """Counts requests, and knows one task that has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._outcomes["0"] = TaskOutcome(state="SUCCESS", result="done")
        self.requests = 0
        self.revoked: list[str] = []

    def outcome(self, task_id: str, timeout_s: float | None) -> TaskOutcome:
        """One request."""
        self.requests += 1
        return super().outcome(task_id, timeout_s)

    def outcomes(self, task_ids: Sequence[str], timeout_s: float | None, *, until_failure: bool) -> list[TaskOutcome]:
        """One request for all."""
        self.requests += 1
        return [self._outcomes.get(id) or TaskOutcome(state="PENDING") for id in task_ids]

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Note what is cancelled."""
        self.revoked += task_ids


def test_given_a_set_that_is_not_done_when_asked_then_all_members_cost_one_request() -> None:
    """And a set, which is no job, is cancelled by its members."""
    backend = CountingBackend()
    several = ResultSet([AsyncResult(str(number), backend) for number in range(100)])
    assert (several.state, backend.requests) == ("PENDING", 1)
    assert (next(several.iterate()), backend.requests) == ("done", 2)
    several.revoke()
    assert backend.revoked == [str(number) for number in range(100)]


def test_given_a_group_of_unfinished_tasks_when_asked_then_it_is_pending() -> None:
    """A group knows how many have ended well."""
    backend = LocalBackend()
    done = TaskOutcome(state="SUCCESS", result=1)
    backend._outcomes["done"] = done
    group = GroupResult("g", [backend.result("done"), backend.result("open")])
    assert (group.state, group.ready(), group.completed_count(), len(group)) == ("PENDING", False, 1, 2)
    assert group.result is None
    group.revoke()


SCENES = """
    from contextvars import ContextVar
    from pixyz_worker.backend import current_backend
    from pixyz_worker.kernel import session
    from pixyz_worker.kernel.pxz import core, current
    from pixyz_worker.kernel.scene import Occurrence, Scene

    WORD = ContextVar("word", default="none")
    token = WORD.set("loaded")

    def look(pc, params):
        found = [len(session.scenes()), core.getModuleProperty("Material", "ExportTextureFormat"), WORD.get()]
        WORD.reset(token)
        session.add(Scene(name="a", root=Occurrence()))
        core.setModuleProperty("Material", "ExportTextureFormat", "KTX2")
        return (params or []) + [found]

    def several(pc, params):
        look(pc, None)
        again = pc.clone(entrypoint="look", raw=True)
        handle = (pixyz_execute.si(None, again) | pixyz_execute.s(again)).delay()
        return handle.get() + [len(session.scenes()), id(current_backend())]
"""


def test_given_tasks_in_this_process_when_they_import_then_each_has_a_session_of_its_own(
    write_script: Callable[..., Path],
) -> None:
    """Neither the next of a chain nor the task that started them sees it; its own context a script has whole."""
    pc = ProgramContext.from_local(write_script(SCENES)).update(entrypoint="several", raw=True)
    empty = [0, "", "loaded"]
    with use_backend(LocalBackend()) as backend:
        assert pixyz_execute(None, pc) == [empty, empty, 1, id(backend)]
    assert session.scenes() == ()
