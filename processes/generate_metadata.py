"""Describe a 3D file: its size, and how much of everything is in it.

Parameters:
    quality (text, or 0 to 3, default "medium"): how closely exact surfaces are tessellated before triangles are
        counted: "very_high", "high", "medium" or "low".
    sag (number): largest distance between triangles and surface, in millimetres; stronger than quality.
    sag_ratio (number): the same as a share of the diagonal of a part's box.
    angle (number): largest angle between triangles that meet, in degrees, at most 90.
    units ("mm", "cm", "m", "in" or "ft"): the unit of an input that names none.

Input: one 3D file, or a .zip or .tar.gz with one.
Outputs: metadata.json, with what is returned as "metadata".
Returns: {"metadata": {...}, "process_duration": SECONDS}; metadata has these keys, with lengths in millimetres:
    aabb: diagonal of the box around all, as text; aabb_low, aabb_high, aabb_size: its corners and sides, as lists;
    part_count, instance_count: parts that are shown, each instance; unique_part_count: different parts;
    brep_boundary, brep_body_count, brep_face_count: loops of open edges, bodies and faces of exact surfaces; null
        where the file has some and the extra "cad" is not installed;
    mesh_boundary, mesh_edge_count, mesh_vertex_count, mesh_non_manifold_edge_count: of the triangles of different
        parts, where mesh_boundary counts loops of open edges;
    polygon_count, triangle_count, vertex_count: with every instance;
    material_count, texture_count, animation_count, variant_count;
    pmi_component_count, annotation_group_count, annotation_count, metadata_component_count,
    metadata_property_count;
    units, up_axis: those of the file, null where it does not say.

Example:
    pixyz process -n generate_metadata -i assembly.step -rw
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pixyz_worker.description import described
from pixyz_worker.parameters import QUALITIES, UNITS, Parameters
from pixyz_worker.preparation import imported, tessellated
from pixyz_worker.script import PiXYZSession, ProgramContext


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Describe the input in metadata.json and in the result."""
    began = time.monotonic()
    given = Parameters(params)
    fineness = given.fineness(QUALITIES["medium"]) or QUALITIES["medium"]
    unit = given.choice("units", tuple(UNITS), None)
    given.say_unknown()
    pc.progress_set_total(3)
    with PiXYZSession(pc):
        source = pc.get_input_file()
        pc.progress_next(f"Importing {Path(source).name}")
        root = imported(source, fineness=fineness, unit_m=None if unit is None else UNITS[unit])
        pc.progress_next("Tessellating")
        tessellated(root, fineness)
        pc.progress_next("Counting")
        metadata = described(root, source)
    if not pc.is_compute_only():
        Path(pc.get_output_dir("metadata.json")).write_text(json.dumps(metadata, indent=2), encoding="utf-8")
    return {"metadata": metadata, "process_duration": time.monotonic() - began}
