"""Functions as tasks: they compose like functions, whatever they use and are given, and go as scripts."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pixyz_worker
from pixyz_worker import chain, chord, chunks, group, pixyz_execute, task
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.generated import is_generated
from pixyz_worker.loader import inspect_source
from pixyz_worker.pc import ProgramContext

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(pixyz_worker.__file__).parents[1]
LOCK = threading.Lock()


@task
def add(value: Any, other: Any) -> Any:
    """Add two values."""
    return value + other


@task
def scale(value: Any, factor: Any = 2) -> Any:
    """Multiply."""
    return value * factor


@task
def shown(*args: Any, **kwargs: Any) -> str:
    """Tell what came."""
    return repr((args, kwargs))


@task
def divide(value: float, other: float) -> float:
    """Divide."""
    print("dividing")
    return value / other


@task
def fibonacci(n: int) -> int:
    """Call itself."""
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@task(wait=True)
def fan(n: int) -> Any:
    """Start tasks itself."""
    return chord([add.s(number, 1) for number in range(n)], task(sum).s())()


def plus_one(value: int) -> int:
    """Serve as a helper that a task calls."""
    return value + 1


@task
async def later(value: int) -> int:
    """Run in a loop of its own."""
    return plus_one(value)


STEPS = st.lists(st.tuples(st.sampled_from([add, scale]), st.integers(-9, 9)), max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(st.integers(-9, 9), STEPS)
def test_given_functions_when_chained_then_they_compose_as_functions_do(start: int, steps: list[Any]) -> None:
    """A chain is the composition of its functions."""
    expected = functools.reduce(lambda value, step: step[0](value, step[1]), steps, start)
    assert chain(add.s(start, 0), *(step.s(other) for step, other in steps))().get() == expected


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(min_size=1), VALUES, max_size=2))
def test_given_any_arguments_when_sent_then_they_arrive_as_they_were(args: list[Any], kwargs: dict[str, Any]) -> None:
    """JSON is no limit for arguments: types, not-a-number and bytes survive."""
    assert shown.delay(*args, **kwargs).get() == repr((tuple(args), kwargs))


@pytest.mark.parametrize(
    "value", [None, {}, [], {"$arguments": 1}, {"$packed": ""}, {"a": {"$keywords": 2}}, (1, 2), {1: 2}, "\ud800"]
)
def test_given_a_value_that_looks_like_ours_when_an_argument_then_it_is_a_value(value: Any) -> None:
    """Marks of the encoding are escaped."""
    assert shown.delay(value).get() == repr(((value,), {}))


@pytest.mark.parametrize("value", [None, {}, [], 0, "", {"args": [1]}])
def test_given_an_empty_result_when_it_feeds_the_next_then_it_is_an_argument(value: Any) -> None:
    """Nothing before a task is one thing, a None before it another."""
    assert chain(scale_to.s(value), shown.s(1))().get() == repr(((value, 1), {}))
    assert shown.s(1)(value) == shown.s(1).delay(value).get() == repr(((value, 1), {}))
    assert chain(scale_to.s(value), shown.si(1))().get() == repr(((1,), {}))
    assert shown.delay().get() == shown.s()() == repr(((), {}))


@task
def scale_to(value: Any) -> Any:
    """Give what came."""
    return value


def test_given_functions_when_composed_in_any_way_then_results_are_as_of_scripts(write_script: Any) -> None:
    """Groups, chords, chunks and scripts go together."""
    assert group(add.s(n, n) for n in range(3))().get() == [0, 2, 4]
    assert chord([add.s(1, 2), add.s(3, 4)], task(sum).s())().get() == 10
    assert (add.s(1, 2) | group(scale.s(10), scale.s(factor=3)))().get() == [30, 9]
    assert add.chunks([(1, 2), (3, 4), (5, 6)], 2)().get() == [[3, 7], [11]]
    assert chunks(scale.s(10), range(3), 2)().get() == chunks(scale, [(0, 10), (1, 10), (2, 10)], 2)().get()
    pc = ProgramContext.from_local(write_script("def main(pc, params): return params + 1")).update(raw=True)
    assert chain(add.s(1, 2), pixyz_execute.s(pc=pc), scale.s(2))().get() == 8
    assert chunks(scale.s(), [(1, 2)], 1)().get() == [[2]]
    assert scale.s(10).map([1, 2])().get() == [10, 20]
    assert scale.map([1, 2]).set(queue="cpu").clone().options == {"queue": "cpu"}
    assert add.starmap([(1, 2), (3, 4)])().get() == add.s().starmap([(1, 2), (3, 4)])().get() == [3, 7]
    assert add.apply((1,), {"other": 2}).get() == 3


def test_given_any_callable_when_made_a_task_then_it_runs() -> None:
    """Recursion, coroutines, lambdas, partials, types, and tasks that start tasks."""
    assert fibonacci.delay(10).get() == 55
    assert later.delay(1).get() == 2
    assert fan.delay(3).get() == 6
    assert task(lambda value: value + 1).delay(1).get() == 2
    assert task(functools.partial(pow, 2)).delay(5).get() == 32
    assert task(int).delay("7").get() == 7
    assert add.apply_async((1,), {"other": 2}, queue="gpu").get() == 3


def test_given_a_helper_that_changes_when_made_a_task_again_then_it_goes_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a notebook a cell is run again; the signatures made before keep what they were made of."""
    before = later.s(1)
    monkeypatch.setattr(sys.modules[__name__], "plus_one", lambda value: value + 100)
    assert later.delay(1).get() == 101
    assert before.delay().get() == 2


