"""The same as generate_thumbnails, as a chain of two tasks: one prepares on the queue cpu, the next draws on gpu.

The scene goes from task to task in memory. The outputs are those of the job itself.

Parameters: those of generate_thumbnails: width, height, quality, sag, sag_ratio, angle, renderer, units.

Input: one 3D file, or a .zip or .tar.gz with one.
Outputs: iso.png, x.png, y.png, z.png, preview.glb, metadata.json.
Returns: {"thumbs": {"iso": "iso.png", ...}, "preview": {"file": "preview.glb", "size": BYTES}, "metadata": {...}}.

Example:
    pixyz process -n thumbnail_chained -i assembly.step -w
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixyz_worker.script import PiXYZSession, ProgramContext, chain, pixyz_execute, pixyz_schedule
from pixyz_worker.thumbnails import STEPS, VIEWS, Wishes, draw, hand_on, prepare, result, take_over


@pixyz_schedule(wait=True, timeout=3600)
def main(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Start the chain; the job lasts until it has ended, and takes its result."""
    # A task's own output folder is another one than this job's, where clients look.
    first = {"wishes": Wishes.of(params).plain(), "folder": pc.get_output_dir()}
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
    return result(folder, thumbs, params["metadata"])
