"""ProgramContext: a mapping of settings, and the ways to files, progress and tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker.exception import (
    PixyzFileNotFound,
    PixyzSecurityViolation,
    PixyzSharedDirectoryNotFound,
)
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress


@pytest.fixture
def pc(tmp_path: Path) -> ProgramContext:
    """The context of a job with folders."""
    for name in ("inputs", "outputs"):
        (tmp_path / name).mkdir()
    return ProgramContext(input_dir=str(tmp_path / "inputs"), output_dir=str(tmp_path / "outputs"))


def test_given_nothing_when_made_then_it_has_the_defaults_of_the_contract() -> None:
    """Defaults that existing scripts rely on."""
    pc = ProgramContext()
    requested = pc.pop("time_request")
    assert pc == {
        "compute_only": False,
        "data": None,
        "tmp": True,
        "root_file": None,
        "is_local": False,
        "entrypoint": "main",
        "raw": False,
    }
    assert requested.tzinfo is None
    assert abs((datetime.now(UTC).replace(tzinfo=None) - requested).total_seconds()) < 60
    assert pc.get("x") is None
    with pytest.raises(KeyError):
        pc["x"]


def test_given_values_when_set_by_other_ways_than_an_item_then_what_follows_is_the_same(tmp_path: Path) -> None:
    """`|=` and setdefault are ways to set a queue and an input, too."""
    pc = ProgramContext()
    pc |= {"input_file": str(tmp_path / "b.step"), "queue": "cpu", "data": str(tmp_path / "a.step")}
    assert type(pc) is ProgramContext
    assert pc.setdefault("time_limit", 3) == 3
    assert pc.setdefault("queue", "gpu") == "cpu"
    assert pc.asked_options == {"queue": "cpu", "time_limit": 3}
    assert pc["input_file"] == str(tmp_path / "b.step")
    pc |= {"data": str(tmp_path / "c.step")}
    assert (pc["input_file"], pc["input_dir"]) == (str(tmp_path / "c.step"), str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, None, None),
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1}, 5, 5),
        ({1}, {2}, {1, 2}),
        ("text", "other", "other"),
    ],
)
def test_given_a_value_when_updated_then_what_has_update_is_merged(old: object, new: object, merged: object) -> None:
    """Mappings grow, all else is replaced."""
    pc = ProgramContext(data=old)
    assert pc.update(data=new) is pc
    assert pc["data"] == merged


def test_given_a_context_when_cloned_then_the_clone_is_its_own() -> None:
    """New request time, changes applied, no live task nor progress, nothing shared that can change."""
    data = {"list": [1]}
    pc = ProgramContext(data=data, task=object(), progress=Progress(), time_request=datetime(2000, 1, 1, tzinfo=UTC))
    clone = pc.clone(entrypoint="other", data={"more": 2})
    clone["data"]["list"].append(2)
    assert clone["entrypoint"] == "other"
    assert pc["entrypoint"] == "main"
    assert pc["data"] == {"list": [1]}
    assert clone["time_request"].year > 2000
    assert not {"task", "progress"} & clone.keys()


def test_given_a_running_context_when_pickled_then_only_the_live_things_are_left_behind(
    through_pickle: Callable[[Any], Any],
) -> None:
    """A context goes to other processes."""
    pc = ProgramContext(task=object(), progress=Progress(), params={"a": 1})
    back = through_pickle(pc)
    assert type(back) is ProgramContext
    assert back == {key: value for key, value in pc.items() if key not in ("task", "progress")}


def test_given_folders_when_asked_for_then_paths_lie_in_them(pc: ProgramContext) -> None:
    """The folder, or a path in it, as text."""
    assert pc.get_output_dir() == pc["output_dir"]
    assert pc.get_output_dir("sub/a.glb") == f"{pc['output_dir']}/sub/a.glb"
    assert pc.get_input_dir("a.step") == f"{pc['input_dir']}/a.step"
    assert pc.get_output_dir("sub/../b") == f"{pc['output_dir']}/b"


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "sub/../../a", "link/a", "a\0b", "..", "loop/a"])
def test_given_a_name_that_escapes_when_asked_for_then_it_is_refused(pc: ProgramContext, name: str) -> None:
    """No path leads outside, not even by a link."""
    Path(pc["output_dir"], "link").symlink_to("/tmp")
    Path(pc["output_dir"], "loop").symlink_to("../../loop")
    with pytest.raises(PixyzSecurityViolation):
        pc.get_output_dir(name)


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "b", "", "/"]), max_size=6))
def test_given_any_name_when_allowed_then_it_is_inside(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    """Containment holds for every combination of parts."""
    folder = tmp_path_factory.getbasetemp()
    try:
        path = ProgramContext(output_dir=str(folder)).get_output_dir("/".join(parts))
    except PixyzSecurityViolation:
        return
    assert Path(path).resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("settings", [{}, {"output_dir": None}, {"output_dir": "/nowhere/at/all"}])
def test_given_no_folder_when_asked_for_then_the_error_says_so(settings: dict[str, object]) -> None:
    """A task without folders gets an error of its own."""
    with pytest.raises(PixyzSharedDirectoryNotFound, match="output_dir"):
        ProgramContext(**settings).get_output_dir()


def test_given_compute_only_when_a_folder_is_asked_for_then_there_is_none(pc: ProgramContext) -> None:
    """A compute_only task has no folders, even when the context names some."""
    assert pc.update(compute_only=True).is_compute_only()
    with pytest.raises(PixyzSharedDirectoryNotFound, match="compute_only"):
        pc.get_input_dir()


def test_given_an_input_when_asked_for_then_its_path_is_absolute(
    pc: ProgramContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is relative to where the script runs."""
    (tmp_path / "a.step").touch()
    monkeypatch.chdir(tmp_path)
    assert pc.update(input_file="a.step").get_input_file() == str(tmp_path / "a.step")


