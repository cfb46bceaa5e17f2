"""Names of other packages that existing scripts import, resolved to our own implementation.

`install()` puts one finder in front of the import system; it answers for the names of SHIMS alone. To add a
name, add a line to SHIMS.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from pixyz_worker.kernel import shim


def always() -> bool:
    """Ours also where the genuine package is installed."""
    return True


def without_sdk() -> bool:
    """Ours where the Pixyz SDK is not installed, or switched off by DISABLE_PIXYZ."""
    from pixyz_worker.license import is_on

    return is_on("DISABLE_PIXYZ") or not is_installed("pxz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shim:
    """A module that scripts import by a name that is not ours."""

    factory: Callable[[], ModuleType]
    """Makes the module when it is first imported; a fresh one, it becomes the import system's."""

    when: Callable[[], bool] = always
    """Whether the name is ours, asked when it is imported."""


def _celery() -> ModuleType:
    from pixyz_worker import canvas, result

    module = ModuleType("celery", "The names that scripts use of celery, by pixyz_worker.")
    for name in ("chain", "group", "chord", "chunks"):
        setattr(module, name, getattr(canvas, name))
    for name in ("AsyncResult", "GroupResult", "allow_join_result"):
        setattr(module, name, getattr(result, name))
    return module


@cache
def _pxz_modules() -> dict[str, ModuleType]:
    # One set, so that `from pxz import core` and `import pxz.core` give the same module.
    return shim.modules()


def _pxz(name: str) -> ModuleType:
    return _pxz_modules()[name]


SHIMS: dict[str, Shim] = {
    "celery": Shim(factory=_celery),
    "celery.canvas": Shim(factory=_celery),
    "celery.result": Shim(factory=_celery),
    **{name: Shim(factory=partial(_pxz, name), when=without_sdk) for name in shim.NAMES},
}


def install() -> None:
    """Let scripts import the names of SHIMS; doing it again changes nothing.

    Modules that have been imported already stay what they are.
    """
    if not any(isinstance(finder, ShimFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ShimFinder())


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
        entry = SHIMS.get(fullname)
        if entry is None or not entry.when():
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in SHIMS)
        loader: Any = _ShimLoader(entry)  # importlib.abc.Loader would cost 10 ms, and is a protocol in effect
        return ModuleSpec(fullname, loader, origin="pixyz_worker", is_package=is_package)


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
