"""Run one attempt of a job on this machine: call the script, catch whatever comes out, leave the outputs.

Nothing here knows of Ray. `run` never raises for what a script does: it answers with an Outcome.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixyz_ray.jobs import FailureClass
from pixyz_ray.outcome import NotJson, Outcome, checked_json, full_traceback, user_traceback
from pixyz_ray.sandbox import captured_output, clean_process, only_one, watched_for_end
from pixyz_ray.storage import JobFolder
from pixyz_worker.backend import Backend, use_backend
from pixyz_worker.loader import call_entrypoint, get_entrypoint, load_script, script_folder, unload_script
from pixyz_worker.local import wait_for
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress, ProgressSink
from pixyz_worker.result import AsyncResult, GroupResult

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


@dataclass(frozen=True, slots=True)
class Task:
    """The running task, as a script sees it in `pc['task']`."""

    id: str
    """The job's id."""
    retries: int
    """Attempts before this one."""


def run(spec: RunSpec, report: ProgressSink, backend: Backend | None = None) -> Outcome:
    """Run one attempt to its end and return how it ended.

    Args:
        spec: what to run.
        report: takes `{"kind": "started", ...}` and the progress events; must not raise.
        backend: where tasks that the script starts are to run; in this process when None.

    Raises:
        SystemExit: the process was told to end meanwhile; what the script did then says nothing about the job.
    """
    folder = JobFolder(Path(spec.share), spec.uuid)
    started = time.time()
    if not _script_is_there(folder.script / spec.script, spec.digest):
        return Outcome(ok=False, started=started, stopped=time.time(), error=_NO_SCRIPT, failure=FailureClass.INTERNAL)
    progress = Progress(report)
    with ExitStack() as stack:
        told_to_end = stack.enter_context(watched_for_end())
        stack.enter_context(only_one(folder.lock))
        stack.enter_context(captured_output(folder.log, spec.attempt))
        stack.enter_context(clean_process(folder))
        report({"kind": "started", "pid": os.getpid(), "node": _HOSTNAME, "time": started})
        if backend is not None:
            stack.enter_context(use_backend(backend))
        # A context of its own: what a script leaves in context variables, such as its scenes, ends with it.
        result, error, failure = copy_context().run(_call_script, spec, folder, progress)
        if told_to_end():
            raise SystemExit("the worker was told to end while the script ran: the attempt has no outcome")
    return Outcome(
        ok=error is None,
        started=started,
        stopped=time.time(),
        result=result,
        error=error,
        failure=failure and str(failure),
        total=progress.total,
        steps=[(step.info, step.duration) for step in progress.steps],
    )


def _call_script(spec: RunSpec, folder: JobFolder, progress: Progress) -> tuple[Any, str | None, FailureClass | None]:
    """Load and call the script; return (result, error, failure class)."""
    script = folder.script / spec.script
    try:
        if not spec.config.get("compute_only"):
            folder.clean_outputs(spec.attempt)
        context = _context(spec, folder, progress)
        with script_folder(script):
            result = _call_entrypoint(spec, script, context)
            if spec.wait and isinstance(result, AsyncResult | GroupResult):
                result = wait_for(result, progress, spec.wait_timeout)
        progress.stop()
        return checked_json(result), None, None
    except NotJson as error:
        return None, str(error), FailureClass.USER_ERROR
    except SystemExit as error:
        if error.code in (None, 0):
            progress.stop()
            return None, None, None
        return _failed(error, script, FailureClass.EXIT)
    except BaseException as error:
        return _failed(error, script, FailureClass.USER_ERROR)


def _script_is_there(script: Path, digest: str) -> bool:
    """Wait for the script as it was accepted: it is staged while the job is already on its way."""
    deadline = time.monotonic() + _SCRIPT_PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if hashlib.sha256(script.read_bytes()).hexdigest() == digest:
                return True
        time.sleep(_SCRIPT_LOOK_S)
    return False


def _call_entrypoint(spec: RunSpec, script: Path, context: ProgramContext) -> Any:
    module = load_script(script)
    try:
        return call_entrypoint(get_entrypoint(module, spec.entrypoint), context, spec.params)
    finally:
        unload_script(module)


def _failed(error: BaseException, script: Path, failure: FailureClass) -> tuple[Any, str, FailureClass]:
    """Show the whole traceback in the job's log; the job's error has the script's own frames."""
    print(full_traceback(error, script), file=sys.stderr)
    return None, user_traceback(error, script), failure


def _context(spec: RunSpec, folder: JobFolder, progress: Progress) -> ProgramContext:
    compute_only = bool(spec.config.get("compute_only"))
    return ProgramContext(
        **{
            **spec.config,
            "script": str(folder.script / spec.script),
            "input_dir": None if compute_only else str(folder.inputs),
            "input_file": str(folder.inputs / spec.input_file) if spec.input_file else None,
            "output_dir": None if compute_only else str(folder.outputs),
            "progress": progress,
            "params": spec.params,
            "entrypoint": spec.entrypoint,
            "task": Task(spec.uuid, spec.attempt - 1),
            "queue": spec.queue,
            "retry": spec.attempt - 1,
        }
    )
