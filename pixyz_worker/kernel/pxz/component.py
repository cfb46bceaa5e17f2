"""What occurrences carry beside their parts, as the SDK lists it: components of a kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pixyz_worker.kernel.scene import Occurrence, Value


class ComponentType(IntEnum):
    """Kinds of components, with the SDK's names. Only Part, PMI and Metadata are kept on occurrences here."""

    Part = 0
    PMI = 1
    Light = 2
    VisualBehavior = 3
    InteractionBehavior = 4
    Metadata = 5
    Variant = 6
    Animation = 7
    Joint = 8
    Widget = 9
    OoC = 10
    LOD = 11
    ExternalData = 12


@dataclass(frozen=True)
class Component:
    """Something of one kind that an occurrence carries."""

    kind: ComponentType
    """What it is."""
    occurrence: Occurrence
    """Who carries it."""

    def values(self) -> dict[str, Value]:
        """Its metadata: those of the part, then those of the occurrence."""
        if self.kind is not ComponentType.Metadata:
            return {}
        part = self.occurrence.part
        return {**(part.metadata if part is not None else {}), **self.occurrence.metadata}


def components(top: Occurrence, kind: ComponentType) -> Iterator[Component]:
    """The components of one kind on an occurrence and on all below it."""
    for occurrence in top.walk():
        component = Component(kind, occurrence)
        if (
            (kind is ComponentType.Part and occurrence.part is not None)
            or (kind is ComponentType.PMI and occurrence.annotations)
            or (kind is ComponentType.Metadata and component.values())
        ):
            yield component
