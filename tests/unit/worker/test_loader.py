"""Scripts as files: what is read without running them, and what happens when they are loaded."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker.exception import InvalidScript, PixyzFileNotFound
from pixyz_worker.loader import (
    Schedule,
    call_entrypoint,
    get_entrypoint,
    inspect_source,
    load_script,
    unload_script,
)
from pixyz_worker.schedule import pixyz_schedule

SOURCE = b'''"""What it does."""
from pixyz_worker import script
@script.pixyz_schedule(queue="gpu", time_limit=60, retries=[1, -2])
def main(pc, params): ...
async def other(pc, params): ...
class No:
    def method(self): ...
if True:
    @pixyz_schedule(wait=True, queue=UNKNOWN, timeout=2 * 3)
    def third(pc, params): ...
def plain(pc, params):
    def inner(): ...
raise SystemExit("never executed")
'''


def test_given_a_script_when_inspected_then_it_is_read_and_not_run() -> None:
    """Functions, schedules and documentation, from the syntax tree alone."""
    info = inspect_source(SOURCE, "script.py")
    assert info.entrypoints == ("main", "other", "third", "plain")
    assert info.schedules == {
        "main": Schedule(queue="gpu", time_limit=60, options={"retries": [1, -2]}),
        "third": Schedule(queue="control", wait=True),
    }
    assert info.doc == "What it does."


def test_given_no_docstring_when_inspected_then_that_of_main_stands_in() -> None:
    """A script's documentation is where its author wrote it."""
    assert inspect_source('def main(pc, params):\n    """Here."""', "a.py").doc == "Here."
    assert inspect_source("x = 1", "a.py").doc is None


DEEP = "-" * 100_000 + "1"


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("def main(:\n  pass", 1, 10),
        ("x = 1\ny = = 2\n", 2, 5),
        ("def f():\nreturn", 2, 1),
        (b"# coding: no-such-encoding\nx = 1", 1, 1),
        (b"x = 1\ny = '\xff'", None, None),
        ("x = 1\ny = \0", 2, 5),
        (b"x = 1\ny = \0", 2, 5),
        ("(" * 5000 + ")" * 5000, 1, None),
        (DEEP, 1, None),
        ("x = " + "+".join(["1"] * 200_000), 1, None),
        ("x = " + "[" * 150 + "f()" + "]" * 150 + "\nreturn", None, None),
        ("x" + "()" * 100_000, 1, None),
        ("if x:\n  a\n else:\n", 3, None),
    ],
)
def test_given_a_script_that_does_not_parse_when_inspected_then_the_place_is_named(
    source: str | bytes, line: int | None, column: int | None
) -> None:
    """InvalidScript with line and column from 1, whatever the reason, and the file's name in the message."""
    try:
        inspect_source(source, "folder/script.py")
    except InvalidScript as error:
        assert str(error).startswith(f"script.py, line {error.line}, column {error.column}: ")
        assert line in (None, error.line)
        assert column in (None, error.column)
        assert error.line is not None
        assert error.column is not None
        assert min(error.line, error.column) >= 1
    else:
        assert line is None, "it must not parse"


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80)))
def test_given_any_text_when_inspected_then_it_is_a_script_or_an_invalid_one(source: str | bytes) -> None:
    """No other exception gets out."""
    try:
        inspect_source(source, "a.py")
    except InvalidScript as error:
        assert error.line is not None


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("arguments", ["queue=3", "wait='yes'", "time_limit=-1", "timeout=True", "time_limit=1e999"])
def test_given_a_schedule_that_makes_no_sense_when_read_or_run_then_both_refuse(arguments: str) -> None:
    """The line is named before anything runs; the decorator says the same."""
    with pytest.raises(InvalidScript, match="pixyz_schedule: ") as caught:
        inspect_source(f"\n@pixyz_schedule({arguments})\ndef main(pc, params): ...", "a.py")
    assert (caught.value.line, caught.value.column) == (2, 2)
    with pytest.raises(TypeError):
        eval(f"pixyz_schedule({arguments})")


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
SECONDS = st.none() | st.integers(1, 10**6) | st.floats(0.01, 1e6)


