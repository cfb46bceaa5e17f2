"""The modules `pxz`, `pxz.io`, `pxz.core`, ... for scripts, where the Pixyz SDK is not installed.

What each offers is the `__all__` of the module of that name in pixyz_worker.kernel.pxz, which is loaded when one of
its names is first used. Any other name of the SDK raises AttributeError with a sentence when it is used, so that a
script may import all of pxz and needs the SDK only for what it really calls.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from pixyz_worker.kernel.sdk import PRODUCER

_SUBMODULES = ("algo", "core", "geom", "io", "material", "polygonal", "scene", "view")
_ROOM = "pixyz_worker.kernel.pxz"
NAMES = ("pxz", *(f"pxz.{name}" for name in _SUBMODULES))
"""Full names of the modules that modules() makes."""


def modules() -> dict[str, ModuleType]:
    """A fresh set of modules by full name, for sys.modules; none of them loads a 3D library."""
    made = {f"pxz.{name}": _module(f"pxz.{name}", f"{_ROOM}.{name}") for name in _SUBMODULES}
    top = _module("pxz", f"{_ROOM}.current")
    top.__path__ = []
    for name in _SUBMODULES:
        setattr(top, name, made[f"pxz.{name}"])
    return {"pxz": top, **made}


def _module(name: str, room: str) -> ModuleType:
    module = ModuleType(name, f"{name} on the open kernel of Pixyz on Ray; see docs/kernel.md.")

    def offered() -> list[str]:
        own = list(importlib.import_module(room).__all__)
        return own + list(_SUBMODULES) if name == "pxz" else own

    def found(attribute: str) -> Any:
        if attribute == "__all__":
            return offered()
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        if attribute not in offered():
            raise AttributeError(f"{name}.{attribute} needs the Pixyz SDK, which is not installed here", name=attribute)
        value = module.__dict__[attribute] = getattr(importlib.import_module(room), attribute)
        return value

    module.__dict__.update(__producer__=PRODUCER, __getattr__=found, __dir__=offered)
    return module
