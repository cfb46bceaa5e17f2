"""glTF 2.0 on the standard library: take GLB files apart, check them, put them together.

What needs no geometry (GLB <-> glTF) works on the JSON alone, and keeps what a scene of ours would drop: skins,
cameras, extensions.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pixyz_worker.file_names import is_remote

MAGIC = b"glTF"
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_IMAGE_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
# An accessor may hold zeros that no byte of the file stands for; more than this is an attack, not a model.
_MAX_IMPLIED_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A glTF document in memory."""

    tree: dict[str, Any]
    """The JSON."""
    binary: bytes
    """The one buffer that the JSON speaks of; empty when there is none."""


def split(glb: bytes) -> Document:
    """Take a GLB apart; ValueError says what is wrong with it."""
    if glb[:4] != MAGIC:
        raise ValueError(f"it does not begin with 'glTF' but with {glb[:8]!r}")
    if len(glb) < 20:
        raise ValueError("it ends within its header")
    version, length, json_length, json_kind = struct.unpack_from("<IIII", glb, 4)
    if version != 2:
        raise ValueError(f"it is glTF version {version}; version 2 is needed")
    if length > len(glb):
        raise ValueError(f"it is cut off: {length} bytes announced, {len(glb)} there")
    if json_kind != _JSON_CHUNK or 20 + json_length > length:
        raise ValueError("its first chunk is not JSON")
    tree = parse(glb[20 : 20 + json_length])
    binary, offset = b"", 20 + json_length
    if offset + 8 <= length:
        size, kind = struct.unpack_from("<II", glb, offset)
        if kind == _BINARY_CHUNK:
            if offset + 8 + size > length:
                raise ValueError("its binary chunk is cut off")
            binary = glb[offset + 8 : offset + 8 + size]
    return Document(tree=tree, binary=binary)


def parse(text: bytes) -> dict[str, Any]:
    """The JSON of a glTF document."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError("its JSON is not an object")
    asset = tree.get("asset")
    if not isinstance(asset, dict) or not str(asset.get("version", "")).startswith("2"):
        raise ValueError("its JSON has no asset of version 2")
    return tree


def join(document: Document) -> bytes:
    """Put a document together as a GLB; the same document gives the same bytes."""
    padding = b"\0" * (-len(document.binary) % 4)
    return b"".join((head(document.tree, len(document.binary) + len(padding)), document.binary, padding))


def head(tree: Mapping[str, Any], size: int) -> bytes:
    """A GLB up to its binary data, of which `size` bytes follow, a multiple of 4."""
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 20 + len(text) + (8 + size if size else 0)
    if total > 0xFFFFFFFF:
        raise ValueError("the scene is larger than the 4 GiB that a GLB can hold")
    parts = [MAGIC, struct.pack("<IIII", 2, total, len(text), _JSON_CHUNK), text]
    if size:
        parts.append(struct.pack("<II", size, _BINARY_CHUNK))
    return b"".join(parts)


def check(document: Document) -> None:
    """Raise ValueError unless every index and every range of the document is within it."""
    _check_ranges(document)
    tree = document.tree
    for mesh in _records(tree, "meshes"):
        for primitive in _records(mesh, "primitives"):
            attributes = primitive.get("attributes", {})
            if not isinstance(attributes, dict):
                raise ValueError("a primitive's attributes are not an object")
            for index in attributes.values():
                _reference(tree, "accessors", index)
            _reference(tree, "accessors", primitive.get("indices", -1))
            _reference(tree, "materials", primitive.get("material", -1))
    _check_nodes(tree)


def _check_ranges(document: Document) -> None:
    tree, views = document.tree, _records(document.tree, "bufferViews")
    for view in views:
        end = _count(view, "byteOffset") + _count(view, "byteLength")
        compressed = "EXT_meshopt_compression" in view.get("extensions", {})
        if not compressed and (view.get("buffer") != 0 or end > len(document.binary)):
            raise ValueError("a buffer view lies outside the binary data")
    for accessor in _records(tree, "accessors"):
        size = _COMPONENT_BYTES.get(accessor.get("componentType", 0), 0) * _COMPONENTS.get(accessor.get("type", ""), 0)
        count = _count(accessor, "count")
        if not size:
            raise ValueError("an accessor has an unknown type")
        if "bufferView" not in accessor:
            if size * count > _MAX_IMPLIED_BYTES:
                raise ValueError(f"an accessor announces {count} elements without data")
            continue
        _reference(tree, "bufferViews", accessor["bufferView"])
        view = views[accessor["bufferView"]]
        stride = _count(view, "byteStride") or size
        end = _count(accessor, "byteOffset") + (stride * (count - 1) + size if count else 0)
        if end > _count(view, "byteLength"):
            raise ValueError(f"an accessor announces {count} elements, more than its data")


def _check_nodes(tree: Mapping[str, Any]) -> None:
    nodes, parents = _records(tree, "nodes"), dict[int, int]()
    for number, node in enumerate(nodes):
        _reference(tree, "meshes", node.get("mesh", -1))
        for child in _indices(node, "children"):
            _reference(tree, "nodes", child)
            if child in parents:
                raise ValueError(f"node {child} has two parents")
            parents[child] = number
    for scene in _records(tree, "scenes"):
        for root in _indices(scene, "nodes"):
            _reference(tree, "nodes", root)
            if root in parents:
                raise ValueError(f"root node {root} has a parent")
    # With one parent each, what no root leads to can only be a circle.
    reached = [number for number in range(len(nodes)) if number not in parents]
    for number in reached:
        reached.extend(nodes[number].get("children", ()))
    if len(reached) != len(nodes):
        raise ValueError("its nodes form a circle")


def _records(tree: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    records = tree.get(key, [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f"its {key} are not a list of objects")
    return records


def _indices(record: Mapping[str, Any], key: str) -> list[Any]:
    indices = record.get(key, [])
    if not isinstance(indices, list):
        raise ValueError(f"its {key} are not a list")
    return indices


def _count(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {value!r}")
    return value


def _reference(tree: Mapping[str, Any], key: str, index: Any) -> None:
    """Check an index into a list; -1 stands for an absent one."""
    absent = index == -1
    if not absent and (not isinstance(index, int) or not 0 <= index < len(tree.get(key, ()))):
        raise ValueError(f"it refers to number {index!r} of its {key}, which is not there")


def read_glb(path: Path) -> bytes:
    """A checked GLB; the file's own bytes unless it refers to other files, which are then put into it."""
    glb = path.read_bytes()
    document = split(glb)
    if _outside(document.tree):
        document = embed(document, path.parent)
        glb = join(document)
    _check_all(document)
    return glb


