"""Materials, textures and images of glTF 2.0 (sections 3.8 and 3.9), read and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pixyz_worker.kernel.formats.gltf.document import Document
from pixyz_worker.kernel.material import Image, Material, Texture, Wrap

_WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
_WRAP_NUMBERS = {wrap: number for number, wrap in _WRAPS.items()}
_TRANSFORM = "KHR_texture_transform"
_SPECULAR = "KHR_materials_pbrSpecularGlossiness"
_SLOTS = {
    "normal_texture": "normalTexture",
    "occlusion_texture": "occlusionTexture",
    "emission_texture": "emissiveTexture",
}


class Materials:
    """The materials of a document, made when they are asked for."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._tree = document.tree
        self._made: dict[int, Material] = {}
        self._images: dict[int, Image] = {}
        self._texcoords: dict[Material | None, int] = {None: 0}

    def __getitem__(self, number: int) -> Material:
        """A material by its number, always the same object."""
        if number not in self._made:
            try:
                self._made[number] = self._material(number, self._tree["materials"][number])
            except (TypeError, AttributeError, KeyError, IndexError) as error:
                raise ValueError(f"material {number} makes no sense") from error
        return self._made[number]

    def texcoord(self, material: Material | None) -> int:
        """The set of texture coordinates that a material's textures use; the first one's where they differ."""
        return self._texcoords.get(material, 0)

    def _material(self, number: int, record: dict[str, Any]) -> Material:
        extensions = dict(record.get("extensions", {}))
        metal = dict(record.get("pbrMetallicRoughness", {}))
        specular = extensions.pop(_SPECULAR, None)
        if specular and not metal:
            metal = _as_metal(specular)
        red, green, blue, opacity = (float(part) for part in (*metal.get("baseColorFactor", ()), 1, 1, 1, 1)[:4])
        emission = [float(part) for part in record.get("emissiveFactor", (0, 0, 0))]
        made = Material(
            name=str(record.get("name") or f"material {number}"),
            base_colour=(red, green, blue, opacity),
            metalness=float(metal.get("metallicFactor", 1.0)),
            roughness=float(metal.get("roughnessFactor", 1.0)),
            emission=(emission[0], emission[1], emission[2]),
            base_colour_texture=self._texture(metal.get("baseColorTexture")),
            metal_rough_texture=self._texture(metal.get("metallicRoughnessTexture")),
            alpha_cutoff=float(record.get("alphaCutoff", 0.5)),
            double_sided=bool(record.get("doubleSided", False)),
            extensions={key: _without_textures(value) for key, value in extensions.items()},
        )
        for slot, key in _SLOTS.items():
            setattr(made, slot, self._texture(record.get(key)))
        mode = str(record.get("alphaMode", "OPAQUE")).lower()
        made.alpha_mode = mode if mode in ("mask", "blend") else "opaque"  # type: ignore[assignment]
        used = [metal.get("baseColorTexture"), metal.get("metallicRoughnessTexture"), *map(record.get, _SLOTS.values())]
        self._texcoords[made] = next((_texcoord(texture) for texture in used if texture), 0)
        return made

    def _texture(self, info: Any) -> Texture | None:
        if info is None:
            return None
        record = _nth(self._tree, "textures", info.get("index"))
        source = record.get("extensions", {}).get("EXT_texture_webp", {}).get("source", record.get("source"))
        if source is None:
            return None  # an image of a kind that no reader here knows (KTX2)
        sampler = _nth(self._tree, "samplers", record["sampler"]) if "sampler" in record else {}
        transform = info.get("extensions", {}).get(_TRANSFORM, {})
        offset, scale = transform.get("offset", (0, 0)), transform.get("scale", (1, 1))
        return Texture(
            image=self._image(source),
            wrap=(_WRAPS.get(sampler.get("wrapS", 0), "repeat"), _WRAPS.get(sampler.get("wrapT", 0), "repeat")),
            offset=(float(offset[0]), float(offset[1])),
            scale=(float(scale[0]), float(scale[1])),
            rotation=float(transform.get("rotation", 0.0)),
        )

    def _image(self, number: int) -> Image:
        if number not in self._images:
            record = _nth(self._tree, "images", number)
            view = _nth(self._tree, "bufferViews", record.get("bufferView"))
            start = view.get("byteOffset", 0)
            data = bytes(self._document.binary[start : start + view["byteLength"]])
            mime = "image/jpeg" if data[:2] == b"\xff\xd8" else "image/webp" if data[8:12] == b"WEBP" else "image/png"
            self._images[number] = Image(name=str(record.get("name") or f"image {number}"), data=data, mime=mime)
        return self._images[number]


