"""Params and own keys of tasks: merging, cloning, and their way to where the task runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_worker.canvas import Canvas, chain, group
from pixyz_worker.exception import InvalidBackendParameter, PixyzException
from pixyz_worker.pc import ProgramContext
from pixyz_worker.plan import compile_plan
from pixyz_worker.task_params import as_received, merged, packed, unpacked
from pixyz_worker.tasks import pixyz_execute
from pixyz_worker.wire import RUNNER_KEYS, as_sent, own_values, plan_as_plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ODD = (
    st.binary(max_size=4)
    | st.datetimes()
    | st.frozensets(st.integers(), max_size=2)
    | st.complex_numbers(allow_nan=False)
)
ANY = st.recursive(
    SCALARS | ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
PARAMS = st.dictionaries(st.text(max_size=3), JSON, max_size=3)
OWN_KEYS = st.dictionaries(
    st.from_regex(r"[a-z]{1,4}", fullmatch=True).filter(lambda key: key not in ProgramContext()), ANY, max_size=3
)


@given(base=PARAMS | JSON, own=PARAMS | JSON)
def test_merging(base: Any, own: Any) -> None:
    """Given any params, when merged, then a mapping lies over a mapping key by key, and all else replaces."""
    found = merged(base, own)
    if isinstance(base, dict) and isinstance(own, dict):
        assert found.keys() == base.keys() | own.keys()
        assert all(found[key] == own[key] for key in own)
        assert all(found[key] == base[key] for key in base.keys() - own.keys())
        assert merged(found, own) == found
    else:
        assert found is own


@given(first=PARAMS, second=PARAMS, third=PARAMS)
def test_merging_is_associative(first: Any, second: Any, third: Any) -> None:
    """Given a task of a task, when their params are merged, then it does not matter which are merged first."""
    assert merged(merged(first, second), third) == merged(first, merged(second, third))


@given(value=ANY)
def test_values_arrive_alike(value: Any) -> None:
    """Given any value, when it goes as JSON or as a pickle, then a second journey changes nothing more."""
    arrived = as_received(value, "a value")
    assert as_received(arrived, "a value") == arrived
    text = packed(value, "a value")
    assert arrived == (json.loads(json.dumps(value)) if text is None else unpacked(text, "a value"))
    json.dumps(text)


def test_pickled_containers_are_as_json_has_them() -> None:
    """Given a value with a datetime in it, when it arrives, then tuples are lists and keys are texts there too."""
    moment = datetime(2026, 1, 2)
    assert as_received({1: (moment, (True, None)), None: 2.5}, "it") == {"1": [moment, [True, None]], "null": 2.5}


@pytest.mark.parametrize("make", [Lock, lambda: [iter_nothing()]], ids=["a lock", "a generator in a list"])
def test_value_that_cannot_be_sent(make: Callable[[], Any]) -> None:
    """Given a value that cannot be pickled, when it is to be sent, then the error names it."""
    with pytest.raises(InvalidBackendParameter, match="the params of a task"):
        packed(make(), "the params of a task")


def iter_nothing() -> Iterator[int]:
    """A generator."""
    yield 1


def test_value_that_contains_itself() -> None:
    """Given a list in itself, when it is to be sent, then that is said, and does not go on without end."""
    endless: list[Any] = [{1}]
    endless.append(endless)
    with pytest.raises(PixyzException, match="contains itself"):
        packed(endless, "a value")


@pytest.fixture
def pc(write_script: Callable[..., Path]) -> ProgramContext:
    """A context for a script that returns what it sees."""
    body = """
    def main(pc, params):
        return [params, {key: pc[key] for key in sorted(pc.get("keys", ()))}]
    """
    return ProgramContext.from_local(write_script(body)).update(raw=True)


@given(base=PARAMS, own=PARAMS, keys=OWN_KEYS, depth=st.integers(1, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_task_sees_params_and_own_keys(pc: ProgramContext, base: Any, own: Any, keys: Any, depth: int) -> None:
    """Given any params and own keys, when a clone of a clone runs, then its task sees both, as they arrive."""
    context = pc.clone(**{**keys, "params": base, "keys": [*keys]})
    for _ in range(depth):
        context = context.clone()
    seen_params, seen_keys = pixyz_execute.delay(own, context).get()
    assert seen_params == as_received(merged(base, own), "params")
    assert seen_keys == {key: as_received(value, key) for key, value in keys.items()}
    unfed, _ = pixyz_execute.s(pc=context).delay().get()
    assert unfed == base


@given(keys=OWN_KEYS)
def test_own_keys_on_the_wire(keys: Any) -> None:
    """Given any own keys, when a plan is written as JSON, then it has each of them once, and none of the runner's."""
    context = ProgramContext(script="s.py", **keys)
    plan = compile_plan(group(pixyz_execute.s({}, context) for _ in range(3)))
    plain = json.loads(json.dumps(plan_as_plain(plan, lambda context: "s.py")))
    (call,) = plain["calls"]
    sent = {**call["context"], **{key: unpacked(text, key) for key, text in call.get("packed", {}).items()}}
    assert {key: sent[key] for key in keys} == {key: as_received(value, key) for key, value in keys.items()}
    assert not (RUNNER_KEYS - {"params"}) & sent.keys()
    assert own_values(context).keys() >= keys.keys()


