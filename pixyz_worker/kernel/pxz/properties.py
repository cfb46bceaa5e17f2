"""Properties by name, as core.listProperties gives them: of occurrences, materials and components."""

from __future__ import annotations

from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.pxz.component import Component, ComponentType
from pixyz_worker.kernel.pxz.lengths import matrix_in_mm
from pixyz_worker.kernel.scene import Occurrence, Scene

_NO = frozenset({"false", "0", "no", "off"})


def of(entity: Any) -> dict[str, str]:
    """All properties of something, as text by name; PixyzException when it is nothing of the kernel's."""
    if isinstance(entity, Scene):
        entity = entity.root
    if isinstance(entity, Occurrence):
        matrix = matrix_in_mm(entity.matrix)
        return {"Name": entity.name, "Visible": str(entity.visible), "Transform": str(matrix)}
    if isinstance(entity, Material):
        return _of_material(entity)
    if isinstance(entity, Component):
        return {name: str(value) for name, value in entity.values().items()}
    raise PixyzException(f"Properties have occurrences, materials and components, not {type(entity).__name__}.")


def change(entity: Any, name: str, value: str) -> None:
    """Give a property another value; PixyzException when this one cannot be changed."""
    if isinstance(entity, Scene):
        entity = entity.root
    if isinstance(entity, Occurrence) and name == "Name":
        entity.name = value
    elif isinstance(entity, Occurrence) and name == "Visible":
        entity.visible = value.lower() not in _NO
    elif isinstance(entity, Material) and name == "Name":
        entity.name = value
    elif isinstance(entity, Component) and entity.kind is ComponentType.Metadata:
        entity.occurrence.metadata[name] = value
    else:
        raise PixyzException(f"The property {name!r} of {type(entity).__name__} cannot be changed here.")
    _say_changed(entity)


def _say_changed(entity: Any) -> None:
    from pixyz_worker.kernel import session

    occurrence = entity.occurrence if isinstance(entity, Component) else entity
    owner = occurrence.owner() if isinstance(occurrence, Occurrence) else None
    for scene in [owner] if owner is not None else session.scenes():
        scene.changed()


def _of_material(material: Material) -> dict[str, str]:
    red, green, blue, opacity = (round(level / 255, 4) for level in material.srgb)
    return {
        "Name": material.name,
        "Albedo": str([red, green, blue]),
        "Opacity": str(opacity),
        "Metallic": str(material.metalness),
        "Roughness": str(material.roughness),
    }
