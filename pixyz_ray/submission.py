"""From what a caller asks to a job: texts checked, configuration put together, each mistake told in a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pixyz_ray.config_keys import read_config, typed
from pixyz_ray.form_fields import field_notes
from pixyz_ray.gpu_need import REQUIRE
from pixyz_ray.jobs import Job
from pixyz_ray.json_fields import json_value
from pixyz_ray.policy import Policy, is_policy, policy_of, shown
from pixyz_ray.processes import parameter_notes, process_source
from pixyz_ray.queues import Queue, find_queue
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder
from pixyz_ray.units import format_number
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript
from pixyz_worker.loader import ScriptInfo, inspect_source

_NOT_THE_SCRIPTS = frozenset({"entrypoint", "queue", "time_limit"})
_GPU_QUEUE = "gpu"
"""Queue of a job that asks for a GPU and names no queue."""
_MAX_ALIAS_CHARS = 200
_MAX_TIME_LIMIT_S = 30 * 86400.0
Inspect = Callable[[bytes, str], ScriptInfo]
"""Takes a script's source and name; returns what it declares, or raises InvalidScript."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A script of a job, and what it declares."""

    name: str
    """File name."""
    source: bytes
    """Content."""
    digest: str
    """SHA-256 (hex) of the content."""
    info: ScriptInfo
    """Entrypoints, schedules and documentation."""


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
    """Scheduling options: priority, seats, retries, limits."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What goes on to the context: root_file, compute_only, raw, and whatever else the caller set."""


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
    unknown_fields: tuple[str, ...] = ()
    """Names of fields of its form that do not exist."""


