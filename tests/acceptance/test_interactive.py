"""Functions and graphs from outside a script, over HTTP."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixyz_ray.client import Client, JobFailed
from pixyz_worker import ProgramContext, chain, chord, group, pixyz_execute, task
from tests.platforms import TestPlatform

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def client(platform: TestPlatform) -> Iterator[Client]:
    """A client of the platform."""
    with Client(platform.url, platform.token) as client:
        yield client


@task
def add(value: Any, other: Any) -> Any:
    """Add two values."""
    return value + other


@task
def scale(value: Any, factor: Any) -> Any:
    """Multiply."""
    return value * factor


@task
def divide(value: float, other: float) -> float:
    """Divide."""
    print(f"dividing by {other}")
    return value / other


@task(wait=True)
def fan(n: int) -> Any:
    """Start a graph from within a task."""
    return chord([add.s(number, 1) for number in range(n)], task(sum).s())()


def place(value: int, *, unit: str) -> dict[str, Any]:
    """Serve as a plain function."""
    return {"value": value, "unit": unit}


def context(path: Path, body: str, input_file: Path | None = None) -> ProgramContext:
    """Context of a script written for a test, with bare results."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"from pathlib import Path\ndef main(pc, params):\n    return {body}\n")
    return ProgramContext.from_local(path, input_file).update(raw=True)


def test_given_a_plain_function_when_submitted_then_its_result_is_the_jobs(client: Client) -> None:
    """It is a job like any: name, queue, entrypoint."""
    job = client.submit(place, 5, kwargs={"unit": "mm"}, config={"queue": "gpu"})
    assert job.result(PATIENCE_S) == {"value": 5, "unit": "mm"}
    assert job.info["name"] == "place"
    assert job.details()["queue"] == "gpu"


@pytest.mark.parametrize("value", [(1, 2), b"bytes", float("inf"), {3: "three"}, {1}], ids=repr)
def test_given_an_argument_that_json_lacks_when_submitted_then_it_arrives_as_it_was(client: Client, value: Any) -> None:
    """Arguments are any picklable values."""
    assert client.submit(repr, value).result(PATIENCE_S) == repr(value)


def test_given_a_graph_of_functions_when_run_then_it_gives_what_it_gives_here(client: Client) -> None:
    """Chain, group, chord, chunks: the same values in this process and there."""
    graphs = [
        add.s(1, 2),
        chain(add.s(1, 2), scale.s(10)),
        group(add.s(n, n) for n in range(3)),
        chain(add.s(1, 1), group(scale.s(2), scale.s(3)), task(sum).s()),
        chord([add.s(1, 2), add.s(3, 4)], task(sum).s()),
        add.chunks([(1, 2), (3, 4), (5, 6)], 2),
        chain(task(print).s("nothing"), task(repr).s()),
    ]
    jobs = [client.run(graph) for graph in graphs]
    assert [job.result(PATIENCE_S) for job in jobs] == [graph.apply_async().get() for graph in graphs]


def test_given_a_function_that_starts_a_graph_when_run_then_its_result_is_that_of_the_graph(client: Client) -> None:
    """The functions that it starts are sent from the worker."""
    assert client.run(chain(fan.s(3), scale.s(2))).result(PATIENCE_S) == 12
    assert client.submit(fan, 4).result(PATIENCE_S) == 10


def test_given_arrays_when_passed_between_functions_then_they_are_arrays_there(client: Client) -> None:
    """Neither an argument nor what goes between tasks need be JSON; the last result is."""
    import numpy as np

    job = client.run(chain(add.s(np.ones(3), 1), scale.s(np.arange(3)), task(np.sum).s(), task(float).s()))
    assert job.result(PATIENCE_S) == 6.0


def test_given_scripts_and_functions_when_run_together_then_the_input_goes_along(
    client: Client, tmp_path: Path
) -> None:
    """Two scripts of one name, a function between them, and one input for both."""
    bolt = tmp_path / "bolt.txt"
    bolt.write_text("12345")
    first = context(tmp_path / "a" / "step.py", "len(Path(pc.get_input_file()).read_text())", bolt)
    last = context(tmp_path / "b" / "step.py", "[params, Path(pc.get_input_file()).name]", bolt)
    job = client.run(chain(pixyz_execute.s({}, first), scale.s(10), pixyz_execute.s(pc=last)), name="mixed")
    assert job.result(PATIENCE_S) == [50, "bolt.txt"]
    assert job.info["name"] == "mixed"


def test_given_a_module_of_the_users_when_a_function_uses_it_then_the_worker_needs_it_not(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class of it passes between tasks."""
    (tmp_path / "gram_shelf.py").write_text(
        "class Part:\n    def __init__(self, grams):\n        self.grams = grams\n\n"
        "def parts(n):\n    return [Part(each) for each in range(n)]\n\n"
        "def weight(parts):\n    return sum(part.grams for part in parts)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shelf = importlib.import_module("gram_shelf")
    job = client.run(chain(task(shelf.parts).s(4), task(shelf.weight).s()))
    sys.modules.pop("gram_shelf")
    assert job.result(PATIENCE_S) == 6


def test_given_a_function_that_fails_when_run_then_the_error_quotes_its_line(client: Client) -> None:
    """Alone, and in a graph, whose error names the task."""
    alone = client.submit(divide, 1, 0)
    with pytest.raises(JobFailed) as failed:
        alone.result(PATIENCE_S)
    assert "return value / other" in str(failed.value.error)
    assert str(failed.value.error).endswith("ZeroDivisionError: division by zero")
    assert "".join(alone.logs()).startswith("dividing by 0")
    graph = client.run(chain(add.s(1, 2), divide.s(0), scale.s(2)))
    with pytest.raises(JobFailed, match=r"because task \S+ \(divide\) failed: ZeroDivisionError: division by zero"):
        graph.result(PATIENCE_S)


def test_given_a_function_of_another_python_when_run_then_the_sentence_says_so(client: Client) -> None:
    """Byte code of another minor version is not executed."""
    here = f"({sys.version_info[0]}, {sys.version_info[1]})"
    source = add.script().path.read_text().replace(here, "(3, 9)")
    job = client.submit(source.encode(), params=add.params((1, 2)), config={"entrypoint": "add"})
    with pytest.raises(JobFailed, match=r"'add' was made with Python 3\.9, this worker has 3\."):
        job.result(PATIENCE_S)


def test_given_a_last_result_that_is_not_json_when_read_then_the_job_says_so(client: Client) -> None:
    """A set can pass between tasks, not over HTTP."""
    with pytest.raises(JobFailed, match="not JSON"):
        client.submit(set, [1, 2]).result(PATIENCE_S)
    assert client.run(chain(task(set).s([1, 2]), task(len).s())).result(PATIENCE_S) == 2
