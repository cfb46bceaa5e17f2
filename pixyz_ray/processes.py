"""Pre-built processes: scripts in PROCESS_PATH, their documentation, and the parameters that they declare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixyz_ray.settings import Settings
from pixyz_worker.declaration import ANY, declared_parameters
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.loader import ScriptInfo, inspect_source
from pixyz_worker.nearest import suggestion

_MAX_NAMED = 20
"""Unknown parameters that get a note each."""


def process_names(settings: Settings) -> list[str]:
    """Return the names of the pre-built processes, sorted."""
    folder = settings.process_path
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__") and path.is_file())


def process_source(name: str, settings: Settings) -> tuple[str, bytes]:
    """Return file name and content of a pre-built process.

    Raises:
        InvalidBackendParameter: there is none of that name; the message lists those that exist.
    """
    names = process_names(settings)
    # Only a name of the list ever becomes a path.
    if name not in names:
        raise InvalidBackendParameter(f"There is no process {name!r}. Processes: {', '.join(names) or 'none'}.")
    path: Path = settings.process_path / f"{name}.py"
    with path.open("rb") as file:
        source = file.read(settings.max_script_bytes + 1)
    if len(source) > settings.max_script_bytes:
        raise InvalidBackendParameter(
            f"Process {name!r} takes more than {settings.max_script_bytes} bytes. "
            "Ask the operator to raise MAX_SCRIPT_BYTES."
        )
    return path.name, source


def process_help(
    name: str, settings: Settings, inspect: Callable[[bytes, str], ScriptInfo] = inspect_source
) -> dict[str, Any]:
    """Return the documentation of a pre-built process, and its parameters; null where it declares none.

    The documentation is its docstring, or that of its `main`.

    Args:
        name: the process.
        settings: where the processes are.
        inspect: reads what a script declares.
    """
    file_name, source = process_source(name, settings)
    doc = inspect(source, file_name).doc
    declared = declared_parameters(doc)
    return {
        "doc": f"Process '{name}' documentation:\n\n{doc or 'This process has no documentation.'}",
        "parameters": None if declared is None else [asdict(one) for one in declared],
    }


def parameter_notes(process: str, info: ScriptInfo, params: Any, *, strict: bool) -> tuple[str, ...]:
    """Return a note for each of the params that a process does not declare.

    Args:
        process: its name.
        info: what its source declares.
        params: those of the job.
        strict: whether an unknown parameter is refused.

    Raises:
        InvalidBackendParameter: there is an unknown parameter, and `strict` is set.
    """
    declared = declared_parameters(info.doc)
    if declared is None or not isinstance(params, dict):
        return ()
    known = [one.name for one in declared]
    unknown = [] if ANY in known else [name for name in params if name not in known]
    if not unknown:
        return ()
    listed = f"Parameters: {', '.join(known) or 'none'}."
    problems = [f"{name[:100]!r} is not a parameter of {process}.{suggestion(name, known)}" for name in unknown]
    if strict:
        raise InvalidBackendParameter(f"{' '.join(problems[:_MAX_NAMED])} {listed} With 'strict', it is refused.")
    notes = [f"{problem} It is ignored. {listed}" for problem in problems[:_MAX_NAMED]]
    more = len(problems) - _MAX_NAMED
    return (*notes, f"{more} more unknown parameters are ignored.") if more > 0 else tuple(notes)
