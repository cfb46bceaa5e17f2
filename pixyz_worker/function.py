"""Plain Python functions as tasks, to be composed where there is no script: in a notebook, or in a module.

    @task
    def add(a, b):
        return a + b

    @task(queue="gpu", time_limit=600)
    def scale(value, factor):
        return value * factor

    chain(add.s(1, 2), scale.s(10))().get()     # 30

A function is sent as a script made for it (see generated.py). What comes from the task before is its first
argument; its own arguments follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from pixyz_worker import canvas
from pixyz_worker.canvas import Chunks, Map, Signature
from pixyz_worker.exception import PixyzException
from pixyz_worker.generated import PYTHON, GeneratedScript, name_of, packed, placed, script_for, unpacked
from pixyz_worker.loader import Schedule
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import ResultHandle
from pixyz_worker.signature import FUNCTION_ARGUMENTS as _ARGUMENTS

P = ParamSpec("P")
R = TypeVar("R")

_KEYWORDS = "$keywords"
_PACKED = "$packed"
_MARKS = frozenset({_ARGUMENTS, _KEYWORDS, _PACKED})
_MAX_DEPTH = 50
_MAX_INTEGER_BITS = 1024


class FunctionTask(Generic[P, R]):
    """A function that can be sent as a task; called, it is still the function."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], **schedule: Any) -> None:
        if not callable(function):
            raise TypeError(f"task is for functions, not for {type(function).__name__}")
        try:
            Schedule.of(**schedule)
        except TypeError as error:
            raise TypeError(str(error).replace("pixyz_schedule", "task")) from None
        update_wrapper(self, function)
        self.schedule = schedule
        """Where it runs and how long it may: queue, time_limit, wait, timeout; `.set()` is stronger."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in place, now."""
        return self.__wrapped__(*args, **kwargs)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature to compose; the result of the task before, if there is one, comes before `args`."""
        script = self.script()
        context = ProgramContext(
            script=str(script.path),
            entrypoint=script.entrypoint,
            raw=True,
            compute_only=True,
            data={"args": self._sent(args), "kwargs": self._sent(kwargs)},
            # A function rarely needs a GPU; what its schedule says is read from its script.
            **({} if self.schedule.get("queue") or self.schedule.get("wait") else {"queue": "cpu"}),
        )
        return Signature(pc=context, unfed=arguments_as_params())

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """A signature that takes nothing of the task before it."""
        return replace(self.s(*args, **kwargs), immutable=True)

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultHandle:
        """Start it as a task on the current backend: `.apply_async((1, 2), queue="gpu")`."""
        return self.s(*args, **(kwargs or {})).set(**options).apply_async()

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> ResultHandle:
        """Start it as a task on the current backend."""
        return self.apply_async(args, kwargs)

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> ResultHandle:
        """Run it as a task in this process, now; the handle has the result, or the error that `get()` raises."""
        return self.s(*args, **(kwargs or {})).set(**options).apply()

    def chunks(self, it: Iterable[Any], n: int) -> Chunks:
        """Map it over items, `n` to a task; an item is its first argument, a tuple several."""
        return canvas.chunks(self.s(), it, n)

    def map(self, it: Iterable[Any]) -> Map:
        """Call it for each item, one after another in one task; an item is its first argument."""
        return self.s().map(it)

    def starmap(self, it: Iterable[Sequence[Any]]) -> Map:
        """Do the same for items that are several arguments."""
        return self.s().starmap(it)

    @property
    def name(self) -> str:
        """Name of the function."""
        return name_of(self.__wrapped__)

    def script(self) -> GeneratedScript:
        """The script that runs the function, as it is now."""
        return script_for(self.__wrapped__, self.schedule)

    def params(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What its script takes as params for these arguments: they are JSON."""
        return arguments_as_params(self._sent(tuple(args)), self._sent(dict(kwargs or {})))

    def __repr__(self) -> str:
        return f"<task: {self.name}>"

    def _sent(self, values: Any) -> Any:
        what = f"of the function {self.name!r}"
        if isinstance(values, tuple):
            return [_encoded(value, f"argument {place} {what}") for place, value in enumerate(values, start=1)]
        return {name: _encoded(value, f"argument {name!r} {what}") for name, value in values.items()}


