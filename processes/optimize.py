"""Make a 3D file light: repair, merge, remove what nobody sees, decimate, and write levels of detail.

Parameters:
    extension (text, default "glb"): format to write, as a file extension.
    repair (true or false, default true): repair surfaces and triangles: sew, weld, remove what is degenerate.
    merge ("material", "all" or "none", default "material"): one part for each material, one part, or as it is.
        Hidden parts are merged for themselves.
    remove_occluded ("none", "parts" or "triangles", default "none"): what cannot be seen from anywhere outside goes.
    smallest (number): parts whose box has a diagonal below this go, in millimetres.
    decimate (number): triangles that are left at the first level, such as 50000, or a share of them below 1.
    lods (list of shares, default [1]): a file for each level of detail, with this share of the triangles of the first:
        [1, 0.5, 0.25] makes three.
    quality (text, or 0 to 3, default "medium"): how closely triangles follow exact surfaces, as for convert_file.
    sag (number): largest distance between triangles and surface, in millimetres; stronger than quality.
    sag_ratio (number): the same as a share of the diagonal of a part's box.
    angle (number): largest angle between triangles that meet, in degrees, at most 90.
    units ("mm", "cm", "m", "in" or "ft"): the unit of an input that names none.

Input: one 3D file, or a .zip or .tar.gz with one.
Outputs: lod0.EXTENSION, lod1.EXTENSION, ... and optimize.json, with what is returned.
Returns: {"before": FIGURES, "after": FIGURES, "lods": [{"file", "size", "share", "triangles"}, ...], "seconds": ...}.
FIGURES are parts, triangles, vertices, materials, open_edges, non_manifold_edges; before is after tessellation, and
has the size of the input in bytes too.

Example:
    pixyz process -n optimize -i assembly.step -p '{"decimate": 0.5, "lods": [1, 0.5, 0.2]}' -w
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pixyz_worker import io
from pixyz_worker.parameters import QUALITIES, UNITS, Parameters
from pixyz_worker.preparation import check_writable, decimated, imported, merged, pxz, repaired, tessellated
from pixyz_worker.script import PiXYZSession, ProgramContext

_LEVELS = {"parts": 0, "triangles": 2}


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Optimise the input into lod0, lod1, ... and say what became of it."""
    began = time.monotonic()
    wanted = _wanted(params)
    report = Path(pc.get_output_dir("optimize.json"))
    pc.progress_set_total(4 + len(wanted["lods"]))
    with PiXYZSession(pc):
        source = pc.get_input_file()
        pc.progress_next(f"Importing {Path(source).name}")
        fineness = wanted["fineness"]
        root = imported(source, fineness=fineness, unit_m=wanted["unit_m"])
        tessellated(root, fineness)
        before = {**_figures(), "size": Path(source).stat().st_size}
        pc.progress_next("Repairing")
        if wanted["repair"]:
            repaired(root, fineness)
        pc.progress_next("Removing and merging")
        _reduce(wanted)
        pc.progress_next("Decimating")
        if wanted["decimate"] is not None:
            decimated(wanted["decimate"])
        after = _figures()
        lods = _levels(pc, wanted)
    seconds = round(time.monotonic() - began, 3)
    result = {"before": before, "after": after, "lods": lods, "seconds": seconds}
    report.write_text(json.dumps(result, indent=2), encoding="utf-8")
    return result


def _wanted(params: Any) -> dict[str, Any]:
    given = Parameters(params)
    unit = given.choice("units", tuple(UNITS), None)
    wanted: dict[str, Any] = {
        "extension": given.extension("extension", "glb"),
        "repair": given.flag("repair", True),
        "merge": given.choice("merge", ("material", "all", "none"), "material"),
        "remove_occluded": given.choice("remove_occluded", ("none", *_LEVELS), "none"),
        "smallest": given.number("smallest", None),
        "decimate": given.decimation("decimate"),
        "lods": given.shares("lods", [1.0]),
        "fineness": given.fineness(QUALITIES["medium"]),
        "unit_m": None if unit is None else UNITS[unit],
    }
    given.say_unknown()
    check_writable(wanted["extension"])
    return wanted


def _reduce(wanted: dict[str, Any]) -> None:
    algo = pxz().algo
    if wanted["smallest"] is not None:
        algo.deleteSmallParts([], wanted["smallest"])
    if wanted["remove_occluded"] != "none":
        algo.removeOccludedGeometries([], _LEVELS[wanted["remove_occluded"]])
    if wanted["merge"] == "material":
        merged(hidden=2)
    elif wanted["merge"] == "all":
        pxz().scene.mergePartOccurrences([])


def _levels(pc: ProgramContext, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Write the levels, each decimated from the one before it."""
    scene = pxz().scene
    first = scene.getPolygonCount([])
    lods = []
    for number, share in enumerate(wanted["lods"]):
        name = f"lod{number}.{wanted['extension']}"
        pc.progress_next(f"Writing {name}")
        if share < 1:
            decimated(["triangleCount", max(1, round(first * share))])
        path = Path(pc.get_output_dir(name))
        io.exportScene(path)
        lods.append({"file": name, "size": path.stat().st_size, "share": share, "triangles": scene.getPolygonCount([])})
    return lods


def _figures() -> dict[str, Any]:
    package = pxz()
    mesh = package.scene.getTessellationInfos()
    return {
        "parts": mesh["totalPartCount"],
        "triangles": mesh["totalPolygonCount"],
        "vertices": mesh["totalVertexCount"],
        "materials": len(package.material.getAllMaterials()),
        "open_edges": mesh["boundaryEdgeCount"],
        "non_manifold_edges": mesh["nonManifoldEdgeCount"],
    }
