"""Scripts as Celery's users write them give the same values on the platform as in this process."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker.local import LocalPixyzTask
from tests.acceptance import old_script
from tests.rest_client import RestClient
from tests.waiting import wait_until

SCRIPT = Path(old_script.__file__)
FILE = ("in.txt", b"the job's input")
Run = Callable[..., Any]


@pytest.fixture(params=["here", "platform"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return what runs an entrypoint of the script: in this process, or on the platform."""

    def here(entrypoint: str, params: Any = None, file: tuple[str, bytes] | None = None, **context: Any) -> Any:
        given = tmp_path / "given"
        given.mkdir()
        if file is not None:
            (given / file[0]).write_bytes(file[1])
        from pixyz_worker.pc import ProgramContext

        pc = ProgramContext.from_local(SCRIPT, given / file[0] if file else None, tmp_path / "out")
        result = LocalPixyzTask(entrypoint, pc.update(**context), {} if params is None else params).get()
        return json.loads(json.dumps(result))

    def platform(entrypoint: str, params: Any = None, file: tuple[str, bytes] | None = None, **config: Any) -> Any:
        rest: RestClient = request.getfixturevalue("rest")
        source = SCRIPT.read_text(encoding="utf-8")
        details = rest.run(source, params=params, file=file, config={"entrypoint": entrypoint, **config}, deadline_s=90)
        assert details["status"] == "SUCCESS", details["error"]
        return details["result"]

    return here if request.param == "here" else platform


def test_params_merge(run: Run) -> None:
    """Given params of the job, when tasks are started in any way, then theirs come on top."""
    found = run("merging", {"quality": 3})
    seen = ["own", "quality", "where"]
    assert found == {
        "own": seen,
        "none": ["quality", "where"],
        "empty": ["quality", "where"],
        "list": [1, 2],
        "scalar": 5,
        "null": None,
        "over": 4,
        "cloned": 9,
        "chain": ["a", "quality", "where"],
        "group": [["n", "quality", "where"]] * 2,
        "chord": [["quality", "where"]],
        "chunks": [[["n", "quality", "where"]] * 2],
        "map": [["n", "quality", "where"], ["m", "quality", "where"]],
        "starmap": [["n", "quality", "where"]],
        "in place": seen,
        "execute": seen,
        "subtask": seen,
        "plain dict": seen,
        "deep": {"b": 1},
    }


def test_own_keys_reach_tasks(run: Run) -> None:
    """Given keys of the script's own in a context, and odd values in params, then tasks get them, JSON or not."""
    found = run("own_keys")
    assert found["task"] == {
        "mine": ["str", "'hello'"],
        "number": ["int", "3"],
        "nothing": ["NoneType", "None"],
        "table": ["dict", "{'a': [1, 2]}"],
        "no": ["bool", "False"],
        "when": ["datetime", "datetime.datetime(2026, 1, 2, 3, 0)"],
        "raw_bytes": ["bytes", "b'\\x00\\xff'"],
        "chosen": ["set", "{1}"],
        "pair": ["list", "[1, 2]"],
    }
    assert found["chain"] == ["str", "'other'"]
    assert found["chunks"] == found["task"]["when"]
    assert {name: kind for name, (kind, _) in found["params"].items()} == {
        name: kind for name, (kind, _) in found["task"].items()
    }
    assert found["not raw"] == ["datetime", "2026-01-02 03:00:00"]


def test_data_is_the_input(run: Run) -> None:
    """Given `data` in a context, then it is the task's input, and the job's is not used instead."""
    found = run("inputs", file=FILE)
    beside = ["part0.txt", "part1.txt", "part2.txt"]
    assert found == {
        "group": ["0", "1", "2"],
        "beside": ["1", beside, True],
        "relative": "2",
        "path": "1",
        "by key": "1",
        "input_file": "1",
        "compute_only": "part1.txt",
        "chain": "1",
        "of the job": "in.txt",
        "missing": "PixyzFileNotFound",
        "own value": "ValueError",
        "none": "ValueError",
        "job": ["in.txt", "in.txt"],
    }


