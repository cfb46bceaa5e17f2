"""Run one attempt of a job on this machine: call the script, catch whatever comes out, leave the outputs.

Nothing here knows of Ray. `run` never raises for what a script does: it answers with an Outcome.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.jobs import FailureClass, iso_time
from pixyz_ray.outcome import Outcome, full_traceback, user_traceback
from pixyz_ray.sandbox import captured_output, clean_process, flush_output, only_one, watched_for_end
from pixyz_ray.storage import JobFolder, pickling_problem
from pixyz_worker.backend import Backend, use_backend
from pixyz_worker.loader import call_entrypoint, get_entrypoint, load_script, script_folder, unload_script
from pixyz_worker.local import wait_for
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress, ProgressSink
from pixyz_worker.result import AsyncResult, GroupResult
from pixyz_worker.values import NotJson, described, passed_on, task_record

_HOSTNAME = socket.gethostname()
_SCRIPT_PATIENCE_S = 10.0
_SCRIPT_LOOK_S = 0.001
_NO_SCRIPT = (
    "The job's script is not on the share as it was accepted. Is SHARE_PATH the same folder on all machines? "
    "Submit the job again."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """What a worker needs to know to run one attempt."""

    uuid: str
    """The job."""
    attempt: int
    """Number of this run, 1 for the first."""
    share: str
    """SHARE_PATH."""
    script: str
    """File name of the script in the job's script folder."""
    digest: str
    """SHA-256 (hex) of the script as it was accepted."""
    entrypoint: str
    """Function to call."""
    params: Any
    """JSON value for the function."""
    input_file: str | None = None
    """File name of the input in the job's inputs folder."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the context takes over: root_file, compute_only, raw, data, ..."""
    queue: str = "cpu"
    """Queue that it runs on."""
    wait: bool = False
    """Whether a handle that the script returns is waited for."""
    wait_timeout: float | None = None
    """Seconds for that; None for no limit of its own."""
    home: str | None = None
    """Job whose folder has the script, for a node of a graph; its own when None."""
    name: str = ""
    """Name of a node."""
    requested: float = 0.0
    """When a node was asked for, in seconds since the epoch."""
    hands_on: bool = False
    """Whether another node gets what this one returns."""
    calls: Sequence[Mapping[str, Any]] = ()
    """Calls of a part, made one after another: `entrypoint`, `params`, `config` and maybe `wait` of each."""


@dataclass(frozen=True, slots=True)
class Task:
    """The running task, as a script sees it in `pc['task']`."""

    id: str
    """The job's id."""
    retries: int
    """Attempts before this one."""


@dataclass(frozen=True, slots=True)
class _Script:
    """The script as it was accepted."""

    path: Path
    source: bytes


@dataclass(slots=True)
class _Answer:
    """What came of the script."""

    result: Any = None
    error: str | None = None
    failure: FailureClass | None = None
    opaque: bool = False
    awaits: str | None = None
    value: Any = None
    """What goes on to the next node, where it is not the record."""


