"""Convert a 3D file: read the input in any known format, write it in another.

Parameters:
    extension (text, default "pxz"): format to write, as a file extension: "glb", "obj", "stl", ...
    filename (text, default "output"): name of the output file, without its extension.

Input: one 3D file, or a .zip or .tar.gz with one. Of an archive, the file that `root_file` in the job's
config names is converted, else the first 3D file in it.
Outputs: FILENAME.EXTENSION, and what belongs beside it (textures, materials) for formats of several files.
Returns: {"output": "FILENAME.EXTENSION"}.

Without the Pixyz SDK, a .pxz is the platform's own scene container, which Pixyz's products cannot read.

Example:
    pixyz process -n convert_file -i assembly.step -p '{"extension": "glb"}' -w
"""

from __future__ import annotations

from typing import Any

from pixyz_worker import io
from pixyz_worker.exception import PixyzException
from pixyz_worker.script import PiXYZSession, ProgramContext


def main(pc: ProgramContext, params: dict[str, Any]) -> dict[str, str]:
    """Convert the input to `filename`.`extension`."""
    extension = _extension(params.get("extension", "pxz"))
    output = f"{_plain_name(params.get('filename', 'output'))}.{extension}"
    pc.progress_set_total(3)
    with PiXYZSession(pc):
        source = pc.get_input_file()
        pc.progress_next(f"Importing {source.rpartition('/')[2]}")
        root = io.importScene(source)
        pc.progress_next(f"Exporting {output}")
        io.exportScene(pc.get_output_dir(output), root)
    pc.progress_next("Conversion complete")
    return {"output": output}


def _extension(given: Any) -> str:
    """The extension in lower case, without a dot."""
    if not isinstance(given, str) or not given.strip(". ").isalnum():
        from pixyz_worker.kernel.formats import writable_extensions

        known = ", ".join(sorted(writable_extensions()))
        raise PixyzException(f"extension must be one of {known}; not {given!r}")
    return given.strip(". ").lower()


def _plain_name(given: Any) -> str:
    """The name as given, once it is sure to be that of a file right in the output folder."""
    plain = isinstance(given, str) and given.strip() and not given.startswith(".")
    if not plain or any(mark in given for mark in "/\\:\0"):
        raise PixyzException(f"filename must be a plain name without a folder, not {given!r}")
    return str(given)
