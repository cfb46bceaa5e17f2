"""Try the whole way of a job: params in, progress, log, a file in, a file out, a result.

Parameters:
    fail (text): end with an error that says this, to see how a failure looks.
    * (any): comes back in the result; params may be any JSON value.

Input: optional, any file; its name, size and SHA-256 come back.
Outputs: api_test.json with the same content as the result; none for a compute_only job.
Returns: {"output": "Hello World!", "params": ..., "input": {"name", "size", "sha256"} or null,
    "file": "api_test.json" or null}.

Example:
    pixyz process -n api_test -i any.file -p '{"a": 1}' -rw
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.script import ProgramContext

_FILE = "api_test.json"
_GREETING = "Hello World!"


def main(pc: ProgramContext, params: Any) -> dict[str, Any]:
    """Exercise what a script can do, and say what it saw."""
    pc.progress_set_total(3)
    pc.progress_next("Reading params")
    print(f"params: {json.dumps(params)}")
    if isinstance(params, dict) and params.get("fail") is not None:
        raise PixyzException(str(params["fail"]))

    pc.progress_next("Reading the input")
    given = pc["data"]  # an archive as it was sent, where input_file is a member
    seen = _seen(Path(given)) if given else None

    pc.progress_next("Writing the output")
    file = None if pc.is_compute_only() else _FILE
    result = {"output": _GREETING, "params": params, "input": seen, "file": file}
    if file is not None:
        Path(pc.get_output_dir(file)).write_text(json.dumps(result, indent=2), encoding="utf-8")
    return result


def _seen(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "size": path.stat().st_size, "sha256": digest}
