"""Properties of triangles in 3MF as materials, colours and texture coordinates (3MF Materials and Properties 1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lib3mf
import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared.corners import unite
from pixyz_worker.kernel.formats.shared.side_images import decoded
from pixyz_worker.kernel.formats.threemf import arrays as lib3mf_arrays
from pixyz_worker.kernel.material import Image, Material, Texture, Wrap, from_srgb
from pixyz_worker.kernel.mesh import Mesh, make_mesh

_PLAIN_COLOURS = 256
"""So many colours of a mesh, each on whole triangles, are materials; more are colours of its vertices."""
_WRAPS: dict[Any, Wrap] = {
    lib3mf.TextureTileStyle.Mirror: "mirror",
    lib3mf.TextureTileStyle.Clamp: "clamp",
    lib3mf.TextureTileStyle.NoTileStyle: "clamp",
}
_Kind = lib3mf.PropertyType
_Rows = NDArray[numpy.int64]


@dataclass(eq=False, kw_only=True, slots=True)
class _Looks:
    """What the corners of the triangles of one mesh show; numbers are places in the lists, the first is for nothing."""

    bases: _Rows
    """For each triangle its material, (m,)."""
    textures: _Rows
    """For each triangle its texture, (m,)."""
    uvs: _Rows
    """For each corner its texture coordinates, (m, 3)."""
    colours: _Rows
    """For each corner its colour, (m, 3)."""
    base_list: list[Material | None] = field(default_factory=lambda: [None])
    texture_list: list[Texture | None] = field(default_factory=lambda: [None])
    uv_list: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    colour_list: list[tuple[int, int, int, int]] = field(default_factory=lambda: [(255, 255, 255, 255)])


class Properties:
    """The groups of properties of one model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._bases: dict[tuple[int, int], Material] = {}
        self._plain: dict[tuple[int, ...], Material] = {}
        self._textures: dict[int, Texture | None] = {}
        self._images: dict[str, Image | None] = {}
        self._joined: dict[tuple[Material | None, Texture | None], Material | None] = {}

    def mesh(self, found: Any, unit_m: float) -> Mesh:
        """A mesh object of lib3mf with what its triangles show, in metres."""
        positions = lib3mf_arrays.vertices(found).astype(numpy.float64) * unit_m
        corners = lib3mf_arrays.triangles(found)
        rows = lib3mf_arrays.properties(found).astype(numpy.int64)
        group, number, given = found.GetObjectLevelProperty()
        if given:
            rows[rows[:, 0] == 0] = (group, number, number, number)
        looks = self._looks(rows)
        if not looks.uvs.any() and not looks.colours.any():
            return self._painted(positions, corners, looks, None, None)
        columns: list[NDArray[Any]] = [corners.reshape(-1), looks.uvs.reshape(-1), looks.colours.reshape(-1)]
        first, vertices = unite(columns)
        uvs = numpy.array(looks.uv_list)[columns[1][first]] if looks.uvs.any() else None
        colours = numpy.array(looks.colour_list, numpy.uint8)[columns[2][first]] if looks.colours.any() else None
        return self._painted(positions[columns[0][first]], vertices.reshape(-1, 3), looks, uvs, colours)

    def _painted(self, positions: Any, corners: Any, looks: _Looks, uvs: Any, colours: Any) -> Mesh:
        pairs, numbers = numpy.unique(looks.bases * len(looks.texture_list) + looks.textures, return_inverse=True)
        chosen = [divmod(int(pair), len(looks.texture_list)) for pair in pairs]
        materials = [self._join(looks.base_list[base], looks.texture_list[texture]) for base, texture in chosen]
        return make_mesh(
            positions,
            corners,
            uvs=uvs,
            colours=colours,
            materials=tuple(materials),
            triangle_materials=numbers if len(materials) > 1 else None,
        )

    def _looks(self, rows: _Rows) -> _Looks:
        count = len(rows)
        nothing = numpy.zeros(count, numpy.int64)
        corners = numpy.zeros((count, 3), numpy.int64)
        looks = _Looks(bases=nothing, textures=nothing.copy(), uvs=corners, colours=corners.copy())
        for group in numpy.unique(rows[:, 0]).tolist():
            if group:
                chosen = numpy.flatnonzero(rows[:, 0] == group)
                self._add(looks, chosen, group, rows[chosen, 1:])
        return looks

    def _add(self, looks: _Looks, chosen: _Rows, group: int, numbers: _Rows) -> None:
        """Take in what some triangles show: the properties of one group at their corners, (k, 3)."""
        kind = self._model.GetPropertyTypeByID(group)
        if kind == _Kind.Multi:
            self._add_layers(looks, chosen, group, numbers)
        elif kind == _Kind.TexCoord:
            self._add_texture(looks, chosen, group, numbers)
        elif kind == _Kind.Colors:
            self._add_colours(looks, chosen, group, numbers)
        elif kind in (_Kind.BaseMaterial, _Kind.Composite):
            used, places = numpy.unique(numbers[:, 0], return_inverse=True)
            looks.bases[chosen] = len(looks.base_list) + places
            looks.base_list += [self._base(group, number, kind) for number in used.tolist()]

    def _add_layers(self, looks: _Looks, chosen: _Rows, group: int, numbers: _Rows) -> None:
        found = self._model.GetMultiPropertyGroupByID(group)
        layers = [found.GetLayer(number).ResourceID for number in range(found.GetLayerCount())]
        used, places = numpy.unique(numbers, return_inverse=True)
        table = numpy.zeros((len(used), len(layers)), numpy.int64)
        for row, number in enumerate(used.tolist()):
            # Room for the answer has to be given at once: the library refuses to count it first.
            values = found.GetMultiProperty(number, [0] * len(layers))[: len(layers)]
            table[row, : len(values)] = values
        for column, layer in enumerate(layers):
            if self._model.GetPropertyTypeByID(layer) != _Kind.Multi:
                self._add(looks, chosen, layer, table[places.reshape(-1, 3), column])

    def _add_texture(self, looks: _Looks, chosen: _Rows, group: int, numbers: _Rows) -> None:
        texture = self._texture(group)
        if texture is None:
            return
        found = self._model.GetTexture2DGroupByID(group)
        used, places = numpy.unique(numbers, return_inverse=True)
        looks.uvs[chosen] = len(looks.uv_list) + places.reshape(-1, 3)
        coordinates = (found.GetTex2Coord(number) for number in used.tolist())
        looks.uv_list += [(each.U, 1.0 - each.V) for each in coordinates]
        looks.textures[chosen] = len(looks.texture_list)
        looks.texture_list.append(texture)

    def _add_colours(self, looks: _Looks, chosen: _Rows, group: int, numbers: _Rows) -> None:
        found = self._model.GetColorGroupByID(group)
        used, places = numpy.unique(numbers, return_inverse=True)
        colours = [_rgba(found.GetColor(number)) for number in used.tolist()]
        places = places.reshape(-1, 3)
        if len(colours) <= _PLAIN_COLOURS and (places == places[:, :1]).all():
            looks.bases[chosen] = len(looks.base_list) + places[:, 0]
            looks.base_list += [self._plain_material(colour) for colour in colours]
        else:
            looks.colours[chosen] = len(looks.colour_list) + places
            looks.colour_list += colours

    def _plain_material(self, colour: tuple[int, int, int, int]) -> Material:
        if colour not in self._plain:
            self._plain[colour] = _material("", colour)
        return self._plain[colour]

    def _base(self, group: int, number: int, kind: Any) -> Material:
        if (group, number) not in self._bases:
            if kind == _Kind.BaseMaterial:
                found = self._model.GetBaseMaterialGroupByID(group)
                made = _material(found.GetName(number), _rgba(found.GetDisplayColor(number)))
            else:
                made = self._composite(group, number)
            self._bases[group, number] = made
        return self._bases[group, number]

    def _composite(self, group: int, number: int) -> Material:
        """A mixture of base materials: the mean of their colours, by their shares."""
        found = self._model.GetCompositeMaterialsByID(group)
        bases = found.GetBaseMaterialGroup()
        shares = [
            (each.MixingRatio, _rgba(bases.GetDisplayColor(each.PropertyID))) for each in found.GetComposite(number)
        ]
        whole = sum(share for share, _ in shares) or 1.0
        mean = [round(sum(share * colour[part] for share, colour in shares) / whole) for part in range(4)]
        return _material("", (mean[0], mean[1], mean[2], mean[3]))

    def _texture(self, group: int) -> Texture | None:
        found = self._model.GetTexture2DGroupByID(group).GetTexture2D()
        key = found.GetUniqueResourceID()
        if key not in self._textures:
            attachment = found.GetAttachment()
            path = attachment.GetPath()
            if path not in self._images:
                self._images[path] = decoded(lib3mf_arrays.content(attachment), path.rpartition("/")[2])
            image = self._images[path]
            u, v = (_WRAPS.get(style, "repeat") for style in found.GetTileStyleUV())
            self._textures[key] = None if image is None else Texture(image=image, wrap=(u, v))
        return self._textures[key]

    def _join(self, base: Material | None, texture: Texture | None) -> Material | None:
        """A material that shows a texture; a texture on its own has no name but that of its picture."""
        if texture is None:
            return base
        if (base, texture) not in self._joined:
            name = base.name if base else texture.image.name.rpartition(".")[0]
            mode = base.alpha_mode if base else "opaque"
            self._joined[base, texture] = Material(name=name, base_colour_texture=texture, alpha_mode=mode)
        return self._joined[base, texture]


def _material(name: str, colour: tuple[int, int, int, int]) -> Material:
    red, green, blue, opacity = (level / 255 for level in colour)
    mode = "blend" if colour[3] < 255 else "opaque"
    return Material(name=name, base_colour=from_srgb(red, green, blue, opacity), alpha_mode=mode)  # type: ignore[arg-type]


def _rgba(colour: Any) -> tuple[int, int, int, int]:
    return (colour.Red, colour.Green, colour.Blue, colour.Alpha)
