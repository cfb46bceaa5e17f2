"""Names of other packages that existing scripts import, resolved to our own implementation.

`install()` puts one finder in front of the import system; it answers for the names of SHIMS alone. To add a
name, add a line to SHIMS. Where the genuine package was imported before, `script_names()` hides it from a script
while that runs, and `take_over()` for good. Elsewhere it stays whole: the finder gives no part of it away.

Before `install()`, in plain Python, `last_resort()` answers for the finder that startup.py registers when the
interpreter starts: for names that nothing else has found, and not for installed libraries, which only want to know
whether there is a celery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import Any

from pixyz_worker.kernel import shim
from pixyz_worker.old_modules import MODULES


def always() -> bool:
    """Ours also where the genuine package is installed."""
    return True


def without_sdk() -> bool:
    """Ours where the Pixyz SDK is not installed, or switched off by DISABLE_PIXYZ."""
    from pixyz_worker.license import is_on

    return is_on("DISABLE_PIXYZ") or not is_installed("pxz")


def _is_missing(name: str) -> bool:
    """Return whether the genuine package is not installed."""
    return not is_installed(name.partition(".")[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Shim:
    """A module that scripts import by a name that is not ours."""

    factory: Callable[[], ModuleType]
    """Makes the module when it is first imported; a fresh one, it becomes the import system's."""

    when: Callable[[], bool] = always
    """Whether the name is ours, asked when it is imported."""

    refusal: Callable[[str], str] | None = None
    """Says why a name below it is not there; None leaves that to the import system."""


def _celery(name: str) -> ModuleType:
    from pixyz_worker import celery_names

    return celery_names.module(name)


def _no_celery(name: str) -> str:
    from pixyz_worker import celery_names

    return celery_names.refusal(name)


@cache
def _pxz_modules() -> dict[str, ModuleType]:
    # One set, so that `from pxz import core` and `import pxz.core` give the same module.
    return shim.modules()


def _pxz(name: str) -> ModuleType:
    return _pxz_modules()[name]


_CELERY = (
    "celery",
    "celery.canvas",
    "celery.exceptions",
    "celery.result",
    "celery.states",
    "celery.utils",
    "celery.utils.log",
)
_BESIDE_CELERY = ("billiard", "billiard.exceptions", "kombu", "kombu.exceptions")
"""Libraries that come with Celery, whose errors scripts catch."""

SHIMS: dict[str, Shim] = {
    **{name: Shim(factory=partial(_celery, name), refusal=_no_celery) for name in _CELERY},
    **{
        name: Shim(factory=partial(_celery, name), refusal=_no_celery, when=partial(_is_missing, name))
        for name in _BESIDE_CELERY
    },
    **{name: Shim(factory=partial(_pxz, name), when=without_sdk) for name in shim.NAMES},
}
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def install() -> None:
    """Let scripts import the names of SHIMS; doing it again changes nothing.

    Modules that have been imported already stay what they are.
    """
    if not any(isinstance(finder, ShimFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ShimFinder())


@contextmanager
def script_names() -> Iterator[None]:
    """Let scripts inside import the names of SHIMS, also where a genuine celery is in use; put that back afterwards."""
    install()
    hidden = take_over()
    try:
        yield
    finally:
        if hidden:
            for name in _celery_modules():
                del sys.modules[name]
            sys.modules.update(hidden)
        else:
            # The next script gets fresh ones, whatever this one has written into them.
            for name in SHIMS:
                if name in sys.modules and not name.startswith("pxz") and is_ours(sys.modules[name]):
                    del sys.modules[name]


def take_over() -> dict[str, ModuleType]:
    """Forget a genuine celery that has been imported, so that the next import gives ours; returns its modules.

    Who holds one of them keeps it.
    """
    if "celery" not in sys.modules or is_ours(sys.modules["celery"]):
        return {}
    return {name: sys.modules.pop(name) for name in _celery_modules()}


def last_resort(fullname: str) -> ModuleSpec | None:
    """Return the spec of a name that no other finder has; None for installed libraries and names that are not ours."""
    return None if _importer_is_installed() else ShimFinder().find_spec(fullname, None)


def importer() -> str:
    """Name of the module whose import statement is being executed, ours and the import system left out."""
    return str(_importing_frame().f_globals.get("__name__"))


def _importer_is_installed() -> bool:
    """Return whether an installed library imports it, perhaps only to see whether there is a celery."""
    file = str(_importing_frame().f_code.co_filename)
    return not _INSTALLED.isdisjoint(file.replace("\\", "/").split("/"))


def _importing_frame() -> FrameType:
    frame = sys._getframe()
    while frame.f_back is not None and _is_of_import_system(frame):
        frame = frame.f_back
    return frame


def _is_of_import_system(frame: FrameType) -> bool:
    if str(frame.f_globals.get("__name__")).partition(".")[0] in ("importlib", "pixyz_worker"):
        return True
    code = frame.f_code
    # The second condition is for the finder of pixyz_startup.pth, whose code has neither file nor module.
    return code.co_filename.startswith("<frozen importlib") or (code.co_filename, code.co_name) == (
        "<string>",
        "find_spec",
    )


def is_ours(module: ModuleType | None) -> bool:
    """Whether a module was made by a shim."""
    return isinstance(getattr(module, "__loader__", None), _ShimLoader)


def _celery_modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "celery"]


def is_installed(name: str) -> bool:
    """Whether a genuine package of this name can be imported; a folder without code is none."""
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.origin is not None


class ShimFinder:
    """Finds the names of SHIMS, as a finder of sys.meta_path does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a name that is ours here, or None."""
        package, _, below = fullname.partition(".")
        if package == "pixyz_worker":
            if (instead := MODULES.get(below)) is not None:
                # Named after the package, for the same reason as below.
                raise ModuleNotFoundError(f"there is no {fullname} here: {instead}", name=package)
            return None
        if below and not is_ours(sys.modules.get(package)):
            return None  # a package is ours as a whole, or not at all
        entry = SHIMS.get(fullname)
        if entry is None:
            self._refuse(fullname)
        if entry is None or not entry.when():
            return None
        loader: Any = _ShimLoader(entry)  # importlib.abc.Loader would cost 10 ms, and is a protocol in effect
        # All are packages, since only of these `from package import name` asks the finder for a name that is not there.
        return ModuleSpec(fullname, loader, origin="pixyz_worker", is_package=True)

    def _refuse(self, fullname: str) -> None:
        parent = fullname.rpartition(".")[0]
        above = SHIMS.get(parent)
        if above is not None and above.refusal is not None:
            # Named after the parent: an error with the name itself is not shown by `from package import name`.
            raise ModuleNotFoundError(above.refusal(fullname), name=parent)


class _ShimLoader:
    """Hands the import system the module of a shim."""

    def __init__(self, entry: Shim) -> None:
        self._entry = entry

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that the import is to give."""
        module = self._entry.factory()
        module.__name__ = spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: the module was made whole."""
