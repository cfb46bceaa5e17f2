"""3MF reader on lib3mf: build items and components as a tree, base materials, colours and textures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lib3mf
import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import zip_sizes
from pixyz_worker.kernel.formats.shared.kept_locale import kept_locale
from pixyz_worker.kernel.formats.shared.roots import check_unfolding, root_of
from pixyz_worker.kernel.formats.threemf import arrays as lib3mf_arrays
from pixyz_worker.kernel.formats.threemf import components as threemf_components
from pixyz_worker.kernel.formats.threemf.properties import Properties
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_UNITS = {
    lib3mf.ModelUnit.MicroMeter: 1e-6,
    lib3mf.ModelUnit.MilliMeter: 1e-3,
    lib3mf.ModelUnit.CentiMeter: 1e-2,
    lib3mf.ModelUnit.Inch: 0.0254,
    lib3mf.ModelUnit.Foot: 0.3048,
    lib3mf.ModelUnit.Meter: 1.0,
}


@kept_locale()
def read(path: Path, options: ReadOptions) -> Scene:
    """Read a 3MF package, with what its production extension keeps in other files of it.

    Raises ValueError when the package is damaged or a zip bomb, and when nothing that is built has triangles.
    """
    zip_sizes.check(path)
    threemf_components.check(path)
    try:
        model = lib3mf_arrays.library().CreateModel()
        model.QueryReader("3mf").ReadFromFile(str(path))
        return _Package(model).scene(path.stem)
    except lib3mf.ELib3MFException as error:
        raise ValueError(f"it is damaged: {error.error_message or error.error_description}") from error


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Component:
    """A reference to an object."""

    key: int
    """Number of the object in lib3mf."""
    matrix: NDArray[numpy.float64] | None
    """Place in metres; None for the identity."""
    above: Occurrence | None = None
    """The occurrence that it goes below."""
    name: str = ""
    """What it is called if its object has no name."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Object:
    """An object of the package."""

    name: str
    mesh: Any = None
    """Its triangles in lib3mf; None for one that consists of others."""
    components: list[_Component] = field(default_factory=list)


class _Package:
    """What is shared while one package is taken apart."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.unit_m = _UNITS[model.GetUnit()]
        self.objects = {each.GetUniqueResourceID(): self.object(each) for each in _each(model.GetObjects(), "Object")}
        self.parts: dict[int, Part | None] = {}
        self.properties = Properties(model)

    def object(self, found: Any) -> _Object:
        """What an object is made of."""
        made = _Object(name=found.GetName())
        if found.IsMeshObject():
            made.mesh = self.model.GetMeshObjectByID(found.GetUniqueResourceID())
        elif found.IsComponentsObject():
            whole = self.model.GetComponentsObjectByID(found.GetUniqueResourceID())
            for number in range(whole.GetComponentCount()):
                component = whole.GetComponent(number)
                matrix = self.matrix(component.GetTransform()) if component.HasTransform() else None
                made.components.append(_Component(key=component.GetObjectResourceID(), matrix=matrix))
        return made

    def matrix(self, transform: Any) -> NDArray[numpy.float64] | None:
        """A transformation of lib3mf, which is one for row vectors, in metres; None for the identity."""
        rows = numpy.array([list(row) for row in transform.Fields], dtype=numpy.float64)
        matrix = numpy.eye(4)
        matrix[:3] = rows.T
        matrix[:3, 3] *= self.unit_m
        if not numpy.isfinite(matrix).all():
            raise ValueError("a transformation is not made of numbers")
        return None if numpy.array_equal(matrix, numpy.eye(4)) else matrix

    def scene(self, name: str) -> Scene:
        """The whole scene."""
        tops: list[Occurrence] = []
        pending = list(self.items())[::-1]
        check_unfolding([item.key for item in pending], lambda key: [each.key for each in self.objects[key].components])
        while pending:
            item = pending.pop()
            made, below = self.occurrence(item)
            (tops.append if item.above is None else item.above.add)(made)
            pending.extend(
                _Component(key=each.key, matrix=each.matrix, above=made, name=f"{made.name} {number}")
                for number, each in reversed(list(enumerate(below, start=1)))
            )
        if not any(self.parts.values()):
            raise ValueError("there is no mesh in it that is built")
        return Scene(name=name, root=root_of(tops, name), unit_m=self.unit_m, up="z")

    def items(self) -> Iterator[_Component]:
        """What is built."""
        for number, item in enumerate(_each(self.model.GetBuildItems(), ""), start=1):
            matrix = self.matrix(item.GetObjectTransform()) if item.HasObjectTransform() else None
            name = item.GetPartNumber() or f"object {number}"
            yield _Component(key=item.GetObjectResourceID(), matrix=matrix, name=name)

    def occurrence(self, item: _Component) -> tuple[Occurrence, list[_Component]]:
        """An object in one place, and what it consists of."""
        found = self.objects[item.key]
        made = Occurrence(name=found.name or item.name, matrix=item.matrix)
        if found.mesh is not None:
            made.part = self.part(item.key, made.name)
            return made, []
        if len(found.components) == 1 and found.components[0].matrix is None:
            only = found.components[0].key
            if self.objects[only].mesh is not None:  # an object that gives one instance of a mesh a name of its own
                made.part = self.part(only, made.name)
                return made, []
        return made, found.components

    def part(self, key: int, name: str) -> Part | None:
        """A mesh object as a part, None without triangles."""
        if key not in self.parts:
            found = self.objects[key]
            count, most = found.mesh.GetTriangleCount(), Limits.from_environment().max_triangles
            if most and count > most:
                raise ValueError(f"it has {count} triangles, more than the {most} that are allowed (MAX_TRIANGLES)")
            mesh = self.properties.mesh(found.mesh, self.unit_m) if count else None
            self.parts[key] = None if mesh is None else Part(name=found.name or name, mesh=mesh)
        return self.parts[key]


def _each(iterator: Any, kind: str) -> Iterator[Any]:
    """What an iterator of lib3mf goes over."""
    current = getattr(iterator, f"GetCurrent{kind}")
    while iterator.MoveNext():
        yield current()