def read_gltf(path: Path) -> bytes:
    """A .gltf with the buffers and images that it names, as one checked GLB."""
    document = embed(Document(tree=parse(path.read_bytes()), binary=b""), path.parent)
    _check_all(document)
    return join(document)


def _check_all(document: Document) -> None:
    """Raise ValueError unless a document makes sense with its data: it may be passed on as it is."""
    check(document)
    from pixyz_worker.kernel.formats.gltf import arrays

    arrays.check(document)


def _outside(tree: Mapping[str, Any]) -> bool:
    return any("uri" in record for key in ("buffers", "images") for record in _records(tree, key))


def embed(document: Document, folder: Path) -> Document:
    """Bring every buffer and image that a document refers to into its one buffer."""
    tree, binary, starts = dict(document.tree), bytearray(), list[int]()
    for buffer in _records(tree, "buffers"):
        data = _fetch(buffer["uri"], folder) if "uri" in buffer else document.binary
        if len(data) < _count(buffer, "byteLength"):
            raise ValueError(f"{str(buffer.get('uri', 'its buffer'))[:80]} is shorter than announced")
        starts.append(_append(binary, data))
    views = []
    for view in _records(tree, "bufferViews"):
        _reference(tree, "buffers", view.get("buffer", -2))
        offset = starts[view["buffer"]] + _count(view, "byteOffset")
        views.append({**view, "buffer": 0, "byteOffset": offset})
    images = []
    for image in _records(tree, "images"):
        if "uri" in image:
            data, uri = _fetch(image["uri"], folder), image["uri"]
            views.append({"buffer": 0, "byteOffset": _append(binary, data), "byteLength": len(data)})
            image = {key: value for key, value in image.items() if key != "uri"}
            image |= {"bufferView": len(views) - 1, "mimeType": image.get("mimeType") or _image_type(uri)}
        images.append(image)
    tree |= {key: value for key, value in (("bufferViews", views), ("images", images)) if value}
    if binary:
        tree["buffers"] = [{"byteLength": len(binary)}]
    return Document(tree=tree, binary=bytes(binary))


def _append(binary: bytearray, data: bytes) -> int:
    binary.extend(b"\0" * (-len(binary) % 8))
    start = len(binary)
    binary.extend(data)
    return start


def _image_type(uri: str) -> str:
    if uri.startswith("data:"):
        return uri[5:].partition(";")[0]
    return _IMAGE_TYPES.get(uri.rpartition(".")[2].lower(), "image/png")


def _fetch(uri: Any, folder: Path) -> bytes:
    """The bytes of a data URI, or of a file in or below a folder: nothing else may be reached."""
    if not isinstance(uri, str):
        raise ValueError("a uri is not a text")
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except ValueError as error:
            raise ValueError("data in its JSON is not base64") from error
    name = unquote(uri)
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")  # as programs on Windows write it
    if ":" in name or is_remote(name) or not (path := (folder / name).resolve()).is_relative_to(folder.resolve()):
        raise ValueError(f"it refers to {uri[:80]!r}, outside its own folder")
    if not path.is_file():
        raise ValueError(f"it needs {name!r} beside it, which is not there")
    return path.read_bytes()
