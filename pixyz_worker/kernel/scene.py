"""The scene that scripts hold between importScene and exportScene: a tree of named occurrences of parts.

    Scene
      root: Occurrence            name, matrix, visible, metadata, annotations
        part: Part                shared by all its instances
          mesh: Mesh              arrays, with materials
          brep: Brep              exact surfaces, where the format has them and OpenCASCADE is installed
        children: Occurrence...

Lengths are metres, always. Axes are those of the file; `Scene.up` says which one points up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pixyz_worker.kernel.material import Material
    from pixyz_worker.kernel.mesh import Mesh

Axis = Literal["x", "y", "z"]
Value = str | int | float | bool


class Brep(Protocol):
    """Exact surfaces of a part, as the CAD reader keeps them."""

    def bounds(self) -> NDArray[Any]:
        """Lowest and highest corner in the frame of the part, (2, 3), in metres."""
        ...

    def to_bytes(self) -> bytes:
        """The surfaces as OpenCASCADE's binary BRep, to be kept in a file or sent to another process."""
        ...


@dataclass(eq=False, kw_only=True, slots=True)
class AnnotationGroup:
    """Product manufacturing information of one kind: dimensions, tolerances, datums, notes."""

    name: str
    """What its annotations are."""
    annotations: tuple[str, ...] = ()
    """The name or text of each."""


@dataclass(eq=False, kw_only=True, slots=True)
class Part:
    """A shape that is shown by one occurrence, or by several, its instances."""

    name: str = ""
    """Its name, as the file gave it; need not be unique."""
    mesh: Mesh | None = None
    """Its triangles or points; None until an exact shape is tessellated."""
    brep: Brep | None = None
    """Its exact surfaces, where there are some."""
    metadata: dict[str, Value] = field(default_factory=dict)
    """Properties, by name."""


@dataclass(eq=False, kw_only=True, slots=True)
class Occurrence:
    """One place in the tree of a scene. Two are the same one only if they are the same object."""

    name: str = ""
    """Its name, as the file gave it; need not be unique."""
    matrix: NDArray[Any] | None = None
    """Place in its parent, (4, 4) float64, for column vectors in metres; None is the identity."""
    part: Part | None = None
    """What it shows; None for a group."""
    children: list[Occurrence] = field(default_factory=list)
    """The occurrences below it; add() and remove() change the list."""
    visible: bool = True
    """Whether it and all below it are shown."""
    metadata: dict[str, Value] = field(default_factory=dict)
    """Properties, by name."""
    annotations: tuple[AnnotationGroup, ...] = ()
    """Its product manufacturing information."""
    parent: Occurrence | None = field(default=None, repr=False)
    """The occurrence above it; None for a root."""
    scene: Scene | None = field(default=None, repr=False)
    """Of a root, its scene; find the scene of any other by owner()."""

    def __post_init__(self) -> None:
        for child in self.children:
            child.parent = self

    def __reduce_ex__(self, protocol: Any) -> Any:
        from pixyz_worker.kernel.transport import reduce_occurrence

        return reduce_occurrence(self)

    def add(self, child: Occurrence) -> Occurrence:
        """Put an occurrence below this one, and return it."""
        child.remove()
        child.parent = self
        self.children.append(child)
        return child

    def remove(self) -> None:
        """Take this occurrence, with all below it, out of its tree."""
        if self.parent is not None:
            self.parent.children[:] = [child for child in self.parent.children if child is not self]
            self.parent = None

    def walk(self) -> Iterator[Occurrence]:
        """This occurrence and all below it, parents before their children; deep trees are no problem."""
        pending = [self]
        while pending:
            occurrence = pending.pop()
            yield occurrence
            pending.extend(reversed(occurrence.children))

    def owner(self) -> Scene | None:
        """The scene that it is in, if any."""
        top = self
        while top.parent is not None:
            top = top.parent
        return top.scene

    def world(self) -> NDArray[Any]:
        """Place in the whole tree, (4, 4)."""
        import numpy

        matrix = numpy.eye(4)
        above: Occurrence | None = self
        while above is not None:
            if above.matrix is not None:
                matrix = above.matrix @ matrix
            above = above.parent
        return matrix

    def shown(self) -> bool:
        """Whether it and all above it are visible."""
        above: Occurrence | None = self
        while above is not None and above.visible:
            above = above.parent
        return above is None


@dataclass(eq=False, kw_only=True, slots=True)
class Channel:
    """How an animation moves one property of one occurrence; as in glTF 2.0, section 3.11."""

    target: Occurrence
    """What is moved."""
    path: str
    """translation, rotation (quaternions x, y, z, w), scale, or weights."""
    times: Any
    """Seconds of the key frames, (n,) float32."""
    values: Any
    """Values at the key frames, (n, width) float32; three times as many for CUBICSPLINE."""
    interpolation: str = "LINEAR"
    """LINEAR, STEP or CUBICSPLINE."""