def run(
    spec: RunSpec,
    report: ProgressSink,
    backend: Backend | None = None,
    tell: Callable[[Outcome], None] = lambda _outcome: None,
) -> tuple[Outcome, Any]:
    """Run one attempt to its end; return how it ended, and what the node after it gets.

    Args:
        spec: what to run.
        report: takes `{"kind": "started", ...}` and the progress events; must not raise.
        backend: where tasks that the script starts are to run; in this process when None.
        tell: takes the outcome as soon as it is known: what is left then is to put the process in order.

    Raises:
        SystemExit: the process was told to end meanwhile; what the script did then says nothing about the job.
    """
    folder = JobFolder(share_of(spec.share), spec.uuid)
    started = time.time()
    home, path = _home_of(spec.share, spec.home or spec.uuid, spec.script)
    source = _script_as_accepted(str(path), spec.digest)
    if source is None:
        failed = Outcome(ok=False, started=started, stopped=time.time(), error=_NO_SCRIPT, failure="internal")
        tell(failed)
        return failed, None
    progress = Progress(report)
    with ExitStack() as stack:
        if spec.home:
            folder.make(compute_only=bool(spec.config.get("compute_only")))
        told_to_end = stack.enter_context(watched_for_end())
        stack.enter_context(only_one(home.lock, spec.uuid))
        stack.enter_context(captured_output(f"{folder.name}/job.log", spec.attempt))
        stack.enter_context(clean_process(folder.name, str(path)))
        report({"kind": "started", "pid": os.getpid(), "node": _HOSTNAME, "time": started})
        if backend is not None:
            stack.enter_context(use_backend(backend))
        # A context of its own: what a script leaves in context variables, such as its scenes, ends with it.
        answer = copy_context().run(_call_script, spec, _Script(path, source), folder, progress, backend)
        flush_output()
        if told_to_end():
            raise SystemExit("the worker was told to end while the script ran: the attempt has no outcome")
        outcome = _outcome(answer, started, progress)
        tell(outcome)
    return outcome, _handed_on(spec, outcome, answer.value)


def _outcome(answer: _Answer, started: float, progress: Progress) -> Outcome:
    return Outcome(
        ok=answer.error is None,
        started=started,
        stopped=time.time(),
        result=answer.result,
        error=answer.error,
        failure=answer.failure and str(answer.failure),
        opaque=answer.opaque,
        awaits=answer.awaits,
        total=progress.total,
        steps=[(step.info, step.duration) for step in progress.steps],
    )


def _handed_on(spec: RunSpec, outcome: Outcome, value: Any) -> Any:
    """Return what the next node gets: the bare value of a raw node, else its record."""
    if not (spec.hands_on and outcome.ok):
        return None
    if spec.config.get("raw"):
        return value
    return task_record(
        uuid=spec.uuid,
        name=spec.name,
        requested=iso_time(spec.requested),
        started=iso_time(outcome.started),
        stopped=iso_time(outcome.stopped),
        steps=outcome.steps,
        retry=spec.attempt - 1,
        result=outcome.result,
    )


def _call_script(
    spec: RunSpec, script: _Script, folder: JobFolder, progress: Progress, backend: Backend | None
) -> _Answer:
    """Load and call the script."""
    try:
        if not spec.config.get("compute_only"):
            folder.clean_outputs(spec.attempt)
        with script_folder(script.path):
            if spec.calls:
                result: Any = _call_part(spec, script, folder, progress)
            else:
                result = _call_entrypoint(script, spec.entrypoint, _context(spec, script.path, folder, progress))
            if spec.wait and isinstance(result, AsyncResult | GroupResult):
                if backend is not None and result.id in backend.ends:
                    # The tracker waits for it, which takes no process and outlives a restart.
                    return _Answer(awaits=result.id)
                result = wait_for(result, progress, spec.wait_timeout)
        progress.stop()
        return _answer_of(spec, folder, result)
    except NotJson as error:
        return _Answer(error=str(error), failure=FailureClass.USER_ERROR)
    except SystemExit as error:
        if error.code in (None, 0):
            progress.stop()
            return _Answer()
        return _failed(error, script.path, FailureClass.EXIT)
    except BaseException as error:
        return _failed(error, script.path, FailureClass.USER_ERROR)


def _answer_of(spec: RunSpec, folder: JobFolder, result: Any) -> _Answer:
    """Sort out a result: JSON goes into the record, any other value of a raw node only to whoever wants it."""
    value, is_json = passed_on(result, raw=bool(spec.home and spec.config.get("raw")))
    if is_json:
        return _Answer(result=value, value=value)
    if not spec.hands_on:
        folder.keep_value(value)
    elif problem := pickling_problem(value):
        raise NotJson(problem)
    return _Answer(result=described(value), value=value, opaque=True)


