"""From what a caller asks to a job: texts checked, configuration put together, each mistake told in a sentence."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.jobs import Job
from pixyz_ray.policy import POLICY_KEYS, Policy, policy_of
from pixyz_ray.queues import find_queue
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript
from pixyz_worker.loader import ScriptInfo, inspect_source

_log = logging.getLogger(__name__)

DEFAULT_TIME_LIMIT_S = 3600.0
"""What the contract calls the server's default; a queue's own limit may be shorter."""

_NOT_THE_CALLERS = frozenset({"script", "data", "shadow", "uuid"})
_NOT_THE_SCRIPTS = POLICY_KEYS | {"entrypoint", "queue", "time_limit"}
_MAX_ALIAS_CHARS = 200
_MAX_DEPTH = 200
_MAX_TIME_LIMIT_S = 30 * 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How a job is to run, after defaults, schedule and caller have had their say."""

    entrypoint: str
    """Function to call."""
    queue: str
    """Queue to run on."""
    time_limit: float
    """Seconds for one attempt."""
    wait: bool
    """Whether the handle that the entrypoint returns is waited for."""
    wait_timeout: float | None
    """Seconds for that; None for no limit of its own."""
    policy: Policy
    """How it is treated among others."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What goes on to the context: root_file, compute_only, raw, and whatever else the caller set."""
    notes: tuple[str, ...] = ()
    """What was done differently from what was asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The texts and files of one submission, as they arrived."""

    process: str = "custom"
    """Pre-built process, or `custom`."""
    script_name: str | None = None
    """File name of the uploaded script."""
    script: bytes | None = None
    """Its content."""
    input_file: str | None = None
    """File name of the uploaded input; its content is on disk already."""
    params: str = ""
    """JSON text."""
    name: str = ""
    """Alias."""
    config: str = ""
    """JSON text."""
    submitter: str = "local"
    """Whose token came with it."""
    graph: str = ""
    """JSON text of a plan; then there may be several scripts."""
    more_scripts: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the scripts after the first, by file name."""


def make_graph_job(uuid: str, request: Request) -> tuple[Job, Mapping[str, bytes]]:
    """Return the job that stands for a graph, and the content of its scripts by file name.

    Raises:
        InvalidBackendParameter: what is wrong, in a sentence.
    """
    if request.script is None or request.script_name is None:
        raise InvalidBackendParameter("A graph needs its scripts: send them as form fields 'script'.")
    scripts = {request.script_name: request.script, **request.more_scripts}
    job = Job(
        uuid=uuid,
        name=_alias(request, "graph"),
        process="custom",
        script=request.script_name,
        script_digest=hashlib.sha256(request.script).hexdigest(),
        entrypoint="",
        input_file=request.input_file,
        queue="control",
        kind="graph",
        submitter=request.submitter,
        policy=policy_of(_asked_config(request.config), {}),
    )
    return job, scripts


def with_input(plan: Any, folder: JobFolder, input_file: str | None) -> Any:
    """Return a plan from outside whose contexts name no file but the input that came with it."""
    # A path of the sender's machine means nothing here.
    calls = plan.get("calls") if isinstance(plan, dict) else None
    for call in calls if isinstance(calls, list) else ():
        context = call.get("context") if isinstance(call, dict) else None
        if isinstance(context, dict):
            wanted = context.pop("input_file", None)
            context.pop("input_dir", None)
            if isinstance(context.get("data"), str):
                del context["data"]
            if wanted and input_file is None:
                raise InvalidBackendParameter("A task of the graph has an input file, but none was sent.")
            if wanted:
                context["input_file"] = str(folder.inputs / str(input_file))
    return plan


def make_job(uuid: str, request: Request, settings: Settings) -> tuple[Job, bytes]:
    """Return the job that a request asks for, and its script's content.

    Raises:
        InvalidBackendParameter, InvalidScript: what is wrong, in a sentence.
    """
    params = json_object(request.params, "params", {})
    asked = _asked_config(request.config)
    script_name, source = _script_of(request, settings)
    config = effective_config(asked, inspected(source, script_name), settings)
    job = Job(
        uuid=uuid,
        name=_alias(request, script_name),
        process=request.process,
        script=script_name,
        script_digest=hashlib.sha256(source).hexdigest(),
        entrypoint=config.entrypoint,
        input_file=request.input_file,
        params=params,
        config=config.extra,
        queue=config.queue,
        time_limit=config.time_limit,
        wait=config.wait,
        wait_timeout=config.wait_timeout,
        notes=config.notes,
        policy=config.policy,
        submitter=request.submitter,
    )
    return job, source


@lru_cache(maxsize=256)
def inspected(source: bytes, name: str) -> ScriptInfo:
    """Inspect a script; the same one is often submitted thousands of times."""
    return inspect_source(source, name)


def effective_config(
    asked: Mapping[str, Any], info: ScriptInfo, settings: Settings, *, default_queue: str = "cpu"
) -> Config:
    """Put a configuration together: server defaults < the entrypoint's schedule < what the caller asks.

    Raises:
        InvalidScript: the script has no such entrypoint.
        InvalidBackendParameter: a value is of the wrong kind, or the queue does not exist.
    """
    entrypoint = _typed(asked, "entrypoint", str, "main")
    if entrypoint not in info.entrypoints:
        known = ", ".join(info.entrypoints) or "none"
        raise InvalidScript(f"The script has no entrypoint {entrypoint!r}. Its functions: {known}.")
    schedule = info.schedules.get(entrypoint)
    queue = _typed(asked, "queue", str, None) or (schedule and schedule.queue) or default_queue
    ceiling = settings.time_limit_of(find_queue(settings.queue_table, queue))
    scheduled = schedule.time_limit if schedule else None
    limit = _seconds(asked.get("time_limit")) or scheduled or DEFAULT_TIME_LIMIT_S
    notes: tuple[str, ...] = ()
    if limit > max(ceiling, DEFAULT_TIME_LIMIT_S):
        notes = (f"The time limit of {limit:g} s was cut to the {ceiling:g} s that queue {queue} allows.",)
    policy = policy_of(asked, schedule.options if schedule else {})
    _check_seats(policy, settings)
    extra = {key: value for key, value in asked.items() if key not in _NOT_THE_SCRIPTS}
    for flag in ("compute_only", "raw"):
        _typed(extra, flag, bool, False)
    _typed(extra, "root_file", str, None)
    return Config(
        entrypoint=entrypoint,
        queue=queue,
        time_limit=limit,
        wait=bool(schedule and schedule.wait),
        wait_timeout=schedule.timeout if schedule else None,
        policy=policy,
        extra=extra,
        notes=notes,
    )


def _check_seats(policy: Policy, settings: Settings) -> None:
    """Refuse what would wait for ever: seats of a pool that does not exist, or more than it has."""
    for name, seats in policy.pools:
        if name not in settings.pools:
            known = ", ".join(settings.pools) or "none; an operator sets them with PIXYZ_POOLS"
            raise InvalidBackendParameter(f"There is no pool {name!r}. Pools: {known}.")
        if seats > settings.pools[name]:
            raise InvalidBackendParameter(f"Pool {name!r} has {settings.pools[name]} seats, and {seats} are asked for.")


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
    return path.name, path.read_bytes()


def process_doc(name: str, settings: Settings) -> str:
    """Return the documentation of a pre-built process: its docstring, or that of its `main`."""
    file_name, source = process_source(name, settings)
    doc = inspect_source(source, file_name).doc
    return f"Process '{name}' documentation:\n\n{doc or 'This process has no documentation.'}"


def _script_of(request: Request, settings: Settings) -> tuple[str, bytes]:
    if request.process != "custom":
        return process_source(request.process, settings)
    if request.script is None or request.script_name is None:
        raise InvalidBackendParameter("A script is required: send it as form field 'script', or name a 'process'.")
    return request.script_name, request.script


def _alias(request: Request, script_name: str) -> str:
    name = request.name or (script_name if request.process == "custom" else request.process)
    clean = "".join(char if char.isprintable() else " " for char in name)
    return clean.encode("utf-8", "replace").decode("utf-8")[:_MAX_ALIAS_CHARS]


def json_object(text: str, field_name: str, default: Any = None) -> Any:
    """Return the JSON object that a form field holds; `default` for an empty one."""
    if not text.strip():
        return default
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidBackendParameter(f"'{field_name}' is nested too deeply.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidBackendParameter(f"'{field_name}' is not JSON: {error.msg} at {place}.") from None
    except ValueError as error:
        raise InvalidBackendParameter(f"'{field_name}' is not JSON: {error}.") from None
    if value is None:
        return default
    if _depth_exceeds(value, _MAX_DEPTH):
        raise InvalidBackendParameter(f"'{field_name}' is nested too deeply: at most {_MAX_DEPTH} levels are taken.")
    if not isinstance(value, dict):
        raise InvalidBackendParameter(f"'{field_name}' must be a JSON object, not {type(value).__name__}.")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which JSON does not have")


def _asked_config(text: str) -> dict[str, Any]:
    config = json_object(text, "config", {})
    ignored = sorted(_NOT_THE_CALLERS & config.keys())
    if ignored:
        _log.warning("config keys %s are not the caller's to set: ignored", ", ".join(ignored))
    given = {key: value for key, value in config.items() if value is not None and key not in _NOT_THE_CALLERS}
    # What the runner puts into the context itself; a caller must not be able to name other files.
    return {key: value for key, value in given.items() if key not in _RUNNERS}


_RUNNERS = frozenset({"input_dir", "input_file", "output_dir", "progress", "params", "task", "retry", "is_local"})


def _typed(values: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise InvalidBackendParameter(f"config: {key!r} must be of type {kind.__name__}, not {type(value).__name__}.")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not 0 < value <= _MAX_TIME_LIMIT_S:
        raise InvalidBackendParameter(
            "config: 'time_limit' must be a number of seconds above 0 "
            f"and at most {_MAX_TIME_LIMIT_S:g}, not {value!r}."
        )
    return float(value)