def make_graph_job(uuid: str, request: Request, settings: Settings) -> tuple[Job, Mapping[str, bytes]]:
    """Return the job that stands for a graph, and the content of its scripts by file name.

    Raises:
        InvalidBackendParameter, InvalidScript: what is wrong, in a sentence.
    """
    if request.script is None or request.script_name is None:
        raise InvalidBackendParameter("A graph needs its scripts: send them as form fields 'script'.")
    scripts = {request.script_name: request.script, **request.more_scripts}
    for name, source in scripts.items():
        _check_size(name, source, settings)
    asked = read_config(request.config)
    job = Job(
        uuid=uuid,
        name=_alias(request) or "graph",
        alias=_alias(request),
        process="custom",
        script=request.script_name,
        script_digest=hashlib.sha256(request.script).hexdigest(),
        entrypoint="",
        input_file=request.input_file,
        queue="control",
        kind="graph",
        submitter=request.submitter,
        policy=policy_of(asked.values, {}),
        notes=(*field_notes(request.unknown_fields, strict=asked.strict), *asked.notes),
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


def make_job(uuid: str, request: Request, settings: Settings, script: Script | None = None) -> tuple[Job, bytes]:
    """Return the job that a request asks for, and its script's content.

    Args:
        uuid: the job's identity.
        request: what is asked for.
        settings: queues, limits and pools.
        script: its script; if None, it is read and inspected in this process.

    Raises:
        InvalidBackendParameter, InvalidScript: what is wrong, in a sentence.
    """
    params = json_value(request.params, "params", {})
    asked = read_config(request.config)
    form_notes = field_notes(request.unknown_fields, strict=asked.strict)
    script = script or read_script(request, settings, inspect_source)
    config = effective_config(asked.values, script.info, settings)
    is_custom = request.process == "custom"
    notes = () if is_custom else parameter_notes(request.process, script.info, params, strict=asked.strict)
    alias = _alias(request)
    job = Job(
        uuid=uuid,
        name=alias or (script.name if is_custom else request.process),
        alias=alias,
        process=request.process,
        script=script.name,
        script_digest=script.digest,
        entrypoint=config.entrypoint,
        input_file=request.input_file,
        params=params,
        config=config.extra,
        queue=config.queue,
        time_limit=config.time_limit,
        wait=config.wait,
        wait_timeout=config.wait_timeout,
        notes=(*form_notes, *asked.notes, *notes),
        policy=config.policy,
        submitter=request.submitter,
    )
    return job, script.source


def read_script(request: Request, settings: Settings, inspect: Inspect) -> Script:
    """Return a request's script, with what it declares.

    Args:
        request: what is asked for.
        settings: limits, and where pre-built processes are.
        inspect: reads what a script declares.

    Raises:
        InvalidBackendParameter, InvalidScript: there is none, or it cannot be run.
    """
    name, source = _script_of(request, settings)
    return Script(name=name, source=source, digest=hashlib.sha256(source).hexdigest(), info=inspect(source, name))


def effective_config(
    asked: Mapping[str, Any], info: ScriptInfo, settings: Settings, *, default_queue: str = "cpu"
) -> Config:
    """Put a configuration together: server defaults < the entrypoint's schedule < what the caller asks.

    Args:
        asked: what the caller asks; None counts as not given.
        info: entrypoints and schedules of the script.
        settings: queues, limits and pools.
        default_queue: where it runs when neither caller nor schedule names a queue.

    Raises:
        InvalidScript: the script has no such entrypoint.
        InvalidBackendParameter: a value is of the wrong kind, the queue does not exist, or the time limit is above
            PIXYZ_MAX_TIME_LIMIT.
    """
    entrypoint = typed(asked, "entrypoint", str, "main")
    if entrypoint not in info.entrypoints:
        known = ", ".join(info.entrypoints) or "none"
        raise InvalidScript(f"The script has no entrypoint {entrypoint!r}. Its functions: {known}.")
    schedule = info.schedules.get(entrypoint)
    policy = policy_of(asked, schedule.options if schedule else {})
    if policy.gpu or policy.gpu_memory:
        default_queue = _GPU_QUEUE
    name = typed(asked, "queue", str, None) or (schedule and schedule.queue) or default_queue
    queue = find_queue(settings.queue_table, name)
    limit = _seconds(asked.get("time_limit")) or (schedule.time_limit if schedule else None)
    _check_time_limit(limit, settings)
    _check_gpu(policy, queue)
    _check_seats(policy, settings)
    extra = {key: value for key, value in asked.items() if key not in _NOT_THE_SCRIPTS and not is_policy(key, value)}
    for flag in ("compute_only", "raw"):
        typed(extra, flag, bool, False)
    typed(extra, "root_file", str, None)
    return Config(
        entrypoint=entrypoint,
        queue=queue.name,
        time_limit=settings.time_limit_of(queue) if limit is None else limit,
        wait=bool(schedule and schedule.wait),
        wait_timeout=schedule.timeout if schedule else None,
        policy=policy,
        extra=extra,
    )


def _check_time_limit(limit: float | None, settings: Settings) -> None:
    most = settings.pixyz_max_time_limit
    if limit is not None and most is not None and limit > most:
        raise InvalidBackendParameter(
            f"'time_limit' is {format_number(limit)} s, more than this server's PIXYZ_MAX_TIME_LIMIT of "
            f"{format_number(most)} s. Ask for less."
        )


def _check_gpu(policy: Policy, queue: Queue) -> None:
    """Refuse a need for a GPU on a queue that gives none."""
    if policy.gpu == REQUIRE and not (queue.num_gpus or queue.gpu_memory or policy.gpu_memory):
        raise InvalidBackendParameter(
            f"'gpu' is 'require', and queue {queue.name} gives its jobs no GPU. Use queue {_GPU_QUEUE}, or another one "
            "with num_gpus in PIXYZ_QUEUES."
        )


def _check_seats(policy: Policy, settings: Settings) -> None:
    """Refuse what would wait forever: seats of a pool that does not exist, or more than it has."""
    for name, seats in policy.pools:
        if name not in settings.pools:
            known = ", ".join(settings.pools) or "none; an operator sets them with PIXYZ_POOLS"
            raise InvalidBackendParameter(f"There is no pool {name!r}. Pools: {known}.")
        if seats > settings.pools[name]:
            raise InvalidBackendParameter(f"Pool {name!r} has {settings.pools[name]} seats, and {seats} are asked for.")


def _script_of(request: Request, settings: Settings) -> tuple[str, bytes]:
    if request.process != "custom":
        return process_source(request.process, settings)
    if request.script is None or request.script_name is None:
        raise InvalidBackendParameter("A script is required: send it as form field 'script', or name a 'process'.")
    _check_size(request.script_name, request.script, settings)
    return request.script_name, request.script


def _check_size(name: str, source: bytes, settings: Settings) -> None:
    if len(source) > settings.max_script_bytes:
        raise InvalidScript(
            f"{name}: The script takes more than {settings.max_script_bytes} bytes (MAX_SCRIPT_BYTES). "
            "Move its data into an input file, and read that when the script runs."
        )


def _alias(request: Request) -> str | None:
    """Return the caller's name for the job as one printable line, or None."""
    clean = "".join(char if char.isprintable() else " " for char in request.name)
    return clean.encode("utf-8", "replace").decode("utf-8")[:_MAX_ALIAS_CHARS] or None


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 < value <= _MAX_TIME_LIMIT_S:
        most = f"{format_number(_MAX_TIME_LIMIT_S)} ({_MAX_TIME_LIMIT_S / 86400:.0f} days)"
        raise InvalidBackendParameter(
            f"config: 'time_limit' must be a number of seconds above 0 and at most {most}, not {shown(value, repr)}."
        )
    return float(value)
