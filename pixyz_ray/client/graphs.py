"""Graphs of tasks as a client sends them: the plan as JSON, each script once, and one input at most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_ray.client.form import Upload
from pixyz_ray.client.submission import Submission
from pixyz_worker.exception import InvalidBackendParameter

if TYPE_CHECKING:
    from pixyz_worker.pc import ProgramContext


def graph_submission(canvas: Any, input_file: Path | None) -> Submission:
    """Return the form of a composition.

    Raises:
        InvalidBackendParameter: it cannot be sent; the sentence says why.
    """
    # Late: the command line and most scripts send no graphs.
    from pixyz_worker.canvas import Canvas
    from pixyz_worker.plan import compile_plan
    from pixyz_worker.wire import plan_as_plain

    if not isinstance(canvas, Canvas):
        raise InvalidBackendParameter(
            f"run() takes a composition, such as chain(add.s(1, 2), scale.s(10)), not {type(canvas).__name__}; "
            "a function or a script goes with submit()"
        )
    scripts = _Scripts()
    plain = plan_as_plain(compile_plan(canvas), scripts.name_of)
    source = _input_of(plain["calls"], input_file)
    files = [("script", upload) for upload in scripts.uploads()]
    if source is not None:
        files.append(("file", Upload.of(source, "input")))
    return Submission(fields={"graph": json.dumps(plain, separators=(",", ":"))}, files=files)


class _Scripts:
    """Scripts of a graph, each by a file name that no other one of it has."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def name_of(self, context: ProgramContext) -> str:
        """Return the name by which the server knows a context's script."""
        given = context.get("script")
        if not given:
            raise InvalidBackendParameter("a context of the graph names no script; make it with from_local(SCRIPT)")
        path = str(given)
        if path not in self._names:
            self._names[path] = self._free_name(Path(path))
        return self._names[path]

    def uploads(self) -> list[Upload]:
        """Return the scripts as files to send."""
        return [Upload.of(Path(path), "script.py").named(name) for path, name in self._names.items()]

    def _free_name(self, path: Path) -> str:
        name, number = path.name, 1
        while name in self._taken:
            number += 1
            name = f"{path.stem}_{number}{path.suffix}"
        self._taken.add(name)
        return name


def _input_of(calls: Sequence[dict[str, Any]], input_file: Path | None) -> Path | None:
    """Return the input to send, and leave its name alone in the contexts: a path means nothing elsewhere.

    One that is given is for all tasks that have files, else that of the contexts is for those that name it.
    """
    contexts = [call["context"] for call in calls]
    named = {str(context["input_file"]) for context in contexts if context.get("input_file")}
    if input_file is None and len(named) > 1:
        raise InvalidBackendParameter(
            f"the tasks of the graph have {len(named)} different input files, and one can be sent: "
            "send an archive of them with input_file="
        )
    source = input_file or (Path(named.pop()) if named else None)
    for context in contexts:
        wanted = context.pop("input_file", None) or (input_file and not context.get("compute_only"))
        context.pop("input_dir", None)
        if isinstance(context.get("data"), str):
            # A path of this machine: the input_file says the same.
            del context["data"]
        if source is not None and wanted:
            context["input_file"] = source.name
    return source
