"""`pxz.material`: the materials and images that are in use."""

from __future__ import annotations

from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.material import Image, Material
from pixyz_worker.kernel.pxz import selection

__all__ = ["getAllImages", "getAllMaterials", "getMaterialName", "getMaterialsFromOccurrence"]


def getAllMaterials() -> list[Material]:
    """The materials of everything that was imported, each once."""
    found = {material: None for scene in session.scenes() for material in scene.materials()}
    return list(found)


def getAllImages() -> list[Image]:
    """The images that the textures of these materials show, each once."""
    return list(dict.fromkeys(texture.image for material in getAllMaterials() for texture in material.textures))


def getMaterialsFromOccurrence(occurrence: Any) -> list[Material]:
    """The materials that the parts of an occurrence use, each once."""
    meshes = [part.part.mesh for part in selection.parts(occurrence) if part.part is not None]
    used = [material for mesh in meshes if mesh is not None for material in mesh.materials if material is not None]
    return list(dict.fromkeys(used))


def getMaterialName(material: Material) -> str:
    """The name of a material."""
    if not isinstance(material, Material):
        raise PixyzException(f"A material is what getAllMaterials gives, not {type(material).__name__}.")
    return material.name