@given(base=PARAMS, keys=OWN_KEYS)
def test_clone_is_its_own(base: Any, keys: Any) -> None:
    """Given a clone, when its containers are changed, then those of the context that it was cloned from are not."""
    context = ProgramContext(params=base, table={"list": [1]}, **keys)
    before = as_received(dict(own_values(context)), "context")
    clone = context.clone()
    clone["params"]["added"] = 1
    clone["table"]["list"].append(2)
    clone.update(params={"more": 2}, queue="zip")
    assert as_received(dict(own_values(context)), "context") == before
    assert context.asked_options == {}
    assert clone.asked_options == clone.clone().asked_options == {"queue": "zip"}


@given(a=JSON, b=JSON, c=JSON)
def test_update_merges_like_params(a: Any, b: Any, c: Any) -> None:
    """Given values of one key, when updated one after another, then mappings merge and all else replaces."""
    context = ProgramContext(mine=a).update(mine=b).update(mine=c)
    expected = a
    for value in (b, c):
        expected = merged(expected, value)
    assert context["mine"] == expected


NESTED = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=3), max_leaves=8)


def flat(shape: Any) -> list[int]:
    """The numbers of nested lists, in order."""
    return [shape] if isinstance(shape, int) else [number for each in shape for number in flat(each)]


@given(shape=st.lists(NESTED, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_groups_in_groups_are_one(pc: ProgramContext, shape: Any) -> None:
    """Given groups nested in any way, when run, then there is one flat list of results, in order."""

    def build(each: Any) -> Canvas:
        return pixyz_execute.s(each, pc) if isinstance(each, int) else group([build(part) for part in each])

    handle = build(shape).apply_async()
    assert [params for params, _ in handle.get()] == flat(shape)
    assert len(handle.results) == len(flat(shape))


def test_input_follows_data(tmp_path: Path) -> None:
    """Given a context, when its data or its input_file is set in any way, then the other one follows."""
    file = tmp_path / "a.step"
    file.touch()
    for context in (
        ProgramContext(data=str(file)),
        ProgramContext().update(data=file),
        ProgramContext().clone(input_file=str(file)),
        ProgramContext(data={"a": 1}).clone(data=str(file)),
        ProgramContext(input_file=str(file)),
    ):
        assert (context.get_input_file(), str(context["data"])) == (str(file), str(file))
        assert as_sent(compile_plan(pixyz_execute.s({}, context)).nodes[0].call).context.get_input_file() == str(file)
        for without in (context.clone(data=None), context.clone(input_file=None), context.clone(data={"a": 1})):
            with pytest.raises(ValueError, match="no input file"):
                without.get_input_file()
    both = ProgramContext().update(input_file=str(file), data={"a": 1})
    assert (both["data"], both.get_input_file()) == ({"a": 1}, str(file))


def test_relative_data_is_in_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a relative path, when the outputs have such a file, then that is meant, else one of the current folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    context = ProgramContext(output_dir=str(tmp_path / "out"))
    (tmp_path / "here" / "both").touch()
    assert context.clone(data="both").get_input_file() == str(tmp_path / "here" / "both")
    (tmp_path / "out" / "both").touch()
    assert context.clone(data="both").get_input_file() == str(tmp_path / "out" / "both")
    with pytest.raises(PixyzException, match="no input file"):
        context.clone(data="neither").get_input_file()


def test_context_as_text_and_json() -> None:
    """Given a context, when it is written as a dict, JSON or text, then it can be made again of the first two."""
    context = ProgramContext(entrypoint="go", mine={"a": 1}, task=object())
    for again in (ProgramContext.from_dict(context.to_dict()), ProgramContext.from_json(context.to_json())):
        assert (again["entrypoint"], again["mine"], again["time_request"]) == ("go", {"a": 1}, context["time_request"])
        assert "task" not in again
    text = context.to_json()
    assert ProgramContext.from_dict(json.loads(text)).to_json() == text
    assert str(context).startswith("ProgramContext({")
    with pytest.raises(InvalidBackendParameter, match="JSON"):
        context.clone(mine={1}).to_json()


def test_chain_of_immutable_and_fed(pc: ProgramContext) -> None:
    """Given params of the job, when a chain feeds a task, then the result lies over them, unless it is immutable."""
    context = pc.clone(params={"quality": 3})
    (seen, _) = chain(pixyz_execute.s({"a": 1}, context), pixyz_execute.si({"b": 2}, context))().get()
    assert seen == {"quality": 3, "b": 2}
