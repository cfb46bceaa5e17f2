"""Bad input ends in a sentence that names the file, quickly, and never in a crash."""

from __future__ import annotations

import importlib.util
import json
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker import io
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound
from pixyz_worker.kernel import gltf
from pixyz_worker.kernel.formats import readable_extensions

Content = bytes | Callable[[bytes], bytes]
NOISE = bytes((n * 7919 + 13) % 256 for n in range(3000))
STEP_HEAD = b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"


def glb(tree: dict[str, Any], binary: bytes = b"") -> bytes:
    """A GLB of a tree."""
    return gltf.join(gltf.Document(tree={"asset": {"version": "2.0"}, **tree}, binary=binary))


def accessor(**changes: Any) -> bytes:
    """A GLB with one accessor that is right but for changes."""
    entry = {"bufferView": 0, "componentType": 5126, "count": 1, "type": "VEC3", **changes}
    views = [{"buffer": 0, "byteLength": 12}]
    return glb({"buffers": [{"byteLength": 12}], "bufferViews": views, "accessors": [entry]}, bytes(12))


def zipped(name: str, content: bytes) -> bytes:
    """A zip with one file."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


MODEL = b'<model xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources/><build/></model>'
PLY = b"ply\nformat ascii 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n"

CASES: dict[str, tuple[str, Content]] = {
    "step of noise": ("step", NOISE),
    "step that is text": ("step", b"hello world\n" * 20),
    "step with a header only": ("stp", STEP_HEAD + b"ENDSEC;\nEND-ISO-10303-21;\n"),
    "step of noise after its header": ("step", STEP_HEAD + NOISE),
    "step cut at a tenth": ("step", lambda whole: whole[: len(whole) // 10]),
    "step cut at the end": ("step", lambda whole: whole[: len(whole) * 95 // 100]),
    "step without products": ("step", lambda whole: whole.replace(b"PRODUCT", b"PRODUCX")),
    "step full of zeros": ("step", lambda whole: whole[:9000] + bytes(40000)),
    "glb that is an stl": ("glb", b"solid x\nendsolid x\n"),
    "glb of four bytes": ("glb", b"glTF"),
    "glb of version 1": ("glb", struct.pack("<4sIIII", b"glTF", 1, 20, 0, 0)),
    "glb cut off": ("glb", accessor()[:-8]),
    "glb with a huge announced length": ("glb", struct.pack("<4sIIII", b"glTF", 2, 0xFFFFFFFF, 8, 0x4E4F534A)),
    "glb whose JSON is broken": ("glb", struct.pack("<4sIIII", b"glTF", 2, 24, 4, 0x4E4F534A) + b"{ ] "),
    "glb whose JSON is deep": (
        "glb",
        struct.pack("<4sIIII", b"glTF", 2, 20 + 400000, 400000, 0x4E4F534A) + b"[" * 400000,
    ),
    "glb without an asset": ("glb", gltf.join(gltf.Document(tree={}, binary=b""))),
    "glb with 10^9 elements": ("glb", accessor(count=10**9)),
    "glb with 10^9 elements of nothing": (
        "glb",
        glb({"accessors": [{"componentType": 5126, "count": 10**9, "type": "VEC3"}]}),
    ),
    "glb with a negative count": ("glb", accessor(count=-1)),
    "glb with an accessor of no known type": ("glb", accessor(type="VEC9")),
    "glb with a view beyond its data": ("glb", glb({"bufferViews": [{"buffer": 0, "byteLength": 99}]})),
    "glb with nodes in a circle": ("glb", glb({"nodes": [{"children": [1]}, {"children": [0]}]})),
    "glb with a child twice": ("glb", glb({"nodes": [{"children": [2]}, {"children": [2]}, {}]})),
    "glb with a mesh that is not there": ("glb", glb({"nodes": [{"mesh": 5}]})),
    "glb whose nodes are a number": ("glb", glb({"nodes": 7})),
    "gltf that is not JSON": ("gltf", b"ply\n"),
    "gltf without its bin": (
        "gltf",
        json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "gone.bin", "byteLength": 4}]}).encode(),
    ),
    "gltf with broken base64": (
        "gltf",
        json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "data:;base64,@@@", "byteLength": 4}]}).encode(),
    ),
    "obj of noise": ("obj", NOISE),
    "obj without a shape": ("obj", b"# nothing\no part\n"),
    "obj whose face leads nowhere": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 900000000\n"),
    "obj with words for numbers": ("obj", b"v a b c\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "obj with coordinates that are not numbers": ("obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "ply of noise": ("ply", NOISE),
    "ply with 10^9 vertices": ("ply", PLY % 10**9 + b"end_header\n0 0 0\n"),
    "ply without an end of its header": ("ply", PLY % 3),
    "ply whose face leads nowhere": (
        "ply",
        PLY % 3
        + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 77\n",
    ),
    "stl of noise": ("stl", NOISE),
    "stl that is text": ("stl", b"hello world\n" * 20),
    "stl with 10^9 triangles": ("stl", bytes(80) + struct.pack("<I", 10**9) + bytes(50)),
    "stl without triangles": ("stl", bytes(84)),
    "off that is text": ("off", b"hello world\n"),
    "off with 10^9 vertices": ("off", b"OFF\n1000000000 1 0\n0 0 0\n3 0 1 2\n"),
    "off whose face leads nowhere": ("off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99\n"),
    "3mf that is no zip": ("3mf", NOISE),
    "3mf without a model": ("3mf", zipped("readme.txt", b"nothing")),
    "3mf with an empty model": ("3mf", zipped("3D/3dmodel.model", MODEL)),
    "3mf of noise": ("3mf", zipped("3D/3dmodel.model", NOISE)),
    "dae that is text": ("dae", b"hello world"),
    "dae with entities": ("dae", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><COLLADA>&a;</COLLADA>'),
    "dae without a scene": ("dae", b'<?xml version="1.0"?><COLLADA version="1.4.1"></COLLADA>'),
    "xyz of words": ("xyz", b"one two three\n" * 3),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_content_ends_in_a_sentence(case: str, tmp_path: Path, sample: Path) -> None:
    """Given a file whose content is wrong, when it is read, then InvalidFile names the file."""
    extension, content = CASES[case]
    needed = {"3mf": "lxml", "dae": "collada"}.get(extension)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    path = tmp_path / f"bad.{extension}"
    path.write_bytes(content(sample.read_bytes()) if callable(content) else content)
    with pytest.raises(InvalidFile, match=rf"bad\.{extension} cannot be read as .+: .+\.") as caught:
        io.importScene(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("extension", sorted(readable_extensions()))
def test_an_empty_file_is_called_empty(extension: str, tmp_path: Path) -> None:
    """Given an empty file, when it is read, then the sentence says that it is empty."""
    (tmp_path / f"part.{extension}").touch()
    with pytest.raises(InvalidFile, match=rf"part\.{extension} is empty|needs .* not installed"):
        io.importScene(tmp_path / f"part.{extension}")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """Given no file, when it is read, then PixyzFileNotFound names it."""
    with pytest.raises(PixyzFileNotFound, match=r"nothing\.step"):
        io.importScene(tmp_path / "nothing.step")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """Given a folder with the name of a file, when it is read, then the sentence says so."""
    (tmp_path / "part.glb").mkdir()
    with pytest.raises(InvalidFile, match="not a file"):
        io.importScene(tmp_path / "part.glb")
