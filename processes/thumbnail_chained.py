"""The same as generate_thumbnails, as a chain of two tasks: one prepares on the queue cpu, the next draws on gpu.

The scene goes from task to task in memory. The outputs are those of the job itself.

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
Outputs: iso.png, x.png, y.png, z.png, preview.glb, metadata.json.
Returns: {"thumbs": {"iso": "iso.png", ...}, "preview": {"file": "preview.glb", "size": "WIDTHxHEIGHT", "bytes": BYTES},
    "metadata": {...}, "process_duration": SECONDS}; size is that of the pictures.

Example:
    pixyz process -n thumbnail_chained -i assembly.step -w
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import PiXYZSession, ProgramContext, chain, pixyz_execute, pixyz_schedule
from pixyz_worker.thumbnails import STEPS, VIEWS, Wishes, draw, hand_on, prepare, result, take_over


@pixyz_schedule(wait=True, timeout=3600)
def main(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start the chain; the job lasts until it has ended, and takes its result."""
    # A task's own output folder is another one than this job's, where clients look.
    first = {"wishes": Wishes.of(params).plain(), "folder": pc.get_output_dir(), "began": time.time()}
    return chain(
        pixyz_execute.s(first, pc.clone(entrypoint="load", raw=True)).set(queue="cpu"),
        pixyz_execute.s(pc=pc.clone(entrypoint="render", raw=True, compute_only=True)).set(queue="gpu"),
    ).apply_async()


def load(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Read, repair and tessellate the input; write preview.glb and metadata.json."""
    folder = Path(params["folder"])
    pc.progress_set_total(STEPS)
    with PiXYZSession(pc):
        wishes = Wishes.from_plain(params["wishes"])
        root, metadata = prepare(pc.get_input_file(), folder, wishes, pc.progress_next)
        return {**params, "metadata": metadata, "scene": hand_on(root, folder)}


def render(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Draw what load() has prepared."""
    folder = Path(params["folder"])
    pc.progress_set_total(len(VIEWS))
    with PiXYZSession(pc):
        wishes = Wishes.from_plain(params["wishes"])
        thumbs = draw(take_over(params["scene"]), folder, wishes, pc.progress_next)
    return result(folder, thumbs, params["metadata"], wishes, params["began"])