@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...


@overload
def task(
    *, queue: str | None = ..., time_limit: float | None = ..., wait: bool = ..., timeout: float | None = ...
) -> Callable[[Callable[P, R]], FunctionTask[P, R]]: ...


def task(function: Callable[..., Any] | None = None, /, **schedule: Any) -> Any:
    """Make a function a task: `@task`, or `@task(queue="gpu", time_limit=600)`.

    With `wait=True` it may start tasks itself and return their handle: it then lasts until they have ended,
    at most `timeout` seconds, and its result is theirs.
    """
    unknown = schedule.keys() - {"queue", "time_limit", "wait", "timeout"}
    if unknown:
        raise TypeError(f"task: there is no option {sorted(unknown)[0]!r}; it takes queue, time_limit, wait, timeout")
    if function is None:
        return lambda wrapped: as_task(wrapped, **schedule)
    return as_task(function, **schedule)


def as_task(function: Callable[..., Any], **schedule: Any) -> FunctionTask[..., Any]:
    """The function as a task; options given here are stronger than those of a task."""
    if isinstance(function, FunctionTask):
        return FunctionTask(function.__wrapped__, **{**function.schedule, **schedule})
    return FunctionTask(function, **schedule)


def call(payload: str, python: tuple[int, int], pc: ProgramContext, params: Any, shift: int | None = None) -> Any:
    """Run the function of a generated script; nothing else calls this.

    Scripts of older and newer clients call it: its arguments only ever become more.
    """
    name = pc["entrypoint"]
    if python != PYTHON:
        made, here = (".".join(map(str, version)) for version in (python, PYTHON))
        raise PixyzException(
            f"the function {name!r} was made with Python {made}, this worker has {here}: a function goes as byte code, "
            "which differs between the two; use the same minor version, or send a script"
        )
    function = placed(unpacked(payload, f"the function {name!r}"), pc["script"], shift)
    before, kwargs = _given(params, name)
    own = pc.get("data") or {}
    args = [_decoded(value, name) for value in own.get("args", ())]
    keywords = {key: _decoded(value, name) for key, value in own.get("kwargs", {}).items()}
    return function(*before, *args, **keywords, **kwargs)


def arguments_as_params(args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Params that are arguments, told from any value that a task before returns; by default: none at all."""
    return {_ARGUMENTS: list(args), **({_KEYWORDS: dict(kwargs)} if kwargs else {})}


def _given(params: Any, name: str) -> tuple[list[Any], dict[str, Any]]:
    """Arguments that come with the params: those that they list, else they are the first one themselves."""
    if not isinstance(params, dict) or _ARGUMENTS not in params:
        return [params], {}
    kwargs = params.get(_KEYWORDS, {})
    return [_decoded(value, name) for value in params[_ARGUMENTS]], {
        key: _decoded(value, name) for key, value in kwargs.items()
    }


def _encoded(value: Any, what: str) -> Any:
    """A value as JSON: itself if JSON brings it over exactly as it is, else packed."""
    return value if _is_json(value, 0) else {_PACKED: packed(value, what)}


def _decoded(value: Any, name: str) -> Any:
    if isinstance(value, dict) and value.keys() == {_PACKED}:
        return unpacked(value[_PACKED], f"an argument of the function {name!r}")
    return value


def _is_json(value: Any, depth: int) -> bool:
    """Whether JSON brings a value over exactly as it is, types and all."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return bool(value.bit_length() <= _MAX_INTEGER_BITS)
    if kind is float:
        return bool(value - value == 0)
    if kind is str:
        return _is_text(value)
    if depth > _MAX_DEPTH:
        return False
    if kind is list:
        return all(_is_json(item, depth + 1) for item in value)
    if kind is dict and _MARKS.isdisjoint(value):
        return all(type(key) is str and _is_text(key) and _is_json(item, depth + 1) for key, item in value.items())
    return False


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