def test_no_input(run: Run) -> None:
    """Given no input, then `data` is None, and tasks have the inputs that their contexts name."""
    found = run("inputs")
    assert (found["job"], found["of the job"]) == ([None, None], "ValueError")
    assert found["group"] == ["0", "1", "2"]


MEMBERS = {"a.step": b"root", "b.step": b"other", "notes.txt": b"hello"}


def packed(name: str) -> bytes:
    """The members in an archive of the kind that the name says."""
    data = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(data, "w") as archive:
            for member, content in MEMBERS.items():
                archive.writestr(member, content)
        return data.getvalue()
    with tarfile.open(fileobj=data, mode="w" if name.endswith(".tar") else "w:gz") as archive:
        for member, content in MEMBERS.items():
            about = tarfile.TarInfo(member)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return data.getvalue()


@pytest.mark.parametrize("name", ["in.zip", "in.tar", "in.tar.gz", "IN.TGZ"])
def test_archive_is_unpacked(run: Run, name: str) -> None:
    """Given an archive as the input, when the script begins, then its members are there, for its tasks too."""
    found = run("archive", {"other": "b.step"}, (name, packed(name)), root_file="a.step")
    members = sorted(MEMBERS)
    assert found == {
        "members": members,
        "root": "a.step",
        "data": name,
        "here": ["root", members, True],
        "task": ["root", members, True],
        "other root": "other",
        "compute_only": "a.step",
    }


def test_archive_opened_in_place(run: Run) -> None:
    """Given an archive, when a task runs in place, then it finds the members as the script itself does."""
    members = sorted(MEMBERS)
    assert run("in_place", None, ("in.zip", packed("in.zip")), root_file="a.step") == ["root", members, True]


def test_archive_of_a_second_attempt(rest: RestClient) -> None:
    """Given a first attempt that has lost a member, when the script is run again, then the archive is whole again."""
    source, file = SCRIPT.read_text(encoding="utf-8"), ("in.zip", packed("in.zip"))
    details = rest.run(source, file=file, config={"entrypoint": "twice", "root_file": "a.step"}, deadline_s=60)
    assert (details["status"], details["retry"]) == ("SUCCESS", 1), details["error"]
    assert details["result"] == ["root", sorted(MEMBERS), True]


def test_queue_of_a_task(run: Run) -> None:
    """Given a queue in the signature, the context or neither, then the stronger one is taken, else gpu."""
    assert run("queues") == {
        "default": "gpu",
        "statement": "zip",
        "context": "control",
        "signature": "zip",
        "grandchild": "gpu",
    }


def test_countdown_and_eta(run: Run) -> None:
    """Given a task that is to start later, then it does, alone and as a step of a chain."""
    assert run("later") == [True, True, True]


def test_expires(run: Run) -> None:
    """Given a task that expires before it has begun, then it is revoked, and so is what depends on it."""
    assert run("expiring") == [True, "REVOKED", "REVOKED", "REVOKED", 1]


def test_callbacks(run: Run) -> None:
    """Given link and link_error, then the one gets the result, the other the id of the task that has failed."""
    found = run("callbacks")
    assert found["results"] == ["7", "ValueError('bad part')", "1", "ValueError('bad part')", "[0, 1]"]
    assert found["got"] == {
        "well": ["7"],
        "badly": True,
        "chain": ["1"],
        "fixed": ["'as it was'"],
        "many": ["[0, 1]", "[0, 1]"],
        "idle": None,
    }
    assert found["ends"] == ["FAILURE", *["REVOKED"], *["SUCCESS"] * 6]


def test_error_callbacks_of_compositions(run: Run) -> None:
    """Given an error callback of a composition, then it runs once for each failure, not for tasks that were not run."""
    assert run("alarms") == {"chain": 1, "not run": 0, "chord": 1, "option": 1, "callbacks": 0}


def test_revoked_and_unknown(run: Run) -> None:
    """Given a revoked task, then get raises TaskRevokedError; an unknown id has no children and nothing to revoke."""
    assert run("revoked") == {"unknown": ["PENDING", []], "caught": "TaskRevokedError"}