class MaterialTable:
    """The materials of a document that is being written."""

    def __init__(self, store: Callable[[bytes], int]) -> None:
        """Store is called with the bytes of an image and returns the number of their buffer view."""
        self._store = store
        self.materials: list[dict[str, Any]] = []
        self.textures: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []
        self.extensions: set[str] = set()
        self._numbers: dict[Material, int] = {}
        self._image_numbers: dict[Image, int] = {}

    def number(self, material: Material) -> int:
        """The number of a material, which is written when it is first asked for."""
        if material not in self._numbers:
            self._numbers[material] = len(self.materials)
            self.materials.append({})
            self.materials[self._numbers[material]] = self._record(material)
        return self._numbers[material]

    def _record(self, material: Material) -> dict[str, Any]:
        metal: dict[str, Any] = {
            "baseColorFactor": [round(part, 6) for part in material.base_colour],
            "metallicFactor": round(material.metalness, 6),
            "roughnessFactor": round(material.roughness, 6),
        }
        if material.base_colour_texture:
            metal["baseColorTexture"] = self._info(material.base_colour_texture)
        if material.metal_rough_texture:
            metal["metallicRoughnessTexture"] = self._info(material.metal_rough_texture)
        record: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": metal}
        for slot, key in _SLOTS.items():
            if texture := getattr(material, slot):
                record[key] = self._info(texture)
        if any(material.emission):
            record["emissiveFactor"] = [round(part, 6) for part in material.emission]
        if material.alpha_mode != "opaque":
            record["alphaMode"] = material.alpha_mode.upper()
        if material.alpha_mode == "mask":
            record["alphaCutoff"] = round(material.alpha_cutoff, 6)
        if material.double_sided:
            record["doubleSided"] = True
        if material.extensions:
            record["extensions"] = material.extensions
            self.extensions.update(material.extensions)
        return record

    def _info(self, texture: Texture) -> dict[str, Any]:
        sampler = {"wrapS": _WRAP_NUMBERS[texture.wrap[0]], "wrapT": _WRAP_NUMBERS[texture.wrap[1]]}
        record: dict[str, Any] = {"sampler": _placed(self.samplers, sampler)}
        image = self._image_number(texture.image)
        if texture.image.mime == "image/webp":
            record["extensions"] = {"EXT_texture_webp": {"source": image}}
            self.extensions.add("EXT_texture_webp")
        else:
            record["source"] = image
        info: dict[str, Any] = {"index": _placed(self.textures, record)}
        if (texture.offset, texture.scale, texture.rotation) != ((0.0, 0.0), (1.0, 1.0), 0.0):
            transform = {"offset": list(texture.offset), "scale": list(texture.scale), "rotation": texture.rotation}
            info["extensions"] = {_TRANSFORM: transform}
            self.extensions.add(_TRANSFORM)
        return info

    def _image_number(self, image: Image) -> int:
        if image not in self._image_numbers:
            self._image_numbers[image] = len(self.images)
            record = {"name": image.name, "mimeType": image.mime, "bufferView": self._store(image.data)}
            self.images.append(record)
        return self._image_numbers[image]


def _placed(records: list[dict[str, Any]], record: dict[str, Any]) -> int:
    """The place of a record in a list, to which it is added unless it is there."""
    if record not in records:
        records.append(record)
    return records.index(record)


def _as_metal(specular: dict[str, Any]) -> dict[str, Any]:
    """Specular-glossiness as metallic-roughness, its colour kept."""
    made: dict[str, Any] = {
        "baseColorFactor": specular.get("diffuseFactor", (1, 1, 1, 1)),
        "metallicFactor": 0.0,
        "roughnessFactor": 1.0 - float(specular.get("glossinessFactor", 1.0)),
    }
    if "diffuseTexture" in specular:
        made["baseColorTexture"] = specular["diffuseTexture"]
    return made


def _without_textures(extension: Any) -> Any:
    if not isinstance(extension, dict):
        return extension
    return {key: value for key, value in extension.items() if not key.endswith("Texture")}


def _texcoord(info: dict[str, Any]) -> int:
    number = info.get("extensions", {}).get(_TRANSFORM, {}).get("texCoord", info.get("texCoord", 0))
    return int(number)


def _nth(tree: dict[str, Any], key: str, number: Any) -> dict[str, Any]:
    records = tree.get(key, [])
    if not isinstance(number, int) or not 0 <= number < len(records):
        raise ValueError(f"it refers to number {number!r} of its {key}, which is not there")
    found: dict[str, Any] = records[number]
    return found
