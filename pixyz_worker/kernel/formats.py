"""The table of formats: what reads and writes each, what survives, and what it needs.

The table is data: it imports no 3D library. `python -m pixyz_worker.kernel.formats` prints docs/formats.md.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

from pixyz_worker.exception import UnsupportedFormat

Trait = Literal["geometry", "names", "colours", "textures", "hierarchy", "instances", "units", "points"]
_KERNEL = "pixyz_worker.kernel"
_SCENE: tuple[Trait, ...] = (
    "geometry",
    "names",
    "colours",
    "textures",
    "hierarchy",
    "instances",
    "units",
    "points",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One line of the table."""

    name: str
    """Its name, for people."""
    extensions: tuple[str, ...]
    """Lower case, without the dot; the first is the usual one."""
    reader: str | None = None
    """'module:function' that takes a path and gives a Scene; None when the format is not read."""
    writer: str | None = None
    """'module:function' that takes a Scene and a path; None when the format is not written."""
    survives: tuple[Trait, ...] = ("geometry",)
    """What a scene keeps on its way through this format."""
    packages: tuple[str, ...] = ()
    """Packages that it needs, as pip names them."""
    modules: tuple[str, ...] = ()
    """The modules of these packages, whose presence is checked before."""
    note: str = ""
    """What else there is to know."""

    def load_reader(self) -> Callable[[Path], Any]:
        """The function that reads this format; UnsupportedFormat when a package is missing."""
        return self._load(self.reader, "read")

    def load_writer(self) -> Callable[[Any, Path], None]:
        """The function that writes this format; UnsupportedFormat when a package is missing."""
        return self._load(self.writer, "written")

    def _load(self, target: str | None, verb: str) -> Callable[..., Any]:
        if target is None:
            raise UnsupportedFormat(f"{self.name} (.{self.extensions[0]}) cannot be {verb} here. {_offer(verb)}")
        if missing := [module for module in self.modules if importlib.util.find_spec(module) is None]:
            raise UnsupportedFormat(
                f"{self.name} (.{self.extensions[0]}) needs {', '.join(self.packages)}: {', '.join(missing)} is "
                f"not installed here. pip install {' '.join(self.packages)}"
            )
        module, _, function = target.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return loaded


_MESH: dict[str, Any] = {"packages": ("trimesh", "numpy", "pillow"), "modules": ("trimesh", "numpy", "PIL")}

TABLE: tuple[Format, ...] = (
    Format(
        name="STEP",
        extensions=("step", "stp"),
        reader=f"{_KERNEL}.step:read",
        survives=("geometry", "names", "colours", "hierarchy", "instances", "units"),
        packages=("cascadio",),
        modules=("cascadio",),
        note="Tessellated when read, 0.01 mm and 0.5 rad at most off the surface.",
    ),
    Format(
        name="GLB",
        extensions=("glb",),
        reader=f"{_KERNEL}.whole:read_glb",
        writer=f"{_KERNEL}.whole:write_glb",
        survives=_SCENE,
        note="Passed on byte for byte when the scene was not edited, animations and extensions included.",
    ),
    Format(
        name="glTF",
        extensions=("gltf",),
        reader=f"{_KERNEL}.whole:read_gltf",
        writer=f"{_KERNEL}.whole:write_gltf",
        survives=_SCENE,
        note="Written as JSON with its data in a .bin beside it; animations and extensions are kept.",
    ),
    Format(
        name="Scene container",
        extensions=("pxz",),
        reader=f"{_KERNEL}.pxz_container:read",
        writer=f"{_KERNEL}.pxz_container:write",
        survives=_SCENE,
        note="Ours, see below; Pixyz's own products cannot read it, and theirs needs the Pixyz SDK.",
    ),
    Format(
        name="Wavefront OBJ",
        extensions=("obj",),
        reader=f"{_KERNEL}.meshes:read_obj",
        writer=f"{_KERNEL}.meshes:write_obj",
        survives=("geometry", "names", "colours", "textures"),
        **_MESH,
        note="Materials and textures are files beside it.",
    ),
    Format(
        name="Stanford PLY",
        extensions=("ply",),
        reader=f"{_KERNEL}.meshes:read_ply",
        writer=f"{_KERNEL}.meshes:write_ply",
        survives=("geometry", "colours", "points"),
        **_MESH,
        note="One mesh; colours are stored at the vertices.",
    ),
    Format(
        name="STL",
        extensions=("stl",),
        reader=f"{_KERNEL}.meshes:read_stl",
        writer=f"{_KERNEL}.meshes:write_stl",
        **_MESH,
        note="One mesh. Read as text or binary, written as binary.",
    ),
    Format(
        name="OFF",
        extensions=("off",),
        reader=f"{_KERNEL}.meshes:read_off",
        writer=f"{_KERNEL}.meshes:write_off",
        **_MESH,
        note="One mesh.",
    ),
    Format(
        name="3MF",
        extensions=("3mf",),
        reader=f"{_KERNEL}.meshes:read_3mf",
        writer=f"{_KERNEL}.meshes:write_3mf",
        survives=("geometry", "names", "instances", "units"),
        packages=(*_MESH["packages"], "lxml", "networkx"),
        modules=(*_MESH["modules"], "lxml", "networkx"),
        note="Core specification, in millimetres; parts in separate files are not read.",
    ),
    Format(
        name="COLLADA",
        extensions=("dae",),
        reader=f"{_KERNEL}.meshes:read_dae",
        writer=f"{_KERNEL}.meshes:write_dae",
        survives=("geometry", "colours", "units"),
        packages=(*_MESH["packages"], "pycollada"),
        modules=(*_MESH["modules"], "collada"),
        note="Parts at their places; one colour for each.",
    ),
    Format(
        name="XYZ points",
        extensions=("xyz",),
        reader=f"{_KERNEL}.meshes:read_xyz",
        writer=f"{_KERNEL}.meshes:write_xyz",
        survives=("points", "colours"),
        **_MESH,
        note="One cloud of points; of meshes, their vertices are written.",
    ),
)

