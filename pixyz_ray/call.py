"""The call of a script: its context, its entrypoint, and what comes of it, whatever that is."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pixyz_ray.failure import FailureClass
from pixyz_ray.jobs import iso_time
from pixyz_ray.outcome import Outcome, full_traceback, user_traceback
from pixyz_ray.run_spec import RunSpec
from pixyz_ray.sandbox import ToldToEnd
from pixyz_ray.storage import FULL, JobFolder, pickling_problem
from pixyz_worker.backend import Backend
from pixyz_worker.exception import InvalidFile, LicenseUnavailable, Retry
from pixyz_worker.loader import (
    call_entrypoint,
    get_entrypoint,
    in_own_session,
    load_script,
    script_folder,
    unload_script,
)
from pixyz_worker.local_run import wait_for
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress, ProgressSink
from pixyz_worker.result import AsyncResult, GroupResult
from pixyz_worker.running_task import RunningTask, TaskRequest, retry_delay_s
from pixyz_worker.steps import Step
from pixyz_worker.task_input import beside
from pixyz_worker.task_params import merged, unpacked
from pixyz_worker.values import NotJson, described, passed_on, task_record


@dataclass(frozen=True, slots=True)
class Script:
    """The script as it was accepted."""

    path: Path
    source: bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a script finds when it is called."""

    folder: JobFolder
    progress: Progress
    backend: Backend | None
    cancelled: Callable[[], bool]
    report: ProgressSink
    """Takes events, such as the state that a script shows of its task."""
    put_back: Callable[[], None]
    """Takes back what the script has changed in its process, before anything of the platform's needs it."""


@dataclass(slots=True)
class Answer:
    """What came of the script."""

    result: Any = None
    error: str | None = None
    failure: FailureClass | None = None
    sentence: str | None = None
    exit_code: int | None = None
    opaque: bool = False
    awaits: str | None = None
    retry_after: float | None = None
    """Seconds until the next attempt that the script asked for; None where it did not."""
    value: Any = None
    """What goes on to the next node, where it is not the record."""


def call_script(spec: RunSpec, script: Script, around: Surroundings) -> Answer:
    """Load and call the script; whatever it raises becomes part of the answer."""
    try:
        if not spec.config.get("compute_only"):
            around.folder.new_outputs(spec.attempt)
        with script_folder(script.path):
            if spec.calls:
                result: Any = _call_part(spec, script, around)
            else:
                result = in_own_session(_call_entrypoint, script, spec, around)
            if spec.wait and isinstance(result, AsyncResult | GroupResult):
                if around.backend is not None and result.id in around.backend.ends:
                    # The tracker waits for it, which takes no process and outlives a restart.
                    return Answer(awaits=result.id)
                result = wait_for(result, around.progress, spec.wait_timeout)
        around.progress.stop()
        return _answer_of(spec, around.folder, result)
    except NotJson as error:
        return Answer(error=str(error), failure=FailureClass.USER_ERROR, sentence=str(error))
    except Retry as error:
        return _asked_again(error, script.path)
    except SystemExit as error:
        if error.code in (None, 0):
            around.progress.stop()
            return Answer()
        return _failed(error, script.path)
    except BaseException as error:
        return _failed(error, script.path)


def _answer_of(spec: RunSpec, folder: JobFolder, result: Any) -> Answer:
    """Sort out a result: JSON goes into the record, any other value of a raw node only to whoever wants it."""
    value, is_json = passed_on(result, raw=bool(spec.home and spec.config.get("raw")))
    if is_json:
        return Answer(result=value, value=value)
    if not spec.hands_on:
        folder.keep_value(value, spec.attempt)
    elif problem := pickling_problem(value):
        raise NotJson(problem)
    return Answer(result=described(value), value=value, opaque=True)


_MAX_EXIT_CODE = 2**31 - 1
_CALL_FIELDS = ("entrypoint", "params", "params_packed", "packed", "config")


def _call_part(spec: RunSpec, script: Script, around: Surroundings) -> list[Any]:
    """Make the calls of a part, one after another, and return the list of what they give."""
    results = []
    for call in spec.calls:
        one = replace(spec, calls=(), **{key: call[key] for key in _CALL_FIELDS if key in call})
        before = around.progress.step_current
        started = time.time()
        returned = None
        try:
            returned = in_own_session(_call_entrypoint, script, one, around)
        except SystemExit as error:
            if error.code not in (None, 0):
                raise
        if call.get("wait") and isinstance(returned, AsyncResult | GroupResult):
            returned = wait_for(returned, around.progress, call["wait_timeout"])
        value, _ = passed_on(returned, raw=bool(one.config.get("raw")))
        if not one.config.get("raw"):
            steps = [step.as_plain() for step in around.progress.steps_from(before)]
            outcome = Outcome(ok=True, started=started, stopped=time.time(), result=value, steps=steps)
            value = handed_on(replace(one, hands_on=True), outcome, value)
        results.append(value)
    return results


def handed_on(spec: RunSpec, outcome: Outcome, value: Any) -> Any:
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
        steps=[Step.from_plain(step).as_view() for step in outcome.steps],
        retry=spec.attempt - 1,
        result=outcome.result,
    )


def _call_entrypoint(script: Script, spec: RunSpec, around: Surroundings) -> Any:
    context = _context(spec, script.path, around)
    module = None
    try:
        module = load_script(script.path, script.source)
        return call_entrypoint(get_entrypoint(module, spec.entrypoint), context, context["params"])
    finally:
        around.put_back()
        if module is not None:
            unload_script(module)