def test_given_values_of_any_type_when_passed_between_functions_then_they_stay_what_they_are() -> None:
    """An array is no JSON, and needs not be until the end."""
    import numpy as np

    assert chain(add.s(np.ones(3), 1), scale.s(np.arange(3)), task(np.sum).s(), task(float).s())().get() == 6.0


def test_given_a_task_when_called_then_it_is_the_function() -> None:
    """Name, documentation and a plain call are those of the function."""
    assert add(1, 2) == 3
    assert (add.__name__, add.__doc__, repr(add)) == ("add", "Add two values.", "<task: add>")
    assert task(queue="gpu")(task(time_limit=5)(plus_one)).schedule == {"time_limit": 5, "queue": "gpu"}


def test_given_a_function_when_made_a_script_then_the_platform_can_read_it() -> None:
    """One function is one file, with an entrypoint of its name and its schedule, for this user alone."""
    gpu = task(queue="gpu", time_limit=60)(plus_one)
    script = gpu.script()
    info = inspect_source(script.path.read_bytes(), script.path.name)
    assert (script.entrypoint, info.entrypoints) == ("plus_one", ("plus_one",))
    assert (info.schedules["plus_one"].queue, info.schedules["plus_one"].time_limit) == ("gpu", 60)
    assert info.doc == f"Function 'plus_one' of module {__name__!r}, sent as a task."
    assert gpu.script() == script
    assert is_generated(script.path)
    assert not is_generated(Path(__file__))
    assert task(plus_one).script() != script
    assert task(lambda: 1).script().entrypoint == "main"
    assert script.path.parent.stat().st_mode & 0o777 == 0o700
    assert "return value + 1" in script.path.read_text()


def test_given_a_failing_function_when_run_then_its_own_line_is_in_the_traceback() -> None:
    """The frame is one of the generated script, which quotes the source."""
    handle = divide.delay(1, 0)
    with pytest.raises(ZeroDivisionError):
        handle.get()
    assert f'{divide.script().path}", line' in str(handle.traceback)
    assert "return value / other" in str(handle.traceback)
    assert str(handle.traceback).rstrip().endswith("ZeroDivisionError: division by zero")