@given(
    named=st.fixed_dictionaries(
        {},
        optional={
            "queue": st.none() | st.sampled_from(["cpu", "gpu", "control", ""]),
            "wait": st.booleans(),
            "timeout": SECONDS,
            "time_limit": SECONDS,
            "retries": LITERALS,
            "label": LITERALS,
        },
    ),
    positional=st.booleans(),
)
def test_given_any_literal_schedule_when_read_and_when_run_then_both_agree(
    named: dict[str, object], positional: bool
) -> None:
    """What the platform reads from the source is what the function carries."""
    named = dict(named)
    given = [repr(named.pop("queue"))] if positional and "queue" in named else []
    call = ", ".join([*given, *(f"{key}={value!r}" for key, value in named.items())])
    source = f"@pixyz_schedule({call})\ndef main(pc, params): ..."
    namespace: dict[str, object] = {"pixyz_schedule": pixyz_schedule}
    exec(source, namespace)  # noqa: S102 - made of literals
    read = inspect_source(source, "a.py").schedules["main"]
    assert read == namespace["main"].schedule  # type: ignore[attr-defined]


def test_given_the_decorator_when_used_in_any_form_then_the_function_stays_itself() -> None:
    """Bare, empty or with arguments, it returns the very function."""

    def function(pc: object, params: object) -> str:
        return "called"

    for decorator in (pixyz_schedule, pixyz_schedule(), pixyz_schedule(queue="gpu")):
        assert decorator(function) is function
    assert function.schedule == Schedule(queue="gpu")  # type: ignore[attr-defined]
    assert function(None, None) == "called"
    assert inspect_source("@pixyz_schedule\ndef main(): ...", "a.py").schedules["main"] == Schedule()


def test_given_a_script_when_loaded_twice_then_each_module_is_fresh(write_script: Callable[..., Path]) -> None:
    """No state stays from one run to the next, and the main guard does not fire."""
    path = write_script("""
        seen = []
        if __name__ == "__main__":
            raise SystemExit("guarded")
    """)
    one, two = load_script(path), load_script(path)
    assert one.__name__ != two.__name__
    assert one.seen is not two.seen
    assert one.__file__ == str(path)
    assert {one.__name__, two.__name__} <= sys.modules.keys()
    for module in (one, two):
        unload_script(module)
    assert not {one.__name__, two.__name__} & sys.modules.keys()


def test_given_dataclasses_in_a_script_when_loaded_then_they_work_and_pickle(write_script: Callable[..., Path]) -> None:
    """The module is known to the import system while it lives."""
    path = write_script(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import ClassVar

        @dataclass
        class Point:
            x: int
            count: ClassVar[int] = 0
        """,
        header="",
    )
    module = load_script(path)
    point = module.Point(3)
    assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301 - our own bytes
    unload_script(module)


def test_given_modules_beside_the_script_when_loaded_then_they_are_found_and_forgotten(tmp_path: Path) -> None:
    """Two scripts in two folders may each have a module of the same name."""
    seen = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "beside_it.py").write_text(f"value = {number}", encoding="utf-8")
        (folder / "script.py").write_text("import beside_it\nvalue = beside_it.value", encoding="utf-8")
        module = load_script(folder / "script.py")
        seen.append(module.value)
        unload_script(module)
    assert seen == [1, 2]
    assert "beside_it" not in sys.modules
    assert not [folder for folder in sys.path if folder.startswith(str(tmp_path))]


def test_given_an_encoding_cookie_when_loaded_then_it_is_honoured(tmp_path: Path) -> None:
    """Scripts are bytes."""
    path = tmp_path / "script.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nvalue = 'é'".encode("latin-1"))
    module = load_script(path)
    assert module.value == "é"
    unload_script(module)


def test_given_a_script_that_raises_when_loaded_then_its_exception_passes(write_script: Callable[..., Path]) -> None:
    """It is the script's own, and nothing of the script stays."""
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load_script(write_script("1 / 0", header=""))
    with pytest.raises(InvalidScript, match=r"script\.py, line 1"):
        load_script(write_script("def", header=""))
    with pytest.raises(PixyzFileNotFound):
        load_script(Path("/nowhere/script.py"))
    assert not [name for name in set(sys.modules) - before if name.startswith("pixyz_script_")]


def test_given_an_unknown_entrypoint_when_asked_for_then_the_error_names_those_there_are(
    write_script: Callable[..., Path],
) -> None:
    """A sentence that says what to write instead."""
    module = load_script(
        write_script("""
        class Thing: ...
        def main(pc, params): return "main"
        async def later(pc, params): return params
    """)
    )
    assert call_entrypoint(get_entrypoint(module, "main"), None, None) == "main"
    assert call_entrypoint(get_entrypoint(module, "later"), None, {"a": 1}) == {"a": 1}
    for name in ("mian", "Thing", "__file__", "main.x"):
        with pytest.raises(InvalidScript, match=r"script\.py has no function .*: main, later$"):
            get_entrypoint(module, name)
    unload_script(module)
