"""Scripts as files: read what one declares without running it, and load one to run it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from types import CoroutineType, FunctionType, ModuleType
from typing import Any

from pixyz_worker.current import current_task, running_context
from pixyz_worker.exception import InvalidScript, PixyzFileNotFound

MAX_SECONDS = 2**31 - 1
"""Longest time limit and timeout of a schedule: 68 years."""
_ARGUMENTS = ("queue", "wait", "timeout", "time_limit")
_WAITING_QUEUE = "control"
_serial = count(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What `@pixyz_schedule(...)` asks for: where an entrypoint runs and how long it may."""

    queue: str | None = None
    """Queue that the entrypoint runs in; None leaves it to the platform."""

    wait: bool = False
    """The entrypoint returns a handle, and its job lasts until what the handle stands for is done."""

    timeout: float | None = None
    """Seconds that the job may wait for what it returned; None for no limit of its own."""

    time_limit: float | None = None
    """Seconds that one run may take; None for the queue's limit."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that have no field here, as given."""

    @classmethod
    def of(
        cls,
        queue: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
        time_limit: float | None = None,
        **options: Any,
    ) -> Schedule:
        """Make a schedule from the decorator's arguments; TypeError says which one is wrong."""
        if not isinstance(queue, str | None):
            raise TypeError(f"pixyz_schedule: queue must be a name, not {queue!r}")
        if not isinstance(wait, bool):
            raise TypeError(f"pixyz_schedule: wait must be True or False, not {wait!r}")
        for name, seconds in (("timeout", timeout), ("time_limit", time_limit)):
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if seconds is not None and not (number and 0 < seconds <= MAX_SECONDS):
                what = f"a number of seconds above 0 and at most {MAX_SECONDS}"
                raise TypeError(f"pixyz_schedule: {name} must be {what}, not {str(seconds)[:80]}")
        queue = queue or (_WAITING_QUEUE if wait else None)
        return cls(queue=queue, wait=wait, timeout=timeout, time_limit=time_limit, options=options)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptInfo:
    """What a script declares, read from its syntax tree."""

    entrypoints: tuple[str, ...]
    """Names of its top-level functions, in the order of the file."""

    schedules: Mapping[str, Schedule]
    """Schedule of each entrypoint that has one."""

    doc: str | None
    """Docstring of the script, else that of its `main`."""


def inspect_source(source: bytes | str, filename: str) -> ScriptInfo:
    """Read entrypoints, schedules and documentation of a script that is never executed.

    >>> info = inspect_source("@pixyz_schedule(queue='gpu')\\ndef main(pc, params): pass", "a.py")
    >>> info.entrypoints, info.schedules["main"].queue
    (('main',), 'gpu')
    """
    tree = _parsed(source, filename)
    functions = {function.name: function for function in _top_level_functions(tree)}
    schedules = {name: _schedule_of(function) for name, function in functions.items()}
    main = functions.get("main")
    return ScriptInfo(
        entrypoints=tuple(functions),
        schedules={name: schedule for name, schedule in schedules.items() if schedule is not None},
        doc=ast.get_docstring(tree) or (ast.get_docstring(main) if main else None),
    )


def load_script(path: Path, source: bytes | None = None) -> ModuleType:
    """Execute the script at `path` as a fresh module; what the script raises passes through.

    Whoever has read it already gives its `source`. The module stays in `sys.modules` under a name of its own,
    so that pickling works while its functions run, until `unload_script` takes it out.
    """
    file = os.path.abspath(path)  # noqa: PTH100 - in the way of every task, and a Path's takes three times as long
    code = _code(_read(Path(file)) if source is None else source, file)
    module = ModuleType(f"pixyz_script_{next(_serial)}_{path.stem}")
    module.__file__ = file
    sys.modules[module.__name__] = module
    try:
        with script_folder(path):
            exec(code, module.__dict__)  # noqa: S102 - to run the script is what this is for
    except BaseException:
        unload_script(module)
        raise
    return module


def unload_script(module: ModuleType) -> None:
    """Forget a loaded script, so that a long-lived worker does not collect them."""
    sys.modules.pop(module.__name__, None)


