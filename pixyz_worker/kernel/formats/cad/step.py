"""STEP and IGES: with exact surfaces where the extra `cad` is installed, else as triangles through cascadio.

Both ways are OpenCASCADE; cascadio's build of it needs no system library, and gives a GLB in metres.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
import mmap
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pixyz_worker.exception import UnsafeFile, UnsupportedFormat
from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.formats.cad.step_text import is_sound
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.options import USUAL, ReadOptions, Tessellation
from pixyz_worker.kernel.scene import Scene

MILLIMETRE = 0.001
_BEGIN, _END, _BYTE_ORDER_MARK = b"ISO-10303-21", b"END-ISO-10303-21", b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_TAIL = 1 << 16
_INCH = re.compile(rb"CONVERSION_BASED_UNIT\s*\(\s*'INCH'", re.IGNORECASE)
_NUMBERED = re.compile(r"mat_\d+")
_PREFIXED = re.compile(rb"SI_UNIT\s*\(\s*(\$|\.\w+\.)\s*,\s*\.METRE\.\s*\)")
_PREFIXES = {b"$": 1.0, b".MILLI.": 0.001, b".CENTI.": 0.01, b".DECI.": 0.1, b".MICRO.": 1e-6, b".KILO.": 1000.0}
_IGES_UNITS = {1: 0.0254, 2: 0.001, 4: 0.3048, 5: 1609.344, 6: 1.0, 7: 1000.0, 8: 2.54e-5, 9: 1e-6, 10: 0.01}


def read_step(path: Path, options: ReadOptions) -> Scene:
    """A STEP file, gzip or not; ValueError says what is wrong with it.

    A text that is not sound is read in a process of its own, because OpenCASCADE may crash on it.
    """
    with _plain(path) as plain:
        _check_step(plain)
        if is_sound(plain):
            return _read_plain(plain, options, name=path.stem)
    return isolation.read(f"{__name__}:read_unsound", path, options)


def read_unsound(path: Path, options: ReadOptions) -> Scene:
    """Like read_step, in this process, whatever the text is like."""
    with _plain(path) as plain:
        return _read_plain(plain, options, name=path.stem)


def _read_plain(path: Path, options: ReadOptions, *, name: str) -> Scene:
    if readers := _cad_readers():
        scene: Scene = readers.read_step(path, name=name)
        return scene
    return read_with_cascadio(path, options, kind="step", name=name)


def read_iges(path: Path, options: ReadOptions) -> Scene:
    """An IGES file; ValueError says what is wrong with it."""
    _check_iges(path)
    if readers := _cad_readers():
        scene: Scene = readers.read_iges(path, name=path.stem)
        return scene
    return read_with_cascadio(path, options, kind="iges", name=path.stem)


def read_with_cascadio(path: Path, options: ReadOptions, *, kind: Literal["step", "iges"], name: str) -> Scene:
    """The triangles of a plain STEP or IGES file; the scene can be tessellated again by its `remesh`."""
    data = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    remesh = Remesh(data=data, kind=kind, name=name, quality=options.tessellation)
    return remesh(options.tessellation)


@dataclass(eq=False, kw_only=True, slots=True)
class Remesh:
    """Reads a CAD file again with another tessellation, where no exact surfaces are kept."""

    data: bytes
    """The bytes of the file."""
    kind: Literal["step", "iges"]
    """Its format."""
    name: str
    """The name of the scene."""
    quality: Tessellation
    """The tessellation that the scene has now."""
    chosen: bool = False
    """Whether somebody asked for that tessellation, not the reader alone."""

    def __call__(self, how: Tessellation) -> Scene:
        """The scene with such a tessellation; its sag_ratio is left out."""
        # One sag for all: the smallest that any part may have.
        sag_mm = (how.floor_m if how == USUAL else how.sag_m or how.sag(0.0)) / MILLIMETRE
        glb = tidy(_to_glb(self.data, self.kind, sag_mm, math.radians(how.angle_deg)))
        if self.kind == "iges":
            glb = _in_metres(glb)
        scene = Scene(name=self.name, unit_m=_unit(self.data, self.kind), up="z", glb=glb)
        scene.remesh = self
        return scene


def tidy(glb: bytes) -> bytes:
    """Make instances share their mesh again, name materials after their colours, and say that these are not metal.

    OpenCASCADE repeats a mesh for each instance (its data it writes once), and leaves the metalness of a
    material open, which in glTF means pure metal: nearly black in most viewers. Triangles, names, colours
    and transforms stay as they are.
    """
    document = gltf.split(glb)
    tree = _share_meshes(document.tree)
    for material in tree.get("materials", []):
        look = material.setdefault("pbrMetallicRoughness", {})
        look.setdefault("metallicFactor", 0.0)
        if _NUMBERED.fullmatch(material.get("name", "")):
            material["name"] = Material(base_colour=tuple(look.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)))).hex
    return gltf.join(gltf.Document(tree=tree, binary=document.binary))


def _in_metres(glb: bytes) -> bytes:
    """The GLB of an IGES file in metres: cascadio gives millimetres, whatever the unit of the file."""
    import numpy

    document = gltf.split(glb)
    tree, binary = document.tree, bytearray(document.binary)
    primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
    for number in {primitive["attributes"]["POSITION"] for primitive in primitives}:
        accessor = tree["accessors"][number]
        view = tree["bufferViews"][accessor["bufferView"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        values = numpy.ndarray((accessor["count"], 3), "<f4", binary, start, (view.get("byteStride") or 12, 4))
        values *= MILLIMETRE
        accessor["min"], accessor["max"] = values.min(axis=0).tolist(), values.max(axis=0).tolist()
    for node in tree.get("nodes", []):
        if "translation" in node:
            node["translation"] = [value * MILLIMETRE for value in node["translation"]]
        if "matrix" in node:
            node["matrix"][12:15] = [value * MILLIMETRE for value in node["matrix"][12:15]]
    return gltf.join(gltf.Document(tree=tree, binary=bytes(binary)))


def _share_meshes(tree: dict[str, Any]) -> dict[str, Any]:
    """Make nodes whose meshes are equal use one mesh, as instances do."""
    first, renumbered, kept = dict[str, int](), list[int](), list[Any]()
    for mesh in tree.get("meshes", []):
        key = json.dumps(mesh, sort_keys=True)
        if key not in first:
            first[key] = len(kept)
            kept.append(mesh)
        renumbered.append(first[key])
    nodes = [{**node, "mesh": renumbered[node["mesh"]]} if "mesh" in node else node for node in tree.get("nodes", [])]
    return {**tree, "meshes": kept, "nodes": nodes}


def _cad_readers() -> Any:
    """The module that keeps exact surfaces; None where OpenCASCADE is not installed, or lacks a system library."""
    if importlib.util.find_spec("OCP") is None:
        return None
    try:
        from pixyz_worker.kernel.formats.cad import readers as cad_readers
    except UnsupportedFormat as error:
        print(f"{error} Triangles are read instead of exact surfaces.", file=sys.stderr, flush=True)
        return None
    return cad_readers


def _to_glb(data: bytes, kind: Literal["step", "iges"], sag_mm: float, angle: float) -> bytes:
    import cascadio

    load: Callable[..., bytes] = cascadio.load
    glb = load(data, file_type=kind, tol_linear=sag_mm, tol_angular=angle)
    if not glb:
        raise ValueError("OpenCASCADE finds no shape in it, or its text is damaged; its own words stand above")
    if not gltf.split(glb).tree.get("meshes"):
        if b"DOCUMENT_FILE" in data:
            raise ValueError("its shapes are in other files, which are read with the extra 'cad' alone")
        raise ValueError("OpenCASCADE finds no shape in it")
    return glb


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The path of the unpacked text without a byte order mark; the file itself where it is such a text."""
    with path.open("rb") as file:
        head = file.read(3)
    if not head.startswith(_GZIP) and head != _BYTE_ORDER_MARK:
        if path.suffix.lower() == ".stpz":
            raise ValueError("it is not compressed with gzip")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="pixyz-step-") as folder:
        plain = Path(folder) / "plain.step"
        if head.startswith(_GZIP):
            _unpack(path, plain)
        else:
            plain.write_bytes(path.read_bytes()[len(_BYTE_ORDER_MARK) :])
        yield plain


