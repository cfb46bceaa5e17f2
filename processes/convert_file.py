"""Convert a 3D file: read the input in any known format, write it in another.

Parameters:
    extension (text, default "pxz"): format to write, as a file extension: "glb", "obj", "step", ...
    filename (text, default "output"): name of the output file, without its extension.
    quality (text, or 0 to 3): how closely triangles follow exact surfaces (STEP, IGES, ...): "very_high" (0.01 mm or
        0.0001 of a part's diagonal, whatever is less), "high" (0.1 mm, 0.0002), "medium" (0.2 mm, 0.0003), "low"
        (1 mm, 0.001). Without it 0.01 mm for parts up to 50 mm, 0.1 mm from 500 mm on, and 28.6 degrees.
    sag (number): largest distance between triangles and surface, in millimetres.
    sag_ratio (number): the same as a share of the diagonal of a part's box.
    angle (number): largest angle between triangles that meet, in degrees, at most 90.
    decimate (number): triangles that are left, such as 50000, or a share of them below 1, such as 0.25.
    up_axis ("y" or "z"): the axis on which the output stands. Without it, that of the format, else of the input.
    units ("mm", "cm", "m", "in" or "ft"): the unit of an input that names none. Without it, as docs/formats.md says.
    repair (true or false, default false): repair surfaces and triangles: sew, weld, remove what is degenerate.

Input: one 3D file, or a .zip or .tar.gz with one. Of an archive, the file that `root_file` in the job's
config names is converted, else the first 3D file in it.
Outputs: FILENAME.EXTENSION, and what belongs beside it (textures, materials) for formats of several files.
Returns: {"output": "FILENAME.EXTENSION", "process_duration": SECONDS}.

Without the Pixyz SDK, a .pxz is the platform's own scene container, which Pixyz's products cannot read.

Example:
    pixyz process -n convert_file -i assembly.step -p '{"extension": "glb", "quality": "medium"}' -w
"""

from __future__ import annotations

import time
from typing import Any

from pixyz_worker import io
from pixyz_worker.parameters import UNITS, Fineness, Parameters
from pixyz_worker.preparation import check_writable, decimated, imported, repaired, stand, tessellated
from pixyz_worker.script import PiXYZSession, ProgramContext

_DEFAULT = Fineness(sag_mm=0.01, sag_ratio=-1, angle_deg=28.6)


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, Any]:
    """Convert the input to `filename`.`extension`."""
    began = time.monotonic()
    given = Parameters(params)
    extension = given.extension("extension", "pxz")
    output = f"{given.file_name('filename', 'output')}.{extension}"
    fineness = given.fineness(None)
    target = given.decimation("decimate")
    axis = given.choice("up_axis", ("y", "z"), None)
    unit = given.choice("units", tuple(UNITS), None)
    repair = given.flag("repair", False)
    given.say_unknown()
    check_writable(extension)
    path = pc.get_output_dir(output)
    changes = repair or target is not None
    pc.progress_set_total(4 if changes else 3)
    with PiXYZSession(pc):
        source = pc.get_input_file()
        pc.progress_next(f"Importing {source.rpartition('/')[2]}")
        root = imported(source, fineness=fineness, unit_m=None if unit is None else UNITS[unit])
        if changes:
            pc.progress_next(" and ".join(["repairing"] * repair + ["decimating"] * (target is not None)).capitalize())
        if repair:
            repaired(root, fineness or _DEFAULT)
        elif fineness is not None or target is not None:
            tessellated(root, fineness or _DEFAULT)
        if target is not None:
            decimated(target)
        if axis is not None:
            stand(root, axis, extension)
        pc.progress_next(f"Exporting {output}")
        io.exportScene(path, root)
    pc.progress_next("Conversion complete")
    return {"output": output, "process_duration": time.monotonic() - began}