@contextmanager
def script_folder(path: Path) -> Iterator[None]:
    """Let a script import what it may: the modules beside it, and those that we make for scripts (see compat.py).

    Those beside it are forgotten afterwards: the next script has others.
    """
    from pixyz_worker import compat

    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - as above
    with compat.script_names(), nullcontext() if folder in sys.path else _importable(folder):
        yield


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    known = len(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        # New ones are the last. Submodules first, since a package's place is what tells where they lie.
        for name in sorted(islice(reversed(sys.modules), max(0, len(sys.modules) - known)), reverse=True):
            if _lies_in(folder, name.partition(".")[0]):
                sys.modules.pop(name)


def get_entrypoint(module: ModuleType, name: str) -> Callable[..., Any]:
    """The function called `name` of a loaded script; InvalidScript says which ones there are."""
    function = vars(module).get(name)
    if callable(function) and not isinstance(function, type):
        return function  # type: ignore[no-any-return]
    functions = [key for key, value in vars(module).items() if isinstance(value, FunctionType)]
    own = [key for key in functions if vars(module)[key].__module__ == module.__name__]
    names = ", ".join(own) or "none"
    script = Path(module.__file__ or module.__name__).name
    raise InvalidScript(f"{script} has no function {name!r} to start with; its functions are: {names}")


def call_entrypoint(function: Callable[..., Any], pc: Any, params: Any) -> Any:
    """Call an entrypoint to its end, an `async def` one too; meanwhile it is the current task."""
    tokens = (current_task, current_task.set(pc and pc.get("task"))), (running_context, running_context.set(pc))
    try:
        value = function(pc, params)
        if not isinstance(value, CoroutineType):
            return value
        import asyncio

        return asyncio.run(value)
    finally:
        for variable, token in tokens:
            variable.reset(token)


def in_own_session(function: Callable[..., Any], *args: Any) -> Any:
    """Load and call a script by `function` in a context of its own, with nothing imported in our kernel.

    Context variables have their values there, and what is set there ends there: of two calls in one process, be one
    made by the other, neither sees the scenes of the other.
    """
    return copy_context().run(_with_empty_session, function, args)


def _with_empty_session(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    # What was never loaded holds nothing, and is not to be loaded for the sake of a script that needs no kernel.
    if (pxz := sys.modules.get("pixyz_worker.kernel.pxz.current")) is not None:
        pxz.release()
    elif (session := sys.modules.get("pixyz_worker.kernel.session")) is not None:
        session.reset()
    return function(*args)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PixyzFileNotFound(f"there is no script {path}") from None


@lru_cache(maxsize=64)
def _code(source: bytes, filename: str) -> Any:
    """The code of a script; a worker runs the same one thousands of times."""
    return _understood(source, filename, 0)


def _parsed(source: bytes | str, filename: str) -> ast.Module:
    tree = _understood(source, filename, ast.PyCF_ONLY_AST)
    assert isinstance(tree, ast.Module)
    return tree


def _understood(source: bytes | str, filename: str, flags: int) -> Any:
    """Compile with all the ways in which a text can fail to be Python told as InvalidScript."""
    _refuse_null(source, filename)
    try:
        return compile(source, filename, "exec", flags=flags, dont_inherit=True)
    except SyntaxError as error:
        line, column = error.lineno or 1, max(1, error.offset or 1)
        raise _invalid(filename, line, column, error.msg) from None
    except (RecursionError, MemoryError, OverflowError):
        raise _invalid(filename, 1, 1, "the code is nested too deeply to be read") from None
    except ValueError as error:
        raise _invalid(filename, 1, 1, str(error)) from None


def _invalid(filename: str, line: int, column: int, message: str) -> InvalidScript:
    where = f"{Path(filename).name}, line {line}, column {column}"
    return InvalidScript(f"{where}: {message}", line=line, column=column)


def _refuse_null(source: bytes | str, filename: str) -> None:
    """Name the place of a null character, which Python refuses without one."""
    text = source if isinstance(source, str) else source.decode("latin-1")
    before, null, _ = text.partition("\0")
    if null:
        column = len(before) - before.rfind("\n")
        raise _invalid(filename, before.count("\n") + 1, column, "there is a null character; is this a text file?")


def _top_level_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of the module, also those under an `if`, `try` or `with` of its top level."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting.extend(reversed([*ast.iter_child_nodes(node)]))


def _schedule_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Schedule | None:
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        target = call.func if call else decorator
        name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
        if name == "pixyz_schedule":
            return _schedule_from(call) if call else Schedule()
    return None


def _schedule_from(call: ast.Call) -> Schedule:
    """Schedule of the decorator's literal arguments; whatever would have to be computed is left out."""
    given: dict[str, Any] = {}
    named = [*zip(_ARGUMENTS, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
    for name, node in named:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if name is not None:
            given[name] = value
        elif isinstance(value, dict):
            given.update(value)
    try:
        return Schedule.of(**given)
    except TypeError as error:
        place = f"line {call.lineno}, column {call.col_offset + 1}"
        message = f"{place}: {error}"
        raise InvalidScript(message, line=call.lineno, column=call.col_offset + 1) from None


def _lies_in(folder: str, name: str) -> bool:
    """Whether the top-level module `name` is Python source right in `folder`."""
    origin = getattr(sys.modules.get(name), "__file__", None)
    return origin is not None and Path(origin) in (
        Path(folder, f"{name}.py"),
        Path(folder, name, "__init__.py"),
    )
