"""What a client sends to submit one job: a script, a process, or a call of a function, and how it is to be treated."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from pixyz_ray.client.form import Upload


class JobOptions(TypedDict, total=False):
    """How the platform treats a job; what is None or not there is up to the script, then to the platform."""

    priority: int | None
    """0 to 9; 9 goes first."""
    retries: int | None
    """How often it may be tried again after a crash, a time-out or a kill for memory."""
    retry_on: Sequence[str] | None
    """Classes of failure after which it is tried again."""
    memory_limit: int | None
    """Bytes that it may use."""
    gpu: Literal["require", "prefer"] | None
    """`require`: it waits for a GPU; `prefer`: it runs on CPU where there is none."""
    gpu_memory: int | str | None
    """Memory that it needs on a GPU, and may use at most: bytes, or a size such as `8GB`."""
    pools: Mapping[str, int] | None
    """Seats that it holds while it runs, by pool."""
    isolation: Literal["warm", "fresh"] | None
    """`fresh`: a worker process of its own for each attempt."""
    keep: bool | float | None
    """True: never removed; a number: seconds after its end."""
    strict: bool | None
    """True: refuse unknown parameters and misspelt settings, instead of a note in the job's details."""


NULL: Final = object()
"""`params` that are JSON's null; None stands for no params."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What goes into the form of a submission."""

    fields: Mapping[str, str]
    """Fields of text."""
    files: Sequence[tuple[str, Upload]]
    """Field and file of each upload."""


def merged_config(config: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given for a job, as keys of its config.

    Raises:
        TypeError: an option has a name that there is not.
    """
    for name in options.keys() - JobOptions.__annotations__.keys():
        raise TypeError(f"submit() got an unexpected keyword argument {name!r}")
    return {key: value for key, value in {**(config or {}), **options}.items() if value is not None}


def job_submission(
    script: str | os.PathLike[str] | bytes | None,
    process: str | None,
    input_file: str | os.PathLike[str] | None,
    params: Any,
    config: Mapping[str, Any],
) -> Submission:
    """Return the form of a job that runs a script, or a pre-built process by its name."""
    if (script is None) == (process is None):
        raise TypeError("submit() takes either a script or the name of a process")
    value = None if params is NULL else {} if params is None else params
    fields = {
        "process": process or "custom",
        "params": json.dumps(value),
        "config": json.dumps(config),
    }
    files = []
    if script is not None:
        files.append(("script", Upload.of(script, "script.py")))
    if input_file is not None:
        files.append(("file", Upload.of(input_file, "input")))
    return Submission(fields=fields, files=files)


def function_submission(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], config: Mapping[str, Any]
) -> Submission:
    """Return the form of one call of a function: the script made for it, and its arguments as params."""
    # Late: the command line sends no functions.
    from pixyz_worker.function import as_task

    task = as_task(function)
    script = task.script()
    fields = {
        "process": "custom",
        "params": json.dumps(task.params(args, kwargs)),
        "name": task.name,
        "config": json.dumps({**config, "entrypoint": script.entrypoint, "compute_only": True}),
    }
    return Submission(fields=fields, files=[("script", Upload.of(script.path, "script.py"))])
