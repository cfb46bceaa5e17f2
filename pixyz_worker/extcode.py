"""Scripts run by other scripts: loaded as a module, or called in a child process that may crash.

A crash of a script takes its own job and its worker process along, and nothing else. These classes are for scripts that
isolate a part of theirs.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_worker.exception import (
    PixyzException,
    PixyzExceptionUnpickleableExceptionWrapper,
    PixyzExitFault,
    PixyzSignalFault,
    PixyzTimeout,
)
from pixyz_worker.loader import call_entrypoint, load_script, script_folder
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["ExternalPythonCode", "SignalSafeExecution"]

_KILLED_PATIENCE_S = 10.0
_LONGEST_S = 86400.0


class ExternalPythonCode:
    """A script loaded as a module, in `module`.

    Args:
        source: path of the script.
        module_name: what to call it in messages.

    Raises:
        ValueError: there is no such file.
    """

    def __init__(self, source: str | os.PathLike[str], module_name: str = "external") -> None:
        self.check_if_source_exist_or_raise(source)
        self.source = os.fspath(source)
        self.module_name = module_name
        self.module = self.load_module(source)

    @staticmethod
    def check_if_source_exist_or_raise(source: str | os.PathLike[str]) -> None:
        """Raise ValueError when there is no such file."""
        if not Path(source).is_file():
            raise ValueError(f"there is no script {os.fspath(source)}")

    @staticmethod
    def load_module(source: str | os.PathLike[str], module_name: str | None = None) -> Any:
        """Execute a script as a fresh module and return it."""
        return load_script(Path(source))

    def execute(self, program_context: ProgramContext) -> Any:
        """Call the entrypoint that a context names, with its params; what that raises passes through.

        Raises:
            ValueError: the script has no such function.
        """
        entrypoint = program_context.get("entrypoint") or "main"
        function = getattr(self.module, entrypoint, None)
        if not callable(function):
            raise ValueError(f"{Path(self.source).name} has no function {entrypoint!r}")
        params = program_context.get("params")
        with script_folder(Path(self.source)):
            return call_entrypoint(function, program_context, {} if params is None else params)


class SignalSafeExecution:
    """Calls a function in a child process: a crash of it becomes an error of the caller."""

    @staticmethod
    def run(
        func: Callable[..., Any],
        pc: Any,
        kwargs: Mapping[str, Any] | None = None,
        time_limit: float | None = None,
    ) -> Any:
        """Call `func(pc, **kwargs)` in a forked child and return its result; `pc` has the child's changes.

        Steps of progress that the function begins are printed, not reported.

        Args:
            func: any function, also one that cannot be pickled.
            pc: its first argument; a context is updated with what the function has changed in it.
            kwargs: its other arguments.
            time_limit: seconds after which the child is killed; None for no limit.

        Raises:
            PixyzTimeout: it took longer than `time_limit`.
            PixyzSignalFault: a signal killed it.
            PixyzExitFault: it left with an exit code.
            PixyzException: its result cannot be pickled, or this system cannot fork.
            Exception: what the function raised; PixyzExceptionUnpickleableExceptionWrapper if it cannot be pickled.
        """
        if not hasattr(os, "fork"):
            raise PixyzException("SignalSafeExecution needs a system that can fork; call the function itself instead")
        from multiprocessing import get_context

        fork = get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=_call_and_send, args=(sender, func, pc, dict(kwargs or {})))
        child.start()
        sender.close()
        try:
            # The answer is fetched before the child is waited for: a large one fills the pipe.
            answer = _received(receiver, None if time_limit is None or time_limit > _LONGEST_S else time_limit)
            child.join(_KILLED_PATIENCE_S if answer is not None else None)
        except TimeoutError:
            raise PixyzTimeout(f"{_name(func)} was ended after its time limit of {time_limit} s") from None
        finally:
            receiver.close()
            if child.is_alive():
                child.kill()
            child.join()
        return _result(answer, child.exitcode, pc)


def _call_and_send(sender: Connection, func: Callable[..., Any], pc: Any, kwargs: Mapping[str, Any]) -> None:
    """In the child: call the function and send (result, error, context)."""
    if isinstance(pc, ProgramContext):
        # The connection to the platform belongs to threads of the parent; in the child, steps are printed.
        pc["progress"] = Progress()
    try:
        result = func(pc, **kwargs)
        sender.send_bytes(_pickled((result, None, pc if isinstance(pc, ProgramContext) else None)))
    except Exception as error:
        sender.send_bytes(_pickled_error(error))


def _pickled(answer: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception as error:
        problem = PixyzException(f"the result cannot be brought back from the child process: {error}")
        return pickle.dumps((None, problem, None))


def _pickled_error(error: Exception) -> bytes:
    """Return an error as a pickle if it survives that, else its type and message."""
    try:
        data = pickle.dumps((None, error, None))
        pickle.loads(data)  # noqa: S301 - made a line above
        return data
    except Exception:
        return pickle.dumps((None, PixyzExceptionUnpickleableExceptionWrapper(error), None))


def _received(receiver: Connection, time_limit: float | None) -> tuple[Any, ...] | None:
    """Return what the child sends; None when it ends without an answer."""
    if not receiver.poll(time_limit):
        raise TimeoutError
    try:
        data = receiver.recv_bytes()
    except (EOFError, OSError):  # it ended before its answer, or in the middle of it
        return None
    answer: tuple[Any, ...] = pickle.loads(data)  # noqa: S301 - from our own child
    return answer


def _result(answer: tuple[Any, ...] | None, exit_code: int | None, pc: Any) -> Any:
    if answer is None:
        code = exit_code or 0
        raise PixyzSignalFault(-code) if code < 0 else PixyzExitFault(code)
    result, error, context = answer
    if error is not None:
        raise error
    if context is not None:
        pc.update(**context)
    return result


def _name(func: Callable[..., Any]) -> str:
    return str(getattr(func, "__qualname__", func))
