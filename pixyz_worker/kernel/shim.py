"""The modules `pxz`, `pxz.io`, `pxz.core`, ... for scripts, where the Pixyz SDK is not installed.

What they offer is in _FUNCTIONS. Any other name of the SDK raises AttributeError with a sentence when it is
used, so that a script may import all of pxz and needs the SDK only for what it really calls.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pixyz_worker.kernel.sdk import PRODUCER

_SUBMODULES = ("algo", "core", "geom", "io", "material", "polygonal", "scene", "view")
NAMES = ("pxz", *(f"pxz.{name}" for name in _SUBMODULES))
"""Full names of the modules that modules() makes."""


def modules() -> dict[str, ModuleType]:
    """A fresh set of modules by full name, for sys.modules; none of them loads a 3D library."""
    made = {f"pxz.{name}": _module(f"pxz.{name}") for name in _SUBMODULES}
    top = _module("pxz")
    top.__path__ = []
    for name in _SUBMODULES:
        setattr(top, name, made[f"pxz.{name}"])
    return {"pxz": top, **made}


def _module(name: str) -> ModuleType:
    module = ModuleType(name, f"{name} on the open kernel of Pixyz on Ray.")
    module.__dict__.update({function.__name__: function for function in _FUNCTIONS.get(name, ())})
    module.__dict__["__producer__"] = PRODUCER

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        raise AttributeError(f"{name}.{attribute} needs the Pixyz SDK, which is not installed here", name=attribute)

    module.__dict__["__getattr__"] = missing
    return module


def importScene(path: Any, root: Any = None) -> Any:
    """Read a file; see pixyz_worker.io.importScene."""
    from pixyz_worker import io

    return io.importScene(path, root)


def importFiles(paths: Any, root: Any = None) -> Any:
    """Read several files; see pixyz_worker.io.importFiles."""
    from pixyz_worker import io

    return io.importFiles(paths, root)


def exportScene(path: Any, root: Any = None) -> None:
    """Write a scene; see pixyz_worker.io.exportScene."""
    from pixyz_worker import io

    io.exportScene(path, root)


def resetSession() -> None:
    """Forget all scenes that were imported."""
    from pixyz_worker.kernel import session

    session.reset()


def save(path: Any) -> None:
    """Write all that was imported as a .pxz; the extension is added when it is missing."""
    from pixyz_worker import io

    target = Path(path)
    io.exportScene(target if target.suffix.lower() == ".pxz" else target.with_name(f"{target.name}.pxz"))


_FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "pxz.io": (importScene, importFiles, exportScene),
    "pxz.core": (resetSession, save),
}