def _call_part(spec: RunSpec, script: _Script, folder: JobFolder, progress: Progress) -> list[Any]:
    """Make the calls of a part, one after another, and return the list of what they give."""
    results = []
    for call in spec.calls:
        one = replace(spec, entrypoint=call["entrypoint"], params=call["params"], config=call["config"], calls=())
        before = len(progress.steps)
        started = time.time()
        returned = None
        try:
            returned = _call_entrypoint(script, one.entrypoint, _context(one, script.path, folder, progress))
        except SystemExit as error:
            if error.code not in (None, 0):
                raise
        if call.get("wait") and isinstance(returned, AsyncResult | GroupResult):
            returned = wait_for(returned, progress, call["wait_timeout"])
        value, _ = passed_on(returned, raw=bool(one.config.get("raw")))
        if not one.config.get("raw"):
            steps = [(step.info, step.duration) for step in progress.steps[before:]]
            outcome = Outcome(ok=True, started=started, stopped=time.time(), result=value, steps=steps)
            value = _handed_on(replace(one, hands_on=True), outcome, value)
        results.append(value)
    return results


@lru_cache(maxsize=4)
def share_of(name: str) -> Path:
    """Return SHARE_PATH as a Path; it hardly ever changes."""
    return Path(name)


@lru_cache(maxsize=16)
def _home_of(share: str, home: str, script: str) -> tuple[JobFolder, Path]:
    """Return the folder of the job that has the script, and the script's path; a worker often runs the same."""
    folder = JobFolder(Path(share), home)
    return folder, folder.script / script


def _script_as_accepted(script: str, digest: str) -> bytes | None:
    """Wait for the script as it was accepted: it is staged while the job is already on its way."""
    deadline = time.monotonic() + _SCRIPT_PATIENCE_S
    while True:
        with suppress(FileNotFoundError):
            about = os.stat(script)  # noqa: PTH116 - a tenth of the time of a Path's, in the way of every job
            source, found = _read_script(script, about.st_ino, about.st_size, about.st_mtime_ns)
            if found == digest:
                return source
        if time.monotonic() > deadline:
            return None
        time.sleep(_SCRIPT_LOOK_S)


@lru_cache(maxsize=16)
def _read_script(script: str, inode: int, size: int, changed: int) -> tuple[bytes, str]:
    """Return a script's content and digest; a file that has changed is another."""
    source = Path(script).read_bytes()
    return source, hashlib.sha256(source).hexdigest()


def _call_entrypoint(script: _Script, entrypoint: str, context: ProgramContext) -> Any:
    module = load_script(script.path, script.source)
    try:
        return call_entrypoint(get_entrypoint(module, entrypoint), context, context["params"])
    finally:
        unload_script(module)


def _failed(error: BaseException, script: Path, failure: FailureClass) -> _Answer:
    """Show the whole traceback in the job's log; the job's error has the script's own frames."""
    print(full_traceback(error, script), file=sys.stderr)
    return _Answer(error=user_traceback(error, script), failure=failure)


def _context(spec: RunSpec, script: Path, folder: JobFolder, progress: Progress) -> ProgramContext:
    compute_only = bool(spec.config.get("compute_only"))
    return ProgramContext(
        **{
            **spec.config,
            "script": str(script),
            "input_dir": None if compute_only else f"{folder.name}/inputs",
            "input_file": _input(spec, folder),
            "output_dir": None if compute_only else f"{folder.name}/outputs",
            "progress": progress,
            "params": spec.params,
            "entrypoint": spec.entrypoint,
            "task": Task(spec.uuid, spec.attempt - 1),
            "queue": spec.queue,
            "retry": spec.attempt - 1,
        }
    )


def _input(spec: RunSpec, folder: JobFolder) -> str | None:
    """Return the path of the input. A node has its own link to it, with room beside it to unpack an archive."""
    if spec.input_file is None:
        return None
    if spec.home is None:
        return str(folder.inputs / spec.input_file)
    source = Path(spec.share) / spec.input_file
    if spec.config.get("compute_only"):
        return str(source)
    link = folder.inputs / source.name
    with suppress(FileExistsError):
        os.link(source, link)
    return str(link)