def test_given_a_process_when_it_ends_then_its_scripts_are_gone(run_python: Run, tmp_path: Path) -> None:
    """What was made for one process leaves nothing behind; TMPDIR is where it was."""
    code = "from pixyz_worker import task; script = task(print).script(); print(script.path.is_file(), script.path)"
    done = run_python("-c", code, TMPDIR=str(tmp_path))
    assert done.stdout.startswith(f"True {tmp_path}{os.sep}"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_given_the_clients_page_when_its_example_runs_then_it_prints_what_the_page_says(
    run_python: Run, tmp_path: Path
) -> None:
    """A page that is executed stays true."""
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    ((code, printed),) = re.findall(r"```python\n([^`]*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = run_python(tmp_path / "example.py")
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


MODULE = """
import gram_parts
from gram_parts import Part

def weight(n):
    return sum(Part(each).weight for each in range(n)) + gram_parts.OFFSET
"""
HELPER = """
OFFSET = 100

class Part:
    def __init__(self, weight):
        self.weight = weight
"""


def test_given_a_users_modules_when_a_function_uses_them_then_the_worker_needs_none(
    run_python: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not installed goes along, so that the script runs where those modules are not."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "gram_weights.py").write_text(MODULE)
    (source / "gram_parts.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(source))
    import importlib

    function = importlib.import_module("gram_weights").weight
    done = _elsewhere(run_python, tmp_path, task(function), 4)
    monkeypatch.setattr(sys.modules["gram_parts"], "lock", LOCK, raising=False)
    monkeypatch.setattr("builtins.lock", LOCK, raising=False)  # every module has them, and is not to blame
    with pytest.raises(InvalidBackendParameter, match=r"because of 'gram_parts\.lock', which it uses"):
        task(function).s()
    for name in ("gram_weights", "gram_parts"):
        sys.modules.pop(name)
    assert (done.returncode, done.stdout) == (0, "106\n"), done.stderr


def test_given_a_module_that_the_worker_lacks_when_run_then_a_sentence_names_it(
    run_python: Run, tmp_path: Path
) -> None:
    """Installed modules are expected on both sides."""
    code = "import sys; sys.modules['hypothesis'] = None; "
    done = _elsewhere(run_python, tmp_path, task(functools.partial(st.text, 1)), before=code)
    assert "PixyzException: the function 'partial' needs the module 'hypothesis" in done.stderr


def test_given_another_python_when_run_then_a_sentence_says_so(run_python: Run, tmp_path: Path) -> None:
    """Byte code of another minor version is never executed."""
    here = f"({sys.version_info[0]}, {sys.version_info[1]})"
    done = _elsewhere(run_python, tmp_path, add, 1, 2, edit=lambda text: text.replace(here, "(3, 9)"))
    assert "PixyzException: the function 'add' was made with Python 3.9, this worker has " in done.stderr


def _elsewhere(
    run_python: Run,
    tmp_path: Path,
    function: Any,
    *args: Any,
    edit: Callable[[str], str] = str,
    before: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a function's script in another process, in another folder, with arguments as params."""
    script = function.script()
    copy = tmp_path / "elsewhere" / script.path.name
    copy.parent.mkdir()
    copy.write_text(edit(script.path.read_text()))
    pc = f"ProgramContext(script={str(copy)!r}, entrypoint={script.entrypoint!r}, raw=True)"
    code = f"{before}from pixyz_worker import *; print(pixyz_execute({function.params(args)!r}, {pc}))"
    return run_python("-c", code)


def _uses_global() -> None:
    with LOCK:
        pass


def _uses_closure() -> Callable[[], Any]:
    door = threading.Lock()
    return lambda: door


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_uses_global, r"function '_uses_global' cannot be sent .* because of 'LOCK'.*cannot pickle '_thread.lock'"),
        (_uses_closure(), r"function '<lambda>' cannot be sent .* because of 'door'"),
        (functools.partial(print, LOCK), r"function 'partial' cannot be sent .*cannot pickle '_thread.lock'"),
    ],
    ids=["global", "closure", "partial"],
)
def test_given_what_cannot_be_pickled_when_a_function_uses_it_then_the_sentence_names_it(
    function: Callable[[], Any], sentence: str
) -> None:
    """Said when the signature is made, not on a worker."""
    with pytest.raises(InvalidBackendParameter, match=sentence):
        task(function).s()


def test_given_what_cannot_be_pickled_when_an_argument_then_the_sentence_names_its_place() -> None:
    """Arguments by place, and by name."""
    with pytest.raises(InvalidBackendParameter, match="argument 2 of the function 'add' cannot be sent"):
        add.s(1, LOCK)
    with pytest.raises(InvalidBackendParameter, match="argument 'other' of the function 'add' cannot be sent"):
        add.s(1, other=LOCK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"queue": 5}, "task: queue must be a name"),
        ({"time_limit": -1}, "task: time_limit must be a number of seconds"),
        ({"qeue": "gpu"}, "task: there is no option 'qeue'"),
    ],
)
def test_given_wrong_options_when_decorating_then_the_sentence_says_which(
    options: dict[str, Any], sentence: str
) -> None:
    """At once, where it is written."""
    with pytest.raises(TypeError, match=sentence):
        task(**options)(plus_one)
    with pytest.raises(TypeError, match="task is for functions"):
        task(5)  # type: ignore[call-overload]
