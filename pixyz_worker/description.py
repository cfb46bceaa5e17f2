"""What there is to know about a scene: the figures of the process generate_metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixyz_worker.console import say
from pixyz_worker.kernel import sdk
from pixyz_worker.preparation import diagonal_mm, pxz

_CAD_FORMATS = frozenset({"STEP", "IGES", "BRep"})


def described(root: Any, source: str | Path) -> dict[str, Any]:
    """The figures of a root that was read from a file, as JSON; lengths are millimetres.

    Call it after tessellation, and before anything is merged.
    """
    return {**_size(root), **_geometry(root, source), **_appearance(), **_components(), **_source(root)}


def _size(root: Any) -> dict[str, Any]:
    box = pxz().scene.getAABB([root])
    low, high = ([_length(corner.x), _length(corner.y), _length(corner.z)] for corner in (box.low, box.high))
    return {
        "aabb": str(_length(diagonal_mm(root))),
        "aabb_low": low,
        "aabb_high": high,
        "aabb_size": [_length(above - below) for below, above in zip(low, high, strict=True)],
    }


def _length(millimetres: float) -> float:
    """A length without the digits that coordinates of 32 bits do not have."""
    return float(f"{float(millimetres):.7g}")


def _geometry(root: Any, source: str | Path) -> dict[str, Any]:
    scene = pxz().scene
    mesh = scene.getTessellationInfos(root)
    parts = scene.getPartOccurrences(root)
    return {
        "part_count": len(parts),
        "instance_count": len(parts),
        "unique_part_count": mesh["partCount"],
        **_brep(source),
        "mesh_boundary": mesh["boundaryCount"],
        "mesh_edge_count": mesh["edgeCount"],
        "mesh_vertex_count": mesh["vertexCount"],
        "mesh_non_manifold_edge_count": mesh["nonManifoldEdgeCount"],
        "polygon_count": scene.getPolygonCount([root]),
        "triangle_count": mesh["totalPolygonCount"],
        "vertex_count": mesh["totalVertexCount"],
    }


def _brep(source: str | Path) -> dict[str, Any]:
    """Figures of exact surfaces; None where the file has some that nothing here can measure."""
    names = {"brep_boundary": "boundaryCount", "brep_body_count": "bodyCount", "brep_face_count": "faceCount"}
    if sdk.genuine() is None:
        from pixyz_worker.kernel import formats

        if formats.find(Path(source).name).name in _CAD_FORMATS and (lacking := formats.lack_of("cad")):
            say(f"Figures of exact surfaces are unknown. {lacking}")
            return dict.fromkeys(names)
    infos = pxz().scene.getBRepInfos()
    return {key: infos.get(name) for key, name in names.items()}


def _appearance() -> dict[str, Any]:
    package = pxz()
    images = getattr(package.material, "getAllImages", None)
    return {
        "material_count": len(package.material.getAllMaterials()),
        "texture_count": None if images is None else len(images()),
        "animation_count": len(package.scene.listAnimations()),
        "variant_count": len(package.scene.listVariants()),
    }


def _components() -> dict[str, Any]:
    package = pxz()
    scene, kinds = package.scene, package.scene.ComponentType
    pmi, metadata = scene.listComponent(kinds.PMI), scene.listComponent(kinds.Metadata)
    groups = [group for component in pmi for group in scene.getAnnotationGroups(component)]
    return {
        "pmi_component_count": len(pmi),
        "annotation_group_count": len(groups),
        "annotation_count": sum(len(scene.getAnnotations(group)) for group in groups),
        "metadata_component_count": len(metadata),
        "metadata_property_count": sum(len(package.core.listProperties(component)) for component in metadata),
    }


def _source(root: Any) -> dict[str, Any]:
    """The unit and the axis of the file, None where it does not say; the SDK's scenes are in millimetres, on y."""
    if sdk.genuine() is not None:
        return {"units": "mm", "up_axis": "y"}
    from pixyz_worker.kernel.pxz import selection
    from pixyz_worker.parameters import UNITS

    scene = selection.one(root).owner()
    if scene is None:
        return {"units": None, "up_axis": None}
    known = {length: name for name, length in UNITS.items()}
    unit = None if scene.unit_m is None else known.get(scene.unit_m, f"{scene.unit_m:g} m")
    return {"units": unit, "up_axis": scene.up}
