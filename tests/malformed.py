"""Files that are wrong in every way that one meets, made from good ones: truncated, empty, mixed up, hostile.

`cases(good)` takes the good files by extension and gives a file name and bytes for each case.
"""

from __future__ import annotations

import gzip
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any

from pixyz_worker.kernel.formats.gltf import document as gltf

NOISE = bytes((n * 7919 + n * n * 31 + 13) % 256 for n in range(3000))
STEP_HEAD = b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"
LINES = frozenset({"obj", "xyz", "dxf", "ifc", "iges", "igs", "usda"})
"""Text formats that make sense up to any line: half a file may be a file, so these are not cut."""
HUGE = 10**9


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: max(int(len(whole) * share), 1)]


def _overwritten(whole: bytes) -> bytes:
    """A file whose second half is noise."""
    half = len(whole) // 2
    return whole[:half] + (NOISE * (half // len(NOISE) + 1))[: len(whole) - half]


# What is done to a good file of any format; the flag says whether a text format of lines may survive it.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "empty": (lambda whole: b"", False),
    "one byte": (lambda whole: whole[:1], False),
    "noise": (lambda whole: NOISE, False),
    "zeros": (lambda whole: bytes(4096), False),
    "words": (lambda whole: b"hello world, this is no model\n" * 20, False),
    "another format": (lambda whole: b"solid x\nendsolid x\n" if whole[:4] == b"glTF" else _glb({}), False),
    "its first 40 bytes": (lambda whole: whole[:40], True),
    "a third of it": (_cut(1 / 3), True),
    "all but a tenth": (_cut(0.9), True),
    "noise from the middle on": (_overwritten, True),
}


def cases(good: Mapping[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """Name, file name and content of each case.

    Args:
        good: a file that can be read, by extension.
    """
    for extension, whole in good.items():
        for name, (damage, spares_lines) in DAMAGES.items():
            if not (spares_lines and extension in LINES):
                yield f"{extension}: {name}", f"bad.{extension}", damage(whole)
    for name, (extension, content) in CRAFTED.items():
        if extension in good:
            yield f"{extension}: {name}", f"bad.{extension}", content
    for name, content in archives(good["stl"]).items():
        ending = name.partition(" ")[0]
        yield f"archive: {name}", f"bad.{ending}", content


def _glb(tree: dict[str, Any], binary: bytes = b"") -> bytes:
    return gltf.join(gltf.Document(tree={"asset": {"version": "2.0"}, **tree}, binary=binary))


def _accessor(**changes: Any) -> bytes:
    """A GLB with one accessor that is right but for changes."""
    entry = {"bufferView": 0, "componentType": 5126, "count": 1, "type": "VEC3", **changes}
    views = [{"buffer": 0, "byteLength": 12}]
    return _glb({"buffers": [{"byteLength": 12}], "bufferViews": views, "accessors": [entry]}, bytes(12))


def _chunk(text: bytes) -> bytes:
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


def _zip(**files: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _package(name: str, content: bytes) -> bytes:
    return _zip(**{name: content})


def _json(**tree: Any) -> bytes:
    return json.dumps({"asset": {"version": "2.0"}, **tree}).encode()


_PLY = b"ply\nformat ascii 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n"
_PLY_BINARY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n"
)
_FACES = b"element face %d\nproperty list uchar int vertex_indices\n"
_MODEL = b'<model xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources/><build/></model>'
_BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'

CRAFTED: dict[str, tuple[str, bytes]] = {
    "a header only": ("step", STEP_HEAD + b"ENDSEC;\nEND-ISO-10303-21;\n"),
    "noise after its header": ("step", STEP_HEAD + NOISE),
    "a gzip that is none": ("stpz", b"\x1f\x8b" + NOISE),
    "a gzip bomb": ("stpz", gzip.compress(STEP_HEAD + bytes(300 << 20), 9)),
    "four bytes": ("glb", b"glTF"),
    "version 1": ("glb", struct.pack("<4sIIII", b"glTF", 1, 20, 0, 0)),
    "a huge announced length": ("glb", struct.pack("<4sIIII", b"glTF", 2, 0xFFFFFFFF, 8, 0x4E4F534A)),
    "broken JSON": ("glb", _chunk(b"{ ] ")),
    "deep JSON": ("glb", _chunk(b"[" * 400_000)),
    "no asset": ("glb", gltf.join(gltf.Document(tree={}, binary=b""))),
    "10^9 elements": ("glb", _accessor(count=HUGE)),
    "10^9 elements of nothing": ("glb", _glb({"accessors": [{"componentType": 5126, "count": HUGE, "type": "VEC3"}]})),
    "a negative count": ("glb", _accessor(count=-1)),
    "an accessor of no known type": ("glb", _accessor(type="VEC9")),
    "a view beyond its data": ("glb", _glb({"bufferViews": [{"buffer": 0, "byteLength": 99}]})),
    "nodes in a circle": ("glb", _glb({"nodes": [{"children": [1]}, {"children": [0]}]})),
    "a child twice": ("glb", _glb({"nodes": [{"children": [2]}, {"children": [2]}, {}]})),
    "a mesh that is not there": ("glb", _glb({"nodes": [{"mesh": 5}]})),
    "nodes that are a number": ("glb", _glb({"nodes": 7})),
    "no bin": ("gltf", _json(buffers=[{"uri": "gone.bin", "byteLength": 4}])),
    "broken base64": ("gltf", _json(buffers=[{"uri": "data:;base64,@@@", "byteLength": 4}])),
    "a file elsewhere": ("gltf", _json(buffers=[{"uri": "../../../../etc/passwd", "byteLength": 4}])),
    "a page of the network": ("gltf", _json(buffers=[{"uri": "http://127.0.0.1:1/x", "byteLength": 4}])),
    "no shape": ("obj", b"# nothing\no part\n"),
    "a face that leads nowhere": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 900000000\n"),
    "words for numbers": ("obj", b"v a b c\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "coordinates that are no numbers": ("obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "10^9 vertices": ("ply", _PLY % HUGE + b"end_header\n0 0 0\n"),
    "10^9 binary vertices": ("ply", _PLY_BINARY % HUGE + b"end_header\n" + bytes(120)),
    "10^9 faces": ("ply", _PLY_BINARY % 3 + _FACES % HUGE + b"end_header\n" + bytes(120)),
    "no end of its header": ("ply", _PLY % 3),
    "a face to nowhere": ("ply", _PLY % 3 + _FACES % 1 + b"end_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 77\n"),
    "10^9 triangles": ("stl", bytes(80) + struct.pack("<I", HUGE) + bytes(50)),
    "no triangles": ("stl", bytes(84)),
    "coordinates that are infinite": (
        "stl",
        bytes(80) + struct.pack("<I", 1) + struct.pack("<12fH", *[float("inf")] * 12, 0),
    ),
    "10^9 points": ("off", b"OFF\n1000000000 1 0\n0 0 0\n3 0 1 2\n"),
    "a triangle to nowhere": ("off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99\n"),
    "no model": ("3mf", _package("readme.txt", b"nothing")),
    "an empty model": ("3mf", _package("3D/3dmodel.model", _MODEL)),
    "noise for a model": ("3mf", _package("3D/3dmodel.model", NOISE)),
    "a bomb": ("3mf", _package("3D/3dmodel.model", _MODEL + b" " * (300 << 20))),
    "entities": ("dae", _BOMB + b"<COLLADA>&b;</COLLADA>"),
    "no scene": ("dae", b'<?xml version="1.0"?><COLLADA version="1.4.1"></COLLADA>'),
    "x3d entities": ("x3d", _BOMB + b"<X3D><Scene>&b;</Scene></X3D>"),
    "x3d without a shape": ("x3d", b"<X3D><Scene/></X3D>"),
    "3dxml without a manifest": ("3dxml", _package("x.xml", b"<x/>")),
    "fbx of 10^9 values": (
        "fbx",
        b"Kaydara FBX Binary  \x00\x1a\x00"
        + struct.pack("<IIII", 7400, 60, 1, 13)
        + b"\x01d"
        + struct.pack("<III", HUGE, 1, 9),
    ),
    "a 3ds chunk of 4 GB": ("3ds", struct.pack("<HIHI", 0x4D4D, 0xFFFFFFFF, 0x3D3D, 0xFFFFFFF0) + bytes(40)),
    "usda of 10^9 points": (
        "usda",
        b'#usda 1.0\ndef Mesh "m" { int[] faceVertexCounts = [3] int[] faceVertexIndices = [0, 1, 1000000000] '
        b"point3f[] points = [(0,0,0), (1,0,0), (0,1,0)] }\n",
    ),
    "a usda that refers elsewhere": ("usda", b'#usda 1.0\ndef "a" (references = @/etc/passwd@) {}\n'),
    "a usda that refers to itself": ("usda", b'#usda 1.0\n(subLayers = [@./bad.usda@])\ndef "a" {}\n'),
    "usdz that is an empty zip": ("usdz", _zip()),
    "ifc without a project": (
        "ifc",
        b"ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('IFC4'));\nENDSEC;\nDATA;\nENDSEC;\nEND-ISO-10303-21;\n",
    ),
    "a manifest that lies": ("pxz", _package("manifest.json", b'{"producer": "pixyz-on-ray", "version": 1}')),
}
"""Extension and content of files that are wrong in a way of their own format."""


def archives(model: bytes) -> dict[str, bytes]:
    """Archives that reach out of their folder, swell, or are none; the first word of a name is the ending."""
    link, outside = BytesIO(), BytesIO()
    with tarfile.open(fileobj=link, mode="w:gz") as file:
        member = tarfile.TarInfo("model.stl")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    with tarfile.open(fileobj=outside, mode="w:gz") as file:
        member = tarfile.TarInfo("../../model.stl")
        member.size = len(model)
        file.addfile(member, BytesIO(model))
    device = BytesIO()
    with tarfile.open(fileobj=device, mode="w:gz") as file:
        member = tarfile.TarInfo("model.stl")
        member.type = tarfile.CHRTYPE
        file.addfile(member)
    return {
        "zip that is none": NOISE,
        "zip of words": _zip(**{"readme.txt": b"hello"}),
        "zip of nothing": _zip(),
        "zip that is cut": _zip(**{"model.stl": model})[:-30],
        "zip with a bad model": _zip(**{"model.stl": NOISE}),
        "zip that slips out": _zip(**{"../../model.stl": model}),
        "zip of an absolute path": _zip(**{"/tmp/model.stl": model}),
        "zip of a Windows drive": _zip(**{"C:\\model.stl": model}),
        "zip bomb": _zip(**{"model.stl": bytes(120 << 20)}),
        "tar.gz that is none": NOISE,
        "tar.gz with a link": link.getvalue(),
        "tar.gz that slips out": outside.getvalue(),
        "tar.gz with a device": device.getvalue(),
        "tar.gz bomb": gzip.compress(bytes(120 << 20), 9),
        "tar.gz that is cut": outside.getvalue()[:60],
    }
