"""Take pictures of a 3D file from four sides, and make a light preview of it.

Parameters:
    width (whole number, default 512): pixels of each picture, from left to right.
    height (whole number): pixels from top to bottom; as many as width without it.
    quality (text, or 0 to 3, default "medium"): how closely triangles follow exact surfaces: "very_high" (0),
        "high" (1), "medium" (2) or "low" (3).
    sag (number): largest distance between triangles and surface, in millimetres; stronger than quality.
    sag_ratio (number): the same as a share of the diagonal of a part's box.
    angle (number): largest angle between triangles that meet, in degrees, at most 90.
    renderer ("auto", "vtk" or "embree", default "auto"): what draws; auto is VTK where the extra "render" is
        installed and works, else the ray caster.
    units ("mm", "cm", "m", "in" or "ft"): the unit of an input that names none.

Input: one 3D file, or a .zip or .tar.gz with one.
Outputs:
    iso.png, x.png, y.png, z.png: with a transparent background, y (or z, where the file stands on it) is up: from
        above the front and the right, from the front, from the right, and from above;
    preview.glb: repaired, one part for each material, at most 500,000 triangles;
    metadata.json: as generate_metadata makes it.
Returns: {"thumbs": {"iso": "iso.png", ...}, "preview": {"file": "preview.glb", "size": "WIDTHxHEIGHT", "bytes": BYTES},
    "metadata": {...}, "process_duration": SECONDS}; size is that of the pictures.

Example:
    pixyz process -n generate_thumbnails -i assembly.step -p '{"width": 256}' -w
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import PiXYZSession, ProgramContext
from pixyz_worker.thumbnails import STEPS, VIEWS, Wishes, draw, prepare, result


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Make the preview, the pictures and the metadata of the input."""
    began = time.time()
    wishes = Wishes.of(params)
    folder = Path(pc.get_output_dir())
    pc.progress_set_total(STEPS + len(VIEWS))
    with PiXYZSession(pc):
        root, metadata = prepare(pc.get_input_file(), folder, wishes, pc.progress_next)
        thumbs = draw(root, folder, wishes, pc.progress_next)
    return result(folder, thumbs, metadata, wishes, began)
