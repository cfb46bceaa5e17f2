"""A Python function as a script, so that a platform which runs scripts runs functions as they are.

The script holds the function as cloudpickle made it (by value: the byte code, and what it uses of the
user's own modules), the Python that this is good for, and the source as a text that a traceback can quote.
"""

from __future__ import annotations

import atexit
import inspect
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import CodeType, FunctionType, ModuleType
from typing import Any

from pixyz_worker.exception import InvalidBackendParameter, PixyzException

PYTHON = sys.version_info[:2]
"""Python of this process, (major, minor): byte code is good for no other."""

_NOT_THE_USERS = sys.stdlib_module_names | {"__main__", "pixyz_worker", "pixyz_ray", "serve_app", "processes"}
_LEFT_OUT = "__builtins__"
"""What cloudpickle leaves out of a module: its builtins may hold anything, and are not to blame."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LINE = 100
_MAX_NAME = 60

_HEAD = """\
{title!r}

from pixyz_worker.function import call as _pixyz_call
from pixyz_worker.share import pixyz_schedule
"""

_SOURCE = """
# The function as it was written; it runs from the payload below.
_pixyz_source = r{quotes}
{source}{quotes}
"""

_MAIN = '''
_pixyz_payload = """
{payload}
"""


@pixyz_schedule({schedule})
def {entrypoint}(pc, params):
    return _pixyz_call(_pixyz_payload, {python}, pc, params, {shift})
'''


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedScript:
    """A script that runs one function."""

    path: Path
    """Where it is; its name is the function's, and is the same for the same function."""

    entrypoint: str
    """What to call: the function's name, where it can be one."""


def script_for(function: Callable[..., Any], schedule: Mapping[str, Any]) -> GeneratedScript:
    """The script that runs a function, written to this process's own temporary folder.

    Raises:
        InvalidBackendParameter: the function cannot be sent; the sentence says why.
    """
    entrypoint = _entrypoint(function)
    declared = ", ".join(f"{key}={value!r}" for key, value in schedule.items())
    payload = _sent(function)
    digest = sha256(f"{declared}\n{payload}".encode()).hexdigest()[:16]
    path = _folder.place(f"{entrypoint}_{digest}.py", lambda: _text(function, entrypoint, declared, payload))
    return GeneratedScript(path=path, entrypoint=entrypoint)


def is_generated(script: Path) -> bool:
    """Whether a script was made here of a function, so that a platform may take it although nobody sent it."""
    return _folder.holds(script)


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called; that of a class or a partial is the name of its type."""
    return str(getattr(function, "__name__", type(function).__name__))


def packed(value: Any, what: str) -> str:
    """Any value as text; `what` names it in the sentence of an error."""
    try:
        return b64encode(_dumps(value)).decode()
    except Exception as error:
        raise InvalidBackendParameter(f"{what} cannot be sent to a task: {_reason(error)}") from error


def unpacked(text: str, what: str) -> Any:
    """The value of `packed`, or a sentence about what is missing here."""
    import pickle

    try:
        return pickle.loads(b64decode(text))  # noqa: S301 - as much the user's own code as a script is
    except ModuleNotFoundError as error:
        raise PixyzException(
            f"{what} needs the module {error.name!r}, which is not installed where it is to run"
        ) from error
    except Exception as error:
        raise PixyzException(f"{what} cannot be read where it is to run: {_reason(error)}") from error


def placed(function: Any, script: str, shift: int | None) -> Any:
    """A function whose frames stand in `script`, at the lines where that quotes its source."""
    if shift is not None and isinstance(function, FunctionType):
        function.__code__ = _placed(function.__code__, script, shift)
    return function


def _placed(code: CodeType, script: str, shift: int) -> CodeType:
    constants = tuple(_placed(each, script, shift) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=script, co_firstlineno=code.co_firstlineno + shift, co_consts=constants)


def _entrypoint(function: Callable[..., Any]) -> str:
    name = name_of(function)
    good = name.isidentifier() and name.isascii() and len(name) <= _MAX_NAME and not name.startswith("_pixyz")
    try:
        compile(f"def {name}(): pass", "", "exec")
    except SyntaxError:
        good = False
    return name if good else "main"


def _text(function: Callable[..., Any], entrypoint: str, schedule: str, payload: str) -> bytes:
    module = getattr(function, "__module__", None)
    head = _HEAD.format(title=f"Function {name_of(function)!r} of module {module!r}, sent as a task.")
    source, shift = _quoted_source(function, head)
    main = _MAIN.format(
        payload="\n".join(payload[start : start + _LINE] for start in range(0, len(payload), _LINE)),
        schedule=schedule,
        entrypoint=entrypoint,
        python=PYTHON,
        shift=shift,
    )
    return f"{head}{source}{main}".encode("utf-8", "backslashreplace")


def _quoted_source(function: Callable[..., Any], head: str) -> tuple[str, int | None]:
    """The function's source as a literal, and how far it moves its lines; nothing where the source is unknown."""
    try:
        # Of the code itself: a decorator's wrapper is another function than the one it says it is.
        lines, first = inspect.getsourcelines(function.__code__)
    except (AttributeError, OSError, TypeError, SyntaxError):
        return "", None
    source = "".join(lines)
    quotes = next((each for each in ("'''", '"""') if each not in source), None)
    if quotes is None or not source.endswith("\n") or "\0" in source or "\f" in source:
        return "", None
    text = _SOURCE.format(quotes=quotes, source=source)
    above = head + text.partition(source)[0]
    return text, above.count("\n") + 1 - first