def _unpack(path: Path, plain: Path) -> None:
    """Unpack gzip; UnsafeFile when more comes out than the limits allow."""
    limits, size = Limits.from_environment(), 0
    most = limits.unpacked_bytes(path.stat().st_size)
    try:
        with gzip.open(path) as packed, plain.open("wb") as file:
            while chunk := packed.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise UnsafeFile(f"{path.name} unpacks to more than the {most:.0f} bytes allowed.")
                file.write(chunk.removeprefix(_BYTE_ORDER_MARK) if size == len(chunk) else chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError("it is damaged or cut off: gzip cannot unpack it") from error


def _check_step(path: Path) -> None:
    """Raise ValueError unless a text begins and ends like STEP (ISO 10303-21)."""
    with path.open("rb") as file:
        head = file.read(1024)
        if _BEGIN not in head:
            raise ValueError(f"it does not begin with {_BEGIN.decode()}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text.rfind(_END, max(len(text) - _TAIL, 0)) < 0 and text.find(_END) < 0:
                raise ValueError(f"it is cut off: there is no {_END.decode()}")


def _check_iges(path: Path) -> None:
    """Raise ValueError unless a file begins and ends like IGES: letters that count sections stand in column 73."""
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(path.stat().st_size - 4096, 0))
        tail = file.read()
    first = next(iter(head.splitlines()), b"")
    if len(first) < 73 or first[72:73] not in b"SC":
        raise ValueError("it does not begin like IGES, with S in column 73")
    if not any(line[72:73] == b"T" for line in tail.splitlines()):
        raise ValueError("it is cut off: there is no line with T in column 73")


def _unit(data: bytes, kind: Literal["step", "iges"]) -> float:
    """Metres in the unit of length that a file names; a millimetre when it names none that is known."""
    if kind == "iges":
        text = b"".join(line[:72] for line in data[:65536].splitlines() if line[72:73] == b"G").decode("latin-1")
        fields = text.split(",")
        number = fields[13].strip() if len(fields) > 13 else ""
        return _IGES_UNITS.get(int(number), MILLIMETRE) if number.isdigit() else MILLIMETRE
    if _INCH.search(data):
        return 0.0254
    found = _PREFIXED.search(data)
    return _PREFIXES.get(found.group(1), MILLIMETRE) if found else MILLIMETRE