@dataclass(eq=False, kw_only=True, slots=True)
class Animation:
    """A movement of occurrences over time."""

    name: str = ""
    """Its name; need not be unique."""
    channels: list[Channel] = field(default_factory=list)
    """What moves; empty where a format tells only that there is an animation."""


class Scene:
    """A tree of occurrences, and what belongs to all of it."""

    __slots__ = ("_root", "_source", "animations", "name", "remesh", "unit_m", "up", "variants")

    def __init__(
        self,
        *,
        name: str,
        root: Occurrence | None = None,
        glb: bytes | None = None,
        unit_m: float | None = None,
        up: Axis | None = None,
        animations: Iterable[Animation] = (),
        variants: Iterable[str] = (),
    ) -> None:
        """Hold a scene that is given as a tree, or as the GLB of one, which is taken apart when needed.

        unit_m is the unit of the file that it came from (millimetre: 0.001), None when that file told none:
        formats that know no unit are written in it. up is the axis that points up, None when nobody knows.
        """
        if (glb is None) == (root is None):
            raise ValueError("a scene is made of a GLB or of a tree, one of them")
        self.name = name
        self.unit_m = unit_m
        self.up = up
        self.animations = list(animations)
        self.variants = list(variants)
        self.remesh: Callable[[Any], Scene] | None = None
        """Reads its file again with another tessellation, where no BRep is kept; see algorithms.tessellation."""
        self._source = glb
        self._root = root
        if root is not None:
            root.scene = self

    def __repr__(self) -> str:
        return f"<Scene {self.name!r}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        from pixyz_worker.kernel.transport import reduce_scene

        return reduce_scene(self, int(protocol))

    @property
    def source(self) -> bytes | None:
        """The GLB that it came as, until changed() is called."""
        return self._source

    @property
    def root(self) -> Occurrence:
        """The root of the tree; changed() has to be called when something below it was changed."""
        if self._root is None:
            from pixyz_worker.kernel.formats.gltf import reader as gltf_reader

            assert self._source is not None
            self._root = gltf_reader.fill(self, self._source)
            self._root.scene = self
        return self._root

    def changed(self) -> None:
        """Say that the tree, a part or a material was changed: the bytes that it came as are no longer good."""
        _ = self.root
        self._source = None

    def parts(self) -> list[Part]:
        """Its different parts, in the order of the tree."""
        return list(dict.fromkeys(occurrence.part for occurrence in self.root.walk() if occurrence.part is not None))

    def materials(self) -> list[Material]:
        """The materials that its meshes use, in the order of the tree, each once."""
        found: dict[Material, None] = {}
        for part in self.parts():
            if part.mesh is not None:
                found.update(dict.fromkeys(material for material in part.mesh.materials if material is not None))
        return list(found)

    def instances(self) -> list[Occurrence]:
        """The occurrences that show a part."""
        return [occurrence for occurrence in self.root.walk() if occurrence.part is not None]

    @property
    def triangle_count(self) -> int:
        """How many triangles the scene shows, instances counted each."""
        meshes = (occurrence.part.mesh for occurrence in self.instances() if occurrence.part is not None)
        return sum(len(mesh.triangles) for mesh in meshes if mesh is not None)

    def take(self, other: Scene) -> None:
        """Bring the tree of another scene below the root of this one, with its animations and variants.

        The other scene should not be used afterwards. Where the axes that point up differ, what comes is turned.
        """
        child = other.root
        child.scene = None
        if other.up and self.up and other.up != self.up:
            from pixyz_worker.kernel.axes import turn

            before = child.matrix
            child.matrix = turn(other.up, self.up) if before is None else turn(other.up, self.up) @ before
        self.root.add(child)
        self.animations += other.animations
        self.variants += [variant for variant in other.variants if variant not in self.variants]
        self.changed()


def combine(scenes: list[Scene]) -> Scene:
    """One scene that holds several; a single one is given back as it is."""
    if len(scenes) == 1:
        return scenes[0]
    first = scenes[0]
    whole = Scene(name=first.name, root=Occurrence(name=first.name), unit_m=first.unit_m, up=first.up)
    for scene in scenes:
        whole.take(scene)
    return whole


def tops(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """Those of the occurrences that are not below another one of them, each once."""
    chosen = dict.fromkeys(occurrences)
    below: dict[Occurrence, bool] = {}
    for occurrence in chosen:
        path, above = [], occurrence.parent
        while above is not None and above not in chosen and above not in below:
            path.append(above)
            above = above.parent
        inside = above is not None and (above in chosen or below[above])
        below.update(dict.fromkeys(path, inside))
        if inside:
            below[occurrence] = True
    return [occurrence for occurrence in chosen if not below.get(occurrence, False)]
