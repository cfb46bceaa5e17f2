"""3MF writer on lib3mf: objects with components, base materials, colours and textures, in millimetres."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lib3mf
import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared.kept_locale import kept_locale
from pixyz_worker.kernel.formats.shared.roots import check_writable, top_occurrences
from pixyz_worker.kernel.formats.threemf import arrays as lib3mf_arrays
from pixyz_worker.kernel.material import Image, Material, Texture
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

MILLIMETRE = 0.001
_TEXTURE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dtexture"
_STYLES = {
    "repeat": lib3mf.TextureTileStyle.Wrap,
    "mirror": lib3mf.TextureTileStyle.Mirror,
    "clamp": lib3mf.TextureTileStyle.Clamp,
}
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_Rows = NDArray[numpy.uint32]


@kept_locale()
def write(scene: Scene, path: Path) -> None:
    """Write a scene as a 3MF package; ValueError when it has no triangles.

    The name of an occurrence that its part does not have is kept by an object around it. What shows no triangles is
    left out, as this format has no empty objects.
    """
    check_writable(scene)
    package = _Package()
    package.add(scene)
    package.model.QueryWriter("3mf").WriteToFile(str(path))


class _Package:
    """One package while it is put together."""

    def __init__(self) -> None:
        self.library = lib3mf_arrays.library()
        self.model = self.library.CreateModel()
        self.model.SetUnit(lib3mf.ModelUnit.MilliMeter)
        self.parts: dict[Part, Any] = {}
        self.looks = _Looks(self.library, self.model)

    def add(self, scene: Scene) -> None:
        """Everything that a scene shows."""
        self.model.GetMetaDataGroup().AddMetaData("", "Title", scene.name, "xs:string", True)
        tops = top_occurrences(scene)
        made: dict[Occurrence, Any] = {}
        # Objects are made before those that consist of them.
        for top in tops:
            for occurrence in reversed(list(top.walk())):
                made[occurrence] = self.object(occurrence, made)
        for top in tops:
            if made[top] is not None:
                self.model.AddBuildItem(made[top], _transform(top.matrix))

    def object(self, occurrence: Occurrence, made: dict[Occurrence, Any]) -> Any:
        """The object of an occurrence, None when there is no triangle in it."""
        below = [child for child in occurrence.children if made[child] is not None]
        shape = self.part(occurrence.part)
        if shape is not None and not below and occurrence.part and occurrence.name in ("", occurrence.part.name):
            return shape
        if shape is None and not below:
            return None
        whole = self.model.AddComponentsObject()
        whole.SetName(_text(occurrence.name))
        if shape is not None:
            whole.AddComponent(shape, _transform(None))
        for child in below:
            inner = made[child]
            if shape is None and len(below) == 1 and child.matrix is None and inner.IsMeshObject():
                inner = self.named(child.name, inner)  # else the group would look like a name of the mesh
            whole.AddComponent(inner, _transform(child.matrix))
        return whole

    def named(self, name: str, shape: Any) -> Any:
        """An object that gives a mesh object another name."""
        whole = self.model.AddComponentsObject()
        whole.SetName(_text(name))
        whole.AddComponent(shape, _transform(None))
        return whole

    def part(self, part: Part | None) -> Any:
        """The mesh object of a part, None without triangles."""
        if part is None or part.mesh is None or part.mesh.is_points:
            return None
        if part not in self.parts:
            self.parts[part] = self.mesh(part.name, part.mesh)
        return self.parts[part]

    def mesh(self, name: str, mesh: Mesh) -> Any:
        """A mesh object; None when none of its triangles has three corners, as others are not allowed."""
        a, b, c = mesh.triangles.T
        whole = (a != b) & (b != c) & (c != a)
        if not whole.any():
            return None
        found = self.model.AddMeshObject()
        found.SetName(_text(name))
        triangles = mesh.triangles[whole]
        lib3mf_arrays.set_geometry(found, mesh.positions / numpy.float64(MILLIMETRE), triangles)
        numbers = None if mesh.triangle_materials is None else mesh.triangle_materials[whole]
        self.looks.give(found, mesh, triangles, numbers)
        return found


class _Looks:
    """Materials, colours and textures of one package."""

    def __init__(self, library: Any, model: Any) -> None:
        self.library = library
        self.model = model
        self.bases: Any = None
        self.numbers: dict[Material, int] = {}
        self.textures: dict[Texture, Any] = {}
        self.images: dict[Image, Any] = {}
        self.paths: set[str] = set()

    def give(self, found: Any, mesh: Mesh, triangles: _Rows, numbers: Any) -> None:
        """Give a mesh object what its triangles show, if they show something."""
        rows = numpy.zeros((len(triangles), 4), numpy.uint32)
        places = numpy.zeros(len(triangles), int) if numbers is None else numbers
        colours = self.colours(mesh, triangles) if mesh.colours is not None else None
        for place, material in enumerate(mesh.materials):
            chosen = places == place
            texture = material.base_colour_texture if material else None
            if texture is not None and mesh.uvs is not None:
                rows[chosen] = self.textured(texture, mesh.uvs, triangles[chosen])
            elif colours is not None:
                rows[chosen] = colours[chosen]
            elif material is not None:
                rows[chosen] = self.base(material)
        if rows[:, 0].any():
            shown = int(numpy.argmax(rows[:, 0] != 0))
            lib3mf_arrays.set_properties(found, rows, rows[shown])

    def base(self, material: Material) -> tuple[int, int, int, int]:
        """A material as a property of a triangle."""
        if self.bases is None:
            self.bases = self.model.AddBaseMaterialGroup()
        if material not in self.numbers:
            colour = self.library.RGBAToColor(*material.srgb)
            self.numbers[material] = self.bases.AddMaterial(_text(material.name) or "material", colour)
        number = self.numbers[material]
        return (self.bases.GetUniqueResourceID(), number, number, number)

    def colours(self, mesh: Mesh, triangles: _Rows) -> _Rows:
        """Colours of vertices as properties of triangles."""
        group = self.model.AddColorGroup()
        packed = numpy.ascontiguousarray(mesh.colours).view(numpy.uint32).reshape(-1)
        used, places = numpy.unique(packed, return_inverse=True)
        levels = used.view(numpy.uint8).reshape(-1, 4).tolist()
        numbers = numpy.array([group.AddColor(self.library.RGBAToColor(*colour)) for colour in levels], numpy.uint32)
        return _rows(group, numbers[places][triangles])

    def textured(self, texture: Texture, uvs: NDArray[Any], triangles: _Rows) -> _Rows:
        """Texture coordinates as properties of triangles."""
        group = self.model.AddTexture2DGroup(self.texture(texture))
        used, places = numpy.unique(triangles, return_inverse=True)
        numbers = [group.AddTex2Coord(lib3mf.Tex2Coord(u, 1.0 - v)) for u, v in uvs[used].tolist()]
        return _rows(group, numpy.array(numbers, numpy.uint32)[places.reshape(-1, 3)])

    def texture(self, texture: Texture) -> Any:
        """A texture."""
        if texture not in self.textures:
            kinds = lib3mf.TextureType
            made = self.model.AddTexture2DFromAttachment(self.attachment(texture.image))
            made.SetContentType(kinds.JPEG if texture.image.mime == "image/jpeg" else kinds.PNG)
            made.SetTileStyleUV(*(_STYLES[wrap] for wrap in texture.wrap))
            self.textures[texture] = made
        return self.textures[texture]

    def attachment(self, image: Image) -> Any:
        """The file of a picture in the package; this format knows PNG and JPEG alone."""
        if image not in self.images:
            ending = "jpg" if image.mime == "image/jpeg" else "png"
            stem = _UNSAFE.sub("_", Path(image.name).stem)[:60].strip("_.") or "image"
            path = f"/3D/Textures/{stem}.{ending}"
            if path in self.paths:
                path = f"/3D/Textures/{stem}_{len(self.paths) + 1}.{ending}"
            self.paths.add(path)
            made = self.model.AddAttachment(path, _TEXTURE)
            lib3mf_arrays.set_content(made, _png(image.data) if image.mime == "image/webp" else image.data)
            self.images[image] = made
        return self.images[image]


def _rows(group: Any, numbers: _Rows) -> _Rows:
    """Properties of one group at the corners of triangles, (m, 4)."""
    return numpy.column_stack([numpy.full(len(numbers), group.GetUniqueResourceID(), numpy.uint32), numbers])


def _png(data: bytes) -> bytes:
    import PIL.Image

    packed = io.BytesIO()
    with PIL.Image.open(io.BytesIO(data)) as picture:
        picture.save(packed, "PNG")
    return packed.getvalue()


def _transform(matrix: NDArray[Any] | None) -> Any:
    """A matrix as lib3mf has it: for row vectors, in millimetres."""
    rows = numpy.eye(4)[:, :3] if matrix is None else numpy.array(matrix[:3].T, float)
    rows[3] /= MILLIMETRE
    made = lib3mf.Transform()
    for number, row in enumerate(rows.tolist()):
        made.Fields[number][:] = row
    return made


def _text(name: str) -> str:
    """A name without the characters that XML does not allow."""
    return "".join(_allowed(name))


def _allowed(name: str) -> Iterator[str]:
    for character in name:
        forbidden = (character < " " and character not in "\t\n\r") or character in "\ufffe\uffff"
        yield "\ufffd" if forbidden or "\ud800" <= character <= "\udfff" else character