SDK_ONLY: dict[str, str] = {
    **dict.fromkeys(("catpart", "catproduct", "catshape", "cgr", "model", "session"), "CATIA"),
    **dict.fromkeys(("sldprt", "sldasm"), "SolidWorks"),
    **dict.fromkeys(("prt", "asm", "neu", "xas", "xpr"), "NX, Creo or Solid Edge"),
    **dict.fromkeys(("par", "psm", "pwd"), "Solid Edge"),
    **dict.fromkeys(("ipt", "iam"), "Inventor"),
    **dict.fromkeys(("x_t", "x_b", "xmt_txt", "xmt_bin", "p_t", "p_b"), "Parasolid"),
    **dict.fromkeys(("sat", "sab"), "ACIS"),
    **dict.fromkeys(("jt",), "JT"),
    **dict.fromkeys(("dwg", "rvt", "rfa", "nwd", "nwc"), "Autodesk"),
    **dict.fromkeys(("3dm",), "Rhino"),
    **dict.fromkeys(("vda", "csb", "wire", "plmxml", "prc", "u3d", "dgn", "skp", "pxm"), "a CAD or viewer format"),
}
"""Formats that only the Pixyz SDK reads, and whose they are."""

_BY_EXTENSION = {extension: entry for entry in TABLE for extension in entry.extensions}


def readable_extensions() -> frozenset[str]:
    """Extensions that importScene reads: lower case, without the dot."""
    return frozenset(extension for extension, entry in _BY_EXTENSION.items() if entry.reader)


def writable_extensions() -> frozenset[str]:
    """Extensions that exportScene writes: lower case, without the dot."""
    return frozenset(extension for extension, entry in _BY_EXTENSION.items() if entry.writer)


def find(path: str | PathLike[str]) -> Format:
    """The format of a path or of an extension: 'part.GLB', '.glb', 'glb'."""
    text = fspath(path)
    name = Path(text).name
    bare = isinstance(path, str) and name == text and "." not in text.lstrip(".")
    extension = (text.lstrip(".") if bare else Path(text).suffix[1:]).lower()
    if entry := _BY_EXTENSION.get(extension):
        return entry
    if not extension:
        raise UnsupportedFormat(f"{name or 'The path'} has no extension that says its format. {_offer('read')}")
    if owner := SDK_ONLY.get(extension):
        raise UnsupportedFormat(
            f"{name}: .{extension} ({owner}) needs the Pixyz SDK, not installed here. {_offer('read')}"
        )
    raise UnsupportedFormat(
        f"{name}: .{extension} is not a format that is known here. {_offer('read')} {_offer('written')}"
    )


def _offer(verb: str) -> str:
    return f"What can be {verb}: {_listed(readable_extensions() if verb == 'read' else writable_extensions())}."


def _listed(extensions: Iterable[str]) -> str:
    return ", ".join(sorted(extensions))


if __name__ == "__main__":
    from pixyz_worker.kernel.format_page import page

    print(page(), end="")
