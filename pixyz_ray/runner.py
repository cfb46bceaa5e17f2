"""Run one attempt of a job on this machine: call the script, catch whatever comes out, leave the outputs.

Nothing here knows of Ray. `run` never raises for what a script does: it answers with an Outcome.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.call import Answer, Script, Surroundings, call_script, handed_on
from pixyz_ray.confined_files import FileTooLarge, NotRegular, read_path
from pixyz_ray.failure import FailureClass
from pixyz_ray.fence import fence_off
from pixyz_ray.outcome import Outcome
from pixyz_ray.run_spec import RunSpec
from pixyz_ray.sandbox import captured_output, clean_process, flush_output, only_one, watched_for_end
from pixyz_ray.storage import FULL, JobFolder
from pixyz_ray.watchdog.guard import Guard, Usage, guard, is_stopping
from pixyz_ray.watchdog.page import UNBOUNDED
from pixyz_worker.backend import Backend, use_backend
from pixyz_worker.progress import Progress, ProgressSink

_HOSTNAME = socket.gethostname()
_LOCK_PATIENCE_S = 10.0
_NO_PATIENCE_S = 0.0
_SCRIPT_PATIENCE_S = 10.0
_SCRIPT_LOOK_S = 0.001
_MAX_SCRIPT_BYTES = 256 * 2**20
"""More than a script that was accepted can have."""
_NO_SCRIPT = (
    "The job's script is not on the share as it was accepted. Is SHARE_PATH the same folder on all machines? "
    "Submit the job again."
)
_NO_SHARE = "This machine cannot reach the job's folder on the share: {}. Is SHARE_PATH mounted on all machines?"
_NO_NVML = f"GPU memory is not watched on machine {_HOSTNAME}: no NVML."
_NO_ROOM = "There is no room on the share for the job's files: {}. Free some, or set CLEANUP_ENABLED."


def run(
    spec: RunSpec,
    report: ProgressSink,
    backend: Backend | None = None,
    tell: Callable[[Outcome], Outcome] = lambda outcome: outcome,
) -> tuple[Outcome, Any]:
    """Run one attempt to its end; return how it ended, and what the node after it gets.

    Args:
        spec: what to run.
        report: takes `{"kind": "started", ...}` and the progress events; must not raise.
        backend: where tasks that the script starts are to run; in this process when None.
        tell: takes the outcome as soon as it is known, and returns what it told; what is left then is to put the
            process in order.

    Raises:
        SystemExit: the process was told to end meanwhile; what the script did then says nothing about the job.
    """
    folder = JobFolder(share_of(spec.share), spec.uuid)
    started = time.time()
    home, path = _home_of(spec.share, spec.home or spec.uuid, spec.script)
    source = _script_as_accepted(str(path), spec.digest)
    if source is None:
        return tell(_without_script(home, started)), None
    progress = Progress(report)
    with ExitStack() as stack:
        try:
            if spec.home:
                folder.make(compute_only=bool(spec.config.get("compute_only")))
            told_to_end = stack.enter_context(watched_for_end())
            patience_s = _NO_PATIENCE_S if spec.may_overlap else _LOCK_PATIENCE_S
            is_alone = stack.enter_context(only_one(home.lock, spec.uuid, patience_s)) and not spec.may_overlap
            here = folder.name if is_alone else fence_off(folder, spec.attempt)
            watch = stack.enter_context(_watched(spec, folder))
            stack.enter_context(captured_output(f"{folder.name}/job.log", spec.attempt))
            put_back = stack.enter_context(clean_process(here, str(path), f"{spec.uuid}/{spec.attempt}"))
        except OSError as error:
            return tell(_without_share(error, started)), None
        report({"kind": "started", "pid": os.getpid(), "node": _HOSTNAME, "time": started})
        if backend is not None:
            stack.enter_context(use_backend(backend))
        around = Surroundings(folder, progress, backend, is_stopping, report, put_back)
        process = os.getpid()
        answer = call_script(spec, Script(path, source), around)
        if os.getpid() != process:
            # A process that the script has forked comes this way too. The worker, its lines and its lock are not its.
            flush_output()
            os._exit(0 if answer.error is None else 1)
        usage = watch.end()
        flush_output()
        if told_to_end() or watch.was_stopped():
            raise SystemExit("the worker was told to end while the script ran: the attempt has no outcome")
        outcome = tell(_outcome(answer, started, progress, folder, usage, bool(spec.gpu_memory)))
    return outcome, handed_on(spec, outcome, answer.value)


class _Watch:
    """The watchdog over one attempt; without a guard there is none."""

    def __init__(self, dog: Guard | None) -> None:
        self._dog = dog
        self._ended = False

    def was_stopped(self) -> bool:
        """Return whether it was being stopped when it ended: a signal may be on its way."""
        return self._dog is not None and self._dog.must_leave()

    def end(self) -> Usage | None:
        """End what the script has left running; return what the attempt took."""
        if self._dog is None or self._ended:
            return None
        self._ended = True
        usage = self._dog.end()
        if usage.left_running:
            with suppress(OSError, ValueError):
                print(f"Processes that the script had left running were ended: {usage.left_running}.", file=sys.stderr)
        return usage


@contextmanager
def _watched(spec: RunSpec, folder: JobFolder) -> Iterator[_Watch]:
    dog = None if spec.endpoint is None else guard()
    if dog is not None:
        dog.begin(
            spec.uuid,
            spec.attempt,
            memory_limit=spec.memory_limit,
            gpu_limit=(spec.gpu_memory or UNBOUNDED) if spec.gpus else None,
            log=f"{folder.name}/job.log",
            max_log_bytes=spec.max_log_bytes,
            endpoint=spec.endpoint,
        )
    watch = _Watch(dog)
    try:
        yield watch
    finally:
        watch.end()


def _outcome(
    answer: Answer, started: float, progress: Progress, folder: JobFolder, usage: Usage | None, limited: bool
) -> Outcome:
    return Outcome(
        ok=answer.error is None,
        started=started,
        stopped=time.time(),
        result=answer.result,
        error=answer.error,
        failure=answer.failure and str(answer.failure),
        sentence=answer.sentence,
        exit_code=answer.exit_code,
        log=None if answer.error is None else folder.log_tail(),
        opaque=answer.opaque,
        awaits=answer.awaits,
        retry_after=answer.retry_after,
        peak_rss=usage.peak_rss if usage else None,
        peak_uss=usage.peak_uss if usage else None,
        peak_gpu_memory=usage.peak_gpu_memory if usage else None,
        cpu_time=usage.cpu_time if usage else None,
        total=progress.total,
        steps=[step.as_plain() for step in progress.steps],
        notes=[*progress.notes, *([_NO_NVML] if limited and usage and usage.gpu_unwatched else [])],
    )


def _without_script(home: JobFolder, started: float) -> Outcome:
    """Return the outcome of an attempt whose script is not there: the share may be gone, or the file alone."""
    if not home.path.is_dir():
        return _without_share(FileNotFoundError(errno.ENOENT, "the folder is not there"), started)
    return _not_begun(FailureClass.INTERNAL, _NO_SCRIPT, started)


def _without_share(error: OSError, started: float) -> Outcome:
    words = error.strerror or str(error)
    if error.errno in FULL:
        return _not_begun(FailureClass.INTERNAL, _NO_ROOM.format(words), started)
    return _not_begun(FailureClass.NODE_LOST, _NO_SHARE.format(words), started)


def _not_begun(failure: FailureClass, sentence: str, started: float) -> Outcome:
    stopped = time.time()
    return Outcome(ok=False, started=started, stopped=stopped, error=sentence, sentence=sentence, failure=str(failure))


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
        with suppress(FileNotFoundError, NotRegular, FileTooLarge):
            about = os.lstat(script)
            source, found = _read_script(script, about.st_ino, about.st_size, about.st_mtime_ns)
            if found == digest:
                return source
        if time.monotonic() > deadline:
            return None
        time.sleep(_SCRIPT_LOOK_S)


@lru_cache(maxsize=16)
def _read_script(script: str, inode: int, size: int, changed: int) -> tuple[bytes, str]:
    """Return a script's content and digest; a file that has changed is another."""
    source = read_path(script, max_bytes=_MAX_SCRIPT_BYTES)
    return source, hashlib.sha256(source).hexdigest()
