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
from typing import Any, Literal, get_args

from pixyz_worker.exception import UnsupportedFormat
from pixyz_worker.kernel.options import ReadOptions

Trait = Literal[
    "geometry",
    "points",
    "names",
    "colours",
    "textures",
    "hierarchy",
    "instances",
    "units",
    "metadata",
    "visibility",
    "animations",
]
_ROOM = "pixyz_worker.kernel.formats"
_SCENE: tuple[Trait, ...] = get_args(Trait)


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One line of the table."""

    name: str
    """Its name, for people."""
    extensions: tuple[str, ...]
    """Lower case, without the dot; the first is the usual one."""
    reader: str | None = None
    """'module:function' that takes a path and ReadOptions and gives a Scene; None when the format is not read."""
    writer: str | None = None
    """'module:function' that takes a Scene and a path; None when the format is not written."""
    survives: tuple[Trait, ...] = ("geometry",)
    """What a scene keeps on its way through this format."""
    packages: tuple[str, ...] = ()
    """Packages that it needs of those that are always installed, as pip names them."""
    modules: tuple[str, ...] = ()
    """The modules of these packages, whose presence is checked before."""
    reader_extra: str | None = None
    """The extra of the project that reading needs, a key of EXTRAS."""
    writer_extra: str | None = None
    """The extra of the project that writing needs, a key of EXTRAS."""
    up: Literal["y", "z"] | None = None
    """The axis that points up in every file of this format; None where the file says so, or nobody."""
    exact: bool = False
    """Whether exact surfaces (BRep) are written as such; other formats get triangles."""
    note: str = ""
    """What else there is to know."""

    def load_reader(self) -> Callable[[Path, ReadOptions], Any]:
        """The function that reads this format; UnsupportedFormat when a package is missing."""
        return self._load(self.reader, "read", self.reader_extra)

    def load_writer(self) -> Callable[[Any, Path], None]:
        """The function that writes this format; UnsupportedFormat when a package is missing."""
        return self._load(self.writer, "written", self.writer_extra)

    def _load(self, target: str | None, verb: str, extra: str | None) -> Callable[..., Any]:
        what = f"{self.name} (.{self.extensions[0]})"
        if target is None:
            raise UnsupportedFormat(f"{what} cannot be {verb} here. {_offer(verb)}")
        if missing := [module for module in self.modules if not is_here(module)]:
            raise UnsupportedFormat(
                f"{what} needs {', '.join(self.packages)}: {', '.join(missing)} is not installed here. "
                f"pip install {' '.join(self.packages)}"
            )
        if extra is not None and (lacking := lack_of(extra)):
            raise UnsupportedFormat(f"{what} can be {verb} with the extra {extra!r}. {lacking}")
        module, _, function = target.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return loaded


def is_here(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def lack_of(extra: str) -> str | None:
    """Return a message about what an extra of the project lacks here, with the command that installs it.

    None when it can be used: its package is installed, and the system libraries that it needs are there.
    """
    from pixyz_worker.kernel import system_libraries

    if not is_here(EXTRAS[extra][1]):
        return f"The extra {extra!r} is not installed here. pip install 'pixyz-ray[{extra}]'"
    if missing := system_libraries.missing_for(extra):
        return f"{system_libraries.needs(EXTRA_USES[extra] + ' need', missing)}."
    return None


EXTRAS: dict[str, tuple[str, str]] = {
    "cad": ("cadquery-ocp-novtk", "OCP"),
    "usd": ("usd-core", "pxr"),
    "ifc": ("ifcopenshell", "ifcopenshell"),
    "render": ("vtk", "vtkmodules"),
}
"""For each extra of the project its package, as pip names it, and the module that shows that it is there."""
EXTRA_USES = {"cad": "Exact CAD surfaces", "render": "Pictures by VTK", "usd": "USD files", "ifc": "IFC files"}
"""What each extra is for."""

_TEXT: dict[str, Any] = {"packages": ("numpy", "pyarrow", "pillow"), "modules": ("numpy", "pyarrow", "PIL")}

TABLE: tuple[Format, ...] = (
    Format(
        name="STEP",
        extensions=("step", "stp", "stpz"),
        reader=f"{_ROOM}.cad.step:read_step",
        writer=f"{_ROOM}.cad.writers:write_step",
        survives=("geometry", "names", "colours", "hierarchy", "instances", "units", "metadata"),
        packages=("cascadio",),
        modules=("cascadio",),
        writer_extra="cad",
        up="z",
        exact=True,
        note="Exact surfaces are kept with the extra `cad`; without it, triangles. A mesh is written as triangles.",
    ),
    Format(
        name="IGES",
        extensions=("iges", "igs"),
        reader=f"{_ROOM}.cad.step:read_iges",
        survives=("geometry", "names", "colours", "units"),
        packages=("cascadio",),
        modules=("cascadio",),
        up="z",
        note="Exact surfaces are kept with the extra `cad`.",
    ),
    Format(
        name="BRep",
        extensions=("brep", "brp"),
        reader=f"{_ROOM}.cad.readers:read_brep",
        writer=f"{_ROOM}.cad.writers:write_brep",
        survives=("geometry",),
        reader_extra="cad",
        writer_extra="cad",
        up="z",
        exact=True,
        note="OpenCASCADE's own; one shape, in millimetres.",
    ),
    Format(
        name="GLB",
        extensions=("glb",),
        reader=f"{_ROOM}.gltf.files:read_glb",
        writer=f"{_ROOM}.gltf.files:write_glb",
        survives=_SCENE,
        up="y",
        note="Passed on byte for byte when the scene was not edited, animations and extensions included.",
    ),
    Format(
        name="glTF",
        extensions=("gltf",),
        reader=f"{_ROOM}.gltf.files:read_gltf",
        writer=f"{_ROOM}.gltf.files:write_gltf",
        survives=_SCENE,
        up="y",
        note="Written as JSON with its data in a .bin beside it; animations and extensions are kept.",
    ),
    Format(
        name="Scene container",
        extensions=("pxz",),
        reader=f"{_ROOM}.pxz.container:read",
        writer=f"{_ROOM}.pxz.container:write",
        survives=_SCENE,
        packages=("pyarrow",),
        modules=("pyarrow",),
        exact=True,
        note="Ours, see below; Pixyz's own products cannot read it, and theirs needs the Pixyz SDK.",
    ),
    Format(
        name="FBX",
        extensions=("fbx",),
        reader=f"{_ROOM}.assimp.reader:read_fbx",
        writer=f"{_ROOM}.fbx.writer:write",
        survives=("geometry", "names", "colours", "textures", "hierarchy", "instances", "units"),
        packages=("assimp-py",),
        modules=("assimp_py",),
        note="Written as binary FBX 7.4. Skins and animations are not read.",
    ),
    Format(
        name="Wavefront OBJ",
        extensions=("obj",),
        reader=f"{_ROOM}.mesh.obj:read",
        writer=f"{_ROOM}.mesh.obj:write",
        survives=("geometry", "names", "colours", "textures", "units"),
        **_TEXT,
        note="Materials and textures are files beside it; each object is a part at its place. Units are a comment.",
    ),
    Format(
        name="Stanford PLY",
        extensions=("ply",),
        reader=f"{_ROOM}.mesh.ply:read",
        writer=f"{_ROOM}.mesh.ply:write",
        survives=("geometry", "colours", "points", "units"),
        **_TEXT,
        note="One mesh; colours of materials and textures are stored at the vertices. Units are a comment.",
    ),
    Format(
        name="STL",
        extensions=("stl",),
        reader=f"{_ROOM}.mesh.stl:read",
        writer=f"{_ROOM}.mesh.stl:write",
        survives=("geometry", "units"),
        **_TEXT,
        note="In millimetres. Read as text or binary, written as one binary mesh.",
    ),
    Format(
        name="OFF",
        extensions=("off",),
        reader=f"{_ROOM}.mesh.off:read",
        writer=f"{_ROOM}.mesh.off:write",
        survives=("geometry", "colours", "units"),
        **_TEXT,
        note="One mesh; with colours it is written as COFF. Units are a comment.",
    ),
    Format(
        name="3MF",
        extensions=("3mf",),
        reader=f"{_ROOM}.threemf.reader:read",
        writer=f"{_ROOM}.threemf.writer:write",
        survives=("geometry", "names", "colours", "textures", "hierarchy", "instances", "units"),
        packages=("lib3mf",),
        modules=("lib3mf",),
        up="z",
        note="In millimetres, with the production and materials extensions.",
    ),
    Format(
        name="COLLADA",
        extensions=("dae",),
        reader=f"{_ROOM}.collada.reader:read",
        writer=f"{_ROOM}.collada.writer:write",
        survives=("geometry", "names", "colours", "textures", "hierarchy", "instances", "units"),
        packages=("pycollada",),
        modules=("collada",),
        note="Materials without metalness.",
    ),
    Format(
        name="3D Studio",
        extensions=("3ds",),
        reader=f"{_ROOM}.assimp.reader:read_3ds",
        survives=("geometry", "names", "colours"),
        packages=("assimp-py",),
        modules=("assimp_py",),
        up="z",
        note="Parts at their places.",
    ),
    Format(
        name="X3D",
        extensions=("x3d",),
        reader=f"{_ROOM}.x3d.reader:read",
        survives=("geometry", "names", "colours", "hierarchy", "instances", "units"),
        packages=("lxml", "trimesh"),
        modules=("lxml", "trimesh"),
        up="y",
        note="Written as XML. Names are those of DEF; inlined files and animations are left out.",
    ),
    Format(
        name="DXF",
        extensions=("dxf",),
        reader=f"{_ROOM}.assimp.reader:read_dxf",
        survives=("geometry", "names"),
        packages=("assimp-py",),
        modules=("assimp_py",),
        up="z",
        note="Its faces and polyface meshes; drawings of lines have none.",
    ),
    Format(
        name="3DXML",
        extensions=("3dxml",),
        reader=f"{_ROOM}.threedxml:read",
        survives=("geometry", "names", "colours", "hierarchy", "instances", "units"),
        packages=("lxml",),
        modules=("lxml",),
        up="z",
        note="With triangles as XML; the binary kind needs the Pixyz SDK.",
    ),
    Format(
        name="USD",
        extensions=("usd", "usda", "usdc", "usdz"),
        reader=f"{_ROOM}.usd.reader:read",
        writer=f"{_ROOM}.usd.writer:write",
        survives=(
            "geometry",
            "names",
            "colours",
            "textures",
            "hierarchy",
            "instances",
            "units",
            "points",
            "metadata",
            "visibility",
        ),
        reader_extra="usd",
        writer_extra="usd",
        note="Only files in its own folder, or in the package, are followed; animations are read, not written.",
    ),
    Format(
        name="IFC",
        extensions=("ifc",),
        reader=f"{_ROOM}.ifc.reader:read",
        survives=("geometry", "names", "colours", "hierarchy", "instances", "units", "metadata"),
        reader_extra="ifc",
        up="z",
        note="Project, site, building and storeys become the tree; property sets become metadata.",
    ),
    Format(
        name="XYZ points",
        extensions=("xyz",),
        reader=f"{_ROOM}.mesh.xyz:read",
        writer=f"{_ROOM}.mesh.xyz:write",
        survives=("points", "colours", "units"),
        **_TEXT,
        note="One cloud of points; of meshes, their vertices are written. Units are a comment.",
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


def find(path: str | PathLike[str], *, to: Literal["read", "written"] = "read") -> Format:
    """The format of a path or of an extension: 'part.GLB', '.glb', 'glb'.

    Raises UnsupportedFormat for any other one; `to` is what was going to be done, and decides what is offered instead.
    """
    text = fspath(path)
    name = Path(text).name
    bare = isinstance(path, str) and name == text and "." not in text.lstrip(".")
    extension = (text.lstrip(".") if bare else Path(text).suffix[1:]).lower()
    if entry := _BY_EXTENSION.get(extension):
        return entry
    if not extension:
        raise UnsupportedFormat(f"{name or 'The path'} has no extension that says its format. {_offer(to)}")
    file = "" if bare else f"{name}: "
    if owner := SDK_ONLY.get(extension):
        raise UnsupportedFormat(f"{file}.{extension} ({owner}) needs the Pixyz SDK, not installed here. {_offer(to)}")
    raise UnsupportedFormat(f"{file}.{extension} is not a format that is known here. {_offer(to)}")


def _offer(verb: str) -> str:
    return f"What can be {verb}: {_listed(readable_extensions() if verb == 'read' else writable_extensions())}."


def _listed(extensions: Iterable[str]) -> str:
    return ", ".join(sorted(extensions))
