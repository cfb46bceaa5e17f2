"""STEP through OpenCASCADE (cascadio), tessellated into a GLB in metres."""

from __future__ import annotations

from pathlib import Path

from pixyz_worker.kernel import gltf
from pixyz_worker.kernel.scene import Scene

MILLIMETRE = 0.001
_MARK, _BYTE_ORDER_MARK = b"ISO-10303-21", b"\xef\xbb\xbf"


def read(path: Path) -> Scene:
    """Read and tessellate a STEP file; names, colours, hierarchy and instances are kept."""
    data = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    if _MARK not in data[:1024]:
        raise ValueError(f"it does not begin with {_MARK.decode()}")
    import cascadio

    glb = cascadio.load(data, file_type="step")
    if not glb:
        raise ValueError("OpenCASCADE finds no shape in it, or its text is damaged; its own words stand above")
    return Scene(name=path.stem, unit_m=MILLIMETRE, glb=tidy(glb))


def tidy(glb: bytes) -> bytes:
    """Make instances share their mesh again, and say that plain colours are not metal.

    OpenCASCADE repeats a mesh for each instance (its data it writes once), and leaves the metalness of a
    material open, which in glTF means pure metal: nearly black in most viewers. Triangles, names, colours
    and transforms stay as they are.
    """
    document = gltf.split(glb)
    tree = gltf.share_meshes(document.tree)
    for material in tree.get("materials", []):
        material.setdefault("pbrMetallicRoughness", {}).setdefault("metallicFactor", 0.0)
    return gltf.join(gltf.Document(tree=tree, binary=document.binary))