def test_countdown_of_a_group(run: Run) -> None:
    """Given a countdown for a group, then its members wait together, not one after another."""
    assert run("side_by_side") is True


def test_own_keys_with_names_of_arguments(run: Run) -> None:
    """Given own keys such as self, then they reach the task, from the context and from the job's config."""
    assert run("odd_keys") == {"self": ["int", "1"], "cls": ["int", "2"], "args": ["int", "3"]}


def test_retry(run: Run) -> None:
    """Given a script that asks for a retry, then it is run again, as often as it may."""
    found = run("retries")
    assert found == {"flaky": 2, "record": 2, "hopeless": True, "own": "ValueError('still bad')"}


def test_handles(run: Run) -> None:
    """Given a handle, then it answers as Celery's does."""
    found = run("handles")
    assert found == {
        "values": [{"a": 1}, [1, 2]],
        "seen": [[True, {"a": 1}], [True, 1], [True, 2]],
        "info": {"a": 1},
        "naive": True,
        "set": [2, [{"a": 1}, 1], [{"a": 1}, 1], False, True, True],
        "native": ["SUCCESS", "SUCCESS"],
        "iterated": [1, 2],
        "children": ["list", 1, True],
        "collected": [1, 1],
        "failed": [True, False, False, 1],
        "applied": 3,
        "bad": ["FAILURE", "ValueError('bad part')"],
    }


def test_signatures(run: Run) -> None:
    """Given a signature, then it reads as Celery's does; groups in groups are one."""
    found = run("signatures")
    assert found == {
        "read": ["pixyz_execute", "pixyz_execute", True, {}, {}, 5],
        "by name": [[], True],
        "clone": [{}, {"queue": "zip"}, True],
        "frozen": [True, True],
        "nested": [1, 2, 1],
        "in a chain": [[1, 1], 1],
        "facts": [True, 0, "pixyz_execute", 0],
        "immutable": 9,
        "immutable group": [8],
    }


def test_options_are_refused_by_name(run: Run) -> None:
    """Given an option that cannot be done, then it is refused at once, and the message names it."""
    said = run("refusals")
    names = [name for options in old_script.REFUSED for name in options for _ in range(2)]
    assert len(said) == len(names) + 1
    for name, message in zip(names, said, strict=False):
        assert message.startswith("InvalidBackendParameter: ")
        assert name in message
    assert any("did you mean 'queue'?" in message for message in said)
    assert "chord" in said[-1]


def test_job_waits_for_a_graph_with_callbacks(run: Run) -> None:
    """Given a graph with a callback, when its handle is returned, then the job's result is the graph's."""
    assert run("awaited") == 1


def test_children_of_a_job_with_a_long_chain(run: Run) -> None:
    """Given a chain of 121 tasks, when the job's children are asked for, then its end is among them."""
    assert run("long_chain") == [True, 1, 1]


def test_shown_state(rest: RestClient, tmp_path: Path) -> None:
    """Given update_state, when the handle of the running task is asked, then it gives the state and the meta.

    The REST API keeps to the words of its contract.
    """
    source = SCRIPT.read_text(encoding="utf-8")
    files = {"shown": str(tmp_path / "shown"), "seen": str(tmp_path / "seen")}
    uuid = rest.submit(source, params=files, config={"entrypoint": "showing"})
    wait_until(lambda: (tmp_path / "shown").exists(), "the state to be shown")
    asking = """
from pixyz_worker.script import *
def main(pc, params):
    handle = pc.AsyncResult(params["id"], None, foo=1)
    return [handle.state, handle.info, handle.ready(), handle.result, handle.date_done]
"""
    try:
        asked = rest.run(asking, params={"id": uuid}, deadline_s=60)
        assert asked["result"] == ["CONVERTING", {"done": 3}, False, None, None]
        assert rest.state(uuid)["status"] == "RUNNING"
    finally:
        (tmp_path / "seen").touch()
    assert rest.end(uuid)["result"] == "done"
