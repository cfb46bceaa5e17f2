"""`pxz.material`: the materials and images that are in use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.material import Image, Material
from pixyz_worker.kernel.pxz import selection
from pixyz_worker.kernel.scene import Part

__all__ = ["getAllImages", "getAllMaterials", "getMaterialName", "getMaterialsFromOccurrence"]


def getAllMaterials() -> list[Material]:
    """The materials of everything that was imported, each once."""
    return _used(part for scene in session.scenes() for part in scene.parts())


def getAllImages() -> list[Image]:
    """The images that the textures of these materials show, each once."""
    return list(dict.fromkeys(texture.image for material in getAllMaterials() for texture in material.textures))


def getMaterialsFromOccurrence(occurrence: Any) -> list[Material]:
    """The materials that the parts of an occurrence use, each once."""
    return _used(shown.part for shown in selection.parts(occurrence) if shown.part is not None)


def getMaterialName(material: Material) -> str:
    """The name of a material."""
    if not isinstance(material, Material):
        raise PixyzException(f"A material is what getAllMaterials gives, not {type(material).__name__}.")
    return material.name


def _used(parts: Iterable[Part]) -> list[Material]:
    """The materials of triangles, and of exact surfaces that have none yet, each once."""
    looks = (part.brep if part.mesh is None else part.mesh for part in parts)
    found = (material for look in looks for material in getattr(look, "materials", ()) if material is not None)
    return list(dict.fromkeys(found))
