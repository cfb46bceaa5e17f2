"""What a client sends of functions and of graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixyz_ray.client import Client, task
from pixyz_worker import ProgramContext, chain, group, pixyz_execute
from pixyz_worker.exception import InvalidBackendParameter, PixyzFileNotFound

SCRIPT = "def main(pc, params): return params\n"


@task(queue="gpu")
def add(value: int, other: int = 0) -> int:
    """Add."""
    return value + other


def doubled(value: int) -> int:
    """Serve as a plain function."""
    return 2 * value


def plan_of(peer: Any) -> Any:
    """The plan that was sent."""
    return json.loads(peer.form["graph"])


def contexts(folder: Path, *paths: str, input_file: Path | None = None) -> list[ProgramContext]:
    """Contexts of scripts below a folder."""
    made = []
    for path in paths:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(f"# {path}\n{SCRIPT}")
        made.append(ProgramContext.from_local(folder / path, input_file))
    return made


def test_a_function_goes_as_a_script_of_its_own(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a function with arguments, when submitted, then the form is that of a script with params."""
    job = client.submit(add, 1, kwargs={"other": 2}, config={"time_limit": 60, "queue": None})
    assert job.id == server_kit.UUID
    assert json.loads(peer.form["params"]) == {"$arguments": [1], "$keywords": {"other": 2}}
    assert json.loads(peer.form["config"]) == {"entrypoint": "add", "compute_only": True, "time_limit": 60}
    assert (peer.form["process"], peer.form["name"]) == ("custom", "add")
    name, content = peer.form["script"]
    assert name == add.script().path.name
    assert b"@pixyz_schedule(queue='gpu')\ndef add(pc, params):" in content
    client.submit(doubled, 1, name="mine")
    assert peer.form["name"] == "mine"


@pytest.mark.parametrize(
    "wrong",
    [
        {"script": doubled, "params": {}},
        {"script": doubled, "process": "sleep"},
        {"script": "a.py", "kwargs": {"a": 1}},
    ],
    ids=["params of a function", "a function and a process", "arguments of a script"],
)
def test_arguments_are_for_functions_and_params_for_scripts(client: Client, wrong: dict[str, Any]) -> None:
    """Given a mixture of both, when submitted, then it is refused at once."""
    with pytest.raises(TypeError, match=r"submit\(\) gives"):
        client.submit(**wrong)
    with pytest.raises(TypeError, match=r"submit\(\) gives"):
        client.submit("a.py", 1)  # type: ignore[call-overload]


def test_a_graph_goes_with_each_of_its_scripts_once(client: Client, peer: Any, tmp_path: Path) -> None:
    """Given scripts of one name, when run, then each has a name of its own, which the plan uses."""
    one, other = contexts(tmp_path, "a/step.py", "b/step.py")
    client.run(chain(add.s(1, 2), group(pixyz_execute.s(pc=pc) for pc in (one, other, one))), name="mine")
    plan = plan_of(peer)
    function = add.script().path.name
    assert {call["script"] for call in plan["calls"]} == set(peer.scripts) == {function, "step.py", "step_2.py"}
    assert peer.scripts["step.py"].startswith(b"# a/step.py")
    assert peer.scripts["step_2.py"].startswith(b"# b/step.py")
    assert peer.form.keys() == {"graph", "name", "script"}
    assert str(tmp_path) not in peer.form["graph"]
    assert len(plan["nodes"]) == 5


def test_the_input_of_the_contexts_goes_along(client: Client, peer: Any, tmp_path: Path) -> None:
    """Given contexts with an input, when run, then it is sent; one given to run() is stronger; two are too many."""
    for name in ("bolt.step", "nut.step"):
        (tmp_path / name).write_text(name)
    (bolt,) = contexts(tmp_path, "a/one.py", input_file=tmp_path / "bolt.step")
    (nut,) = contexts(tmp_path, "b/two.py", input_file=tmp_path / "nut.step")
    client.run(chain(pixyz_execute.s({}, bolt), add.s(1)))
    assert peer.form["file"] == ("bolt.step", b"bolt.step")
    assert [call["context"].get("input_file") for call in plan_of(peer)["calls"]] == ["bolt.step", None]
    assert str(tmp_path) not in peer.form["graph"]
    both = group(pixyz_execute.s({}, bolt), pixyz_execute.s({}, nut))
    with pytest.raises(InvalidBackendParameter, match="2 different input files"):
        client.run(both)
    (plain,) = contexts(tmp_path, "c/three.py")
    client.run(group(both, pixyz_execute.s({}, plain), add.s(1, 1)), input_file=tmp_path / "nut.step")
    assert peer.form["file"] == ("nut.step", b"nut.step")
    assert [call["context"].get("input_file") for call in plan_of(peer)["calls"]] == ["nut.step"] * 3 + [None]


def test_what_cannot_be_sent_is_a_sentence(client: Client, peer: Any, tmp_path: Path) -> None:
    """Given no composition, no script, or a script that is gone, when run, then the error says so."""
    with pytest.raises(InvalidBackendParameter, match="takes a composition"):
        client.run(add)  # type: ignore[arg-type]
    with pytest.raises(InvalidBackendParameter, match="names no script"):
        client.run(pixyz_execute.s({}, ProgramContext()))
    (pc,) = contexts(tmp_path, "a/one.py")
    (tmp_path / "a/one.py").unlink()
    with pytest.raises(PixyzFileNotFound, match=r"one\.py does not exist"):
        client.run(pixyz_execute.s({}, pc))
    assert not peer.asked("/jobs")
