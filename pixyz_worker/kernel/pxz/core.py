"""`pxz.core`: the session, its settings, and properties of things by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixyz_worker.console import say
from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.pxz import properties
from pixyz_worker.kernel.pxz.current import current

__all__ = [
    "PropertyInfo",
    "checkLicense",
    "configureLicenseServer",
    "getModuleProperty",
    "getProperties",
    "getProperty",
    "getVersion",
    "hasProperty",
    "listProperties",
    "load",
    "resetSession",
    "save",
    "setModuleProperty",
    "setProperty",
]

_TEXTURES = ("Material", "ExportTextureFormat")
_WRITTEN_TEXTURES = frozenset({"", "default", "original", "keep"})


@dataclass(frozen=True)
class PropertyInfo:
    """A property of something."""

    name: str
    """What it is called."""
    value: str
    """Its value, as text."""


def resetSession() -> None:
    """Forget all scenes that were imported."""
    session.reset()


def save(fileName: Any) -> None:
    """Write all that was imported as a .pxz; the extension is added when it is missing."""
    from pixyz_worker import io

    target = Path(fileName)
    io.exportScene(target if target.suffix.lower() == ".pxz" else target.with_name(f"{target.name}.pxz"))


def load(fileName: Any) -> Any:
    """Read a .pxz that save() has written, beside what was imported before; returns its root."""
    from pixyz_worker import io

    return io.importScene(fileName)


def getVersion() -> str:
    """The version of this kernel, such as '0.1.0'; it is not one of the SDK's."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pixyz-ray")
    except PackageNotFoundError:
        return "0"


def checkLicense() -> bool:
    """Whether there is a licence: True, none is needed."""
    return True


def configureLicenseServer(address: str, port: int = 27000, flexLM: bool = True) -> None:
    """Nothing: no licence is needed."""


def setModuleProperty(module: str, propertyName: str, propertyValue: Any) -> None:
    """Keep a setting of a module for getModuleProperty.

    None changes what this kernel does. Textures are always written as they are (PNG, JPEG, WebP): when another
    Material.ExportTextureFormat is asked for, a line says so.
    """
    key, value = (str(module), str(propertyName)), str(propertyValue)
    known = current().properties
    if key == _TEXTURES and known.get(key) != value and value.lower() not in _WRITTEN_TEXTURES:
        say(f"{module}.{propertyName} {value!r} is not written without the Pixyz SDK: textures stay as they are.")
    known[key] = value


def getModuleProperty(module: str, propertyName: str) -> str:
    """A setting of a module as setModuleProperty has set it; '' when it has not."""
    return current().properties.get((str(module), str(propertyName)), "")


def listProperties(entity: Any) -> list[PropertyInfo]:
    """The properties of an occurrence, a material or a component."""
    return [PropertyInfo(name, value) for name, value in properties.of(entity).items()]


def hasProperty(entity: Any, propertyName: str) -> bool:
    """Whether something has a property of this name."""
    return propertyName in properties.of(entity)


def getProperty(entity: Any, propertyName: str) -> str:
    """A property by its name, as text; PixyzException says which ones there are."""
    known = properties.of(entity)
    if propertyName not in known:
        raise PixyzException(f"There is no property {propertyName!r} here; there are: {', '.join(known) or 'none'}.")
    return known[propertyName]


def getProperties(entities: Any, propertyName: str, defaultValue: str = "") -> list[str]:
    """A property of each of several things, or the default where it has none."""
    return [properties.of(entity).get(propertyName, defaultValue) for entity in entities]


def setProperty(entity: Any, propertyName: str, propertyValue: Any) -> str:
    """Change the Name or Visible of an occurrence, the Name of a material, or any value of metadata."""
    properties.change(entity, propertyName, str(propertyValue))
    return getProperty(entity, propertyName)