def _asked_again(error: Retry, script: Path) -> Answer:
    delay_s = retry_delay_s(error, time.time())
    failure, sentence = _blame(error, script.name)
    with suppress(OSError):
        print(f"{sentence} The next attempt starts in {delay_s:.0f} s.", file=sys.stderr)
    return Answer(error=user_traceback(error, script), failure=failure, sentence=sentence, retry_after=delay_s)


def _failed(error: BaseException, script: Path) -> Answer:
    """Show the whole traceback in the job's log; the job's error has the script's own frames."""
    with suppress(OSError):
        if isinstance(error, ToldToEnd):
            print(f"Told to end, here:\n{user_traceback(error, script).rpartition(os.linesep)[0]}", file=sys.stderr)
        else:
            print(full_traceback(error, script), file=sys.stderr)
    failure, sentence = _blame(error, script.name)
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else None
    if code is not None and abs(code) > _MAX_EXIT_CODE:
        # What the system makes of it.
        code &= 0xFF
    return Answer(error=user_traceback(error, script), failure=failure, sentence=sentence, exit_code=code)


def _blame(error: BaseException, script: str) -> tuple[FailureClass, str]:
    """Return what an error's kind says of who is to do something, and what."""
    words = _first_line(error)
    if isinstance(error, Retry):
        return FailureClass.RETRY, f"The script asked to be run again: {words}"
    if isinstance(error, SystemExit):
        return FailureClass.EXIT, f"The script left with exit code {words} (sys.exit). Raise an exception, or return."
    if isinstance(error, InvalidFile):
        return FailureClass.BAD_INPUT, f"The input cannot be used: {words}"
    if isinstance(error, LicenseUnavailable):
        return FailureClass.LICENSE, f"There was no licence: {words} With a pool of its seats jobs would wait for one."
    if isinstance(error, OSError) and error.errno in FULL:
        return FailureClass.INTERNAL, f"There is no room for the job's files: {words}. Free some on the share."
    return FailureClass.USER_ERROR, (
        f"The script raised {type(error).__name__}: {words} "
        f"The job's error has the traceback; try it on your machine with  python {script}"
    )


def _first_line(error: BaseException) -> str:
    try:
        return str(error).partition("\n")[0][:300]
    except Exception:
        return "(its message cannot be shown)"


def _context(spec: RunSpec, script: Path, around: Surroundings) -> ProgramContext:
    compute_only = bool(spec.config.get("compute_only"))
    folder = around.folder
    own = {key: unpacked(text, f"the context's value {key!r}") for key, text in spec.packed.items()}
    base = own.pop("params", spec.config.get("params"))
    params = merged(base, unpacked(spec.params, "the params") if spec.params_packed else spec.params)
    requested = datetime.fromtimestamp(spec.requested, UTC).replace(tzinfo=None)
    around.progress.time_request = requested
    context = ProgramContext.running(
        **{
            **spec.config,
            **own,
            "script": str(script),
            "input_dir": _absolute(spec, spec.config.get("input_dir")),
            "input_file": _input(spec, folder),
            "output_dir": None if compute_only else f"{folder.name}/{folder.outputs_of(spec.attempt)}",
            "progress": around.progress,
            "params": params,
            "entrypoint": spec.entrypoint,
            "task": _running_task(spec, around, params),
            "task_id": spec.uuid,
            "time_limit": spec.time_limit,
            "time_request": requested,
            "shadow": spec.name,
            "queue": spec.queue,
            "retry": spec.attempt - 1,
        }
    )
    _open_input(context, spec, folder)
    return context


def _running_task(spec: RunSpec, around: Surroundings, params: Any) -> RunningTask:
    def report(state: str | None, meta: Any) -> None:
        around.report({"kind": "state", "state": state, "meta": meta})

    request = TaskRequest(
        id=spec.uuid,
        retries=spec.attempt - 1,
        root_id=spec.home or spec.uuid,
        parent_id=spec.parent_id,
        args=(params,),
        delivery_info={"routing_key": spec.queue},
        timelimit=(spec.time_limit, None),
        hostname=socket.gethostname(),
    )
    return RunningTask(request=request, is_cancelled=around.cancelled, report=report)


def _open_input(context: ProgramContext, spec: RunSpec, folder: JobFolder) -> None:
    """Unpack an archive, unless the task has the folder that the one before it unpacked it to."""

    def extraction_dir(archive: Path) -> Path:
        # The job's upload is unpacked beside it, once for all tasks of the job. Any other archive belongs to this task,
        # which may open several, and the same path again with other content.
        if archive.parent.name == "inputs" and archive.parent.parent.parent == Path(spec.share):
            # Another attempt does not begin with what the one before it made of the members.
            again = spec.home is None and spec.attempt > 1
            return beside(archive).with_name(f"extracted-{spec.attempt}") if again else beside(archive)
        about = archive.stat()
        version = hashlib.sha256(f"{archive}\0{about.st_size}\0{about.st_mtime_ns}".encode("utf-8", "surrogateescape"))
        return folder.inputs / f"extracted-{version.hexdigest()[:16]}"

    # Kept for archives that the script opens itself.
    context.extraction_dir = extraction_dir
    if context["input_dir"] is not None:
        return
    context.open_input()
    if context["input_dir"] is None and not context.is_compute_only():
        dict.__setitem__(context, "input_dir", str(folder.inputs))


def _input(spec: RunSpec, folder: JobFolder) -> str | None:
    """Return the path of the input: the upload of a job, or the file that the context of a task names."""
    if spec.input_file is None:
        return None
    return str(folder.inputs / spec.input_file) if spec.home is None else _absolute(spec, spec.input_file)


def _absolute(spec: RunSpec, path: str | None) -> str | None:
    """Return a path that is relative to the share as an absolute one."""
    return None if path is None else str(Path(spec.share) / path)