def _sent(function: Callable[..., Any]) -> str:
    try:
        return b64encode(_dumps(function)).decode()
    except Exception as error:
        culprits = _culprits(function)
        because = f" because of {', '.join(map(repr, culprits))}, which it uses" if culprits else ""
        advice = "make that inside the function" if culprits else "use only what can be pickled"
        raise InvalidBackendParameter(
            f"the function {name_of(function)!r} cannot be sent as a task{because}: {_reason(error)}; {advice}"
        ) from error


def _culprits(function: Callable[..., Any]) -> list[str]:
    """Names of what a function uses that cannot be pickled."""
    try:
        used = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return []
    names = {**used.globals, **used.nonlocals}
    unsent = {name: value for name, value in names.items() if value is not function and not _can_be_sent(value)}
    # A module of the user's goes whole, so what is to blame may be something in it that nobody thinks of.
    inner = (
        [f"{name}.{key}" for key, part in vars(value).items() if key != _LEFT_OUT and not _can_be_sent(part)] or [name]
        if isinstance(value, ModuleType)
        else [name]
        for name, value in unsent.items()
    )
    return [each for names in inner for each in names]


def _can_be_sent(value: Any) -> bool:
    try:
        _dumps(value)
    except Exception:
        return False
    return True


def _reason(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _dumps(value: Any) -> bytes:
    try:
        import cloudpickle
    except ModuleNotFoundError:
        raise PixyzException("the package cloudpickle is not installed: pip install cloudpickle") from None
    with _users_modules_by_value(cloudpickle):
        data: bytes = cloudpickle.dumps(value, protocol=5)
        return data


_registry = RLock()


@contextmanager
def _users_modules_by_value(cloudpickle: Any) -> Iterator[None]:
    """Pickle what is defined in the user's own modules whole: the other side has only what is installed."""
    with _registry:
        known = cloudpickle.list_registry_pickle_by_value()
        modules = [each for each in _users_modules() if each.__name__ not in known]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


def _users_modules() -> Iterator[ModuleType]:
    """Modules and packages at the top that are neither Python's, nor the platform's, nor installed."""
    for name, module in tuple(sys.modules.items()):
        if "." in name or name in _NOT_THE_USERS or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
        # A module may call itself otherwise than it was imported: such a one is known by neither name.
        if isinstance(file, str) and _is_users_file(file) and module.__name__ == name:
            yield module


@lru_cache(maxsize=4096)
def _is_users_file(file: str) -> bool:
    path = Path(file)
    return path.suffix in {".py", ""} and _INSTALLED.isdisjoint(path.parts)


class _PrivateFolder:
    """A folder of this process alone, made when first used and gone with it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._path: Path | None = None

    def place(self, name: str, content: Callable[[], bytes]) -> Path:
        """Write a file, unless it is there, and return its path."""
        with self._lock:
            path = self._folder() / name
            if not path.exists():
                # Under another name first, so that nobody ever reads the half of it.
                part = path.with_suffix(".part")
                part.write_bytes(content())
                part.replace(path)
            return path

    def holds(self, path: Path) -> bool:
        """Whether a file was placed here."""
        return self._path is not None and path.parent == self._path and path.is_file()

    def _folder(self) -> Path:
        if self._path is None or not _is_own_folder(self._path):
            import tempfile

            self._path = Path(tempfile.mkdtemp(prefix="pixyz_functions_"))
            atexit.register(_removed, self._path, os.getpid())
        return self._path


def _is_own_folder(path: Path) -> bool:
    """Whether the folder is still there, and is not another user's by the same name."""
    try:
        # Windows has no user ids in files; a user's temporary folder is closed to others there.
        return path.is_dir() and (sys.platform == "win32" or path.stat().st_uid == os.getuid())
    except OSError:
        return False


def _removed(path: Path, maker: int) -> None:
    # A forked child leaves its parent's folder alone.
    if os.getpid() == maker:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


_folder = _PrivateFolder()