def test_given_no_input_when_asked_for_then_it_is_a_value_error(pc: ProgramContext) -> None:
    """The contract's error."""
    with pytest.raises(ValueError, match="no input file"):
        pc.get_input_file()
    with pytest.raises(PixyzFileNotFound, match=r"gone\.step"):
        pc.update(input_file="/nowhere/gone.step").get_input_file()


def test_given_a_local_run_without_output_dir_when_it_asks_then_one_folder_is_made(
    capsys: pytest.CaptureFixture[str], through_pickle: Callable[[Any], Any]
) -> None:
    """Nothing is made for a script that writes nothing; clones share what is made."""
    pc = ProgramContext.from_local("some/script.py")
    clone = pc.clone()
    assert "output_dir" not in pc
    folder = Path(clone.get_output_dir())
    assert folder.is_dir()
    assert pc["output_dir"] == str(folder)
    assert str(folder) in capsys.readouterr().err
    assert through_pickle(pc)["output_dir"] == str(folder)
    folder.rmdir()


def test_given_a_local_run_when_made_then_it_has_what_a_running_context_has(tmp_path: Path) -> None:
    """The keys of a running context, on a workstation too."""
    (tmp_path / "a.step").touch()
    pc = ProgramContext.from_local(__file__, tmp_path / "a.step", tmp_path / "new" / "out")
    assert pc.is_local()
    assert pc["script"] == __file__
    assert pc.get_input_dir() == str(tmp_path)
    assert pc.get_input_file() == str(tmp_path / "a.step")
    assert pc.get_output_dir() == str(tmp_path / "new" / "out")
    assert {"script", "input_dir", "input_file", "progress", "params", "task", "queue", "retry"} <= pc.keys()
    with pytest.raises(PixyzFileNotFound):
        ProgramContext.from_local(__file__, tmp_path / "missing.step")


def test_given_no_scheduler_when_progress_is_made_then_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """By the context or by its progress object, it is the same."""
    pc = ProgramContext.from_local(__file__)
    pc.progress_set_total(2)
    pc.progress_next("one")
    pc["progress"].next("two", output=None)
    pc.progress_stop()
    assert capsys.readouterr().out == "one\ntwo\n"
    assert [step.info for step in pc["progress"].steps] == ["one", "two"]


def test_given_a_context_when_executed_then_its_entrypoint_runs_as_a_task(write_script: Callable[..., Path]) -> None:
    """Settings go to the context of the task, options to the task."""
    script = write_script("""
        def main(pc, params):
            return [pc["data"], pc["queue"], params]
    """)
    pc = ProgramContext.from_local(script)
    handle = pc.execute({"a": 1}, data="given", queue="gpu", raw=True)
    assert handle.get() == ["given", "gpu", {"a": 1}]
    assert pc.AsyncResult(handle.id).get() == handle.get()
    with pc.allow_join_result():
        assert pc.AsyncResult(handle.id).ready()


@pytest.mark.parametrize(
    ("task", "cancelled"),
    [
        (None, False),
        (object(), False),
        (SimpleNamespace(cancelled=lambda: False), False),
        (SimpleNamespace(cancelled=lambda: True), True),
    ],
    ids=["no task", "a task that cannot tell", "one that goes on", "one that is being stopped"],
)
def test_given_a_run_when_it_asks_whether_it_is_being_stopped_then_its_task_knows(task: Any, cancelled: bool) -> None:
    """Where there is none, as on a workstation, nobody stops it but its user."""
    assert ProgramContext(task=task).cancelled() is cancelled
    assert ProgramContext().cancelled() is False
    assert ProgramContext.from_local(__file__).cancelled() is False
    assert ProgramContext(task=task).clone().cancelled() is False
