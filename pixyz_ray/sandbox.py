"""The process around a script: its log, its folder, its environment, and the lock that lets only one attempt run."""

from __future__ import annotations

# What lies below `signal`, which makes an enum of every number and of every handler: 25 us of each call.
import _signal
import ctypes
import faulthandler
import fcntl
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from pixyz_ray.confined_files import open_to_append
from pixyz_ray.process_state import ProcessState
from pixyz_worker.exception import SoftTimeLimitExceeded

ATTEMPT_MARK = "PIXYZ_ATTEMPT"
"""Variable that every process which a script starts carries: `uuid/attempt`."""
_LOCK_EVERY_S = 0.05
_STANDARD = (0, 1, 2)
_LAST_PLACE = (1 << 62) - 1
_C = ctypes.CDLL(None)
_streams: dict[int, TextIO] = {}


class ToldToEnd(SoftTimeLimitExceeded, SystemExit):
    """Raised in a script when its process is told to end: at its time limit, or cancelled.

    Scripts catch it by the name that Celery has for it.
    """


@contextmanager
def only_one(lock: str | Path, uuid: str, patience_s: float = 10.0) -> Iterator[bool]:
    """Hold the job's lock: an attempt that was given up for lost may still run, and is to end before the next begins.

    The jobs of a graph share the file, and each locks a byte of its own: to make a file takes ten times as long.

    Args:
        lock: the file.
        uuid: the job.
        patience_s: seconds to wait for the lock.

    Yields:
        Whether it is held. If not, an earlier attempt still runs: its watchdog ends it within seconds, but that of a
        machine that is cut off or frozen cannot. The attempt must be fenced off then (see fence.py).
    """
    file = open_to_append(os.fspath(lock))
    place = int(uuid.replace("-", ""), 16) & _LAST_PLACE
    try:
        deadline = time.monotonic() + patience_s
        while not (is_held := _locked(file, place)) and time.monotonic() < deadline:
            time.sleep(_LOCK_EVERY_S)
        yield is_held
    finally:
        os.close(file)


def _locked(file: int, place: int) -> bool:
    try:
        # A POSIX lock, unlike flock, does not pass to children that the script forks.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError:
        return False
    return True


@contextmanager
def watched_for_end() -> Iterator[Callable[[], bool]]:
    """Hand out a function that tells whether the process was told to end (SIGTERM) meanwhile.

    Whatever a script does then, such as failing because its child process was ended too, is not its own doing.
    """
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = _signal.getsignal(signal.SIGTERM)

    def take(number: int, frame: FrameType | None) -> None:
        told.append(number)
        raise ToldToEnd(128 + number)

    _signal.signal(signal.SIGTERM, take)
    try:
        yield lambda: bool(told)
    finally:
        _signal.signal(signal.SIGTERM, before)


@contextmanager
def captured_output(log: str, attempt: int) -> Iterator[None]:
    """Send file descriptors 1 and 2 to the job's log, so that C libraries and child processes are caught too."""
    # The script's last attempt may have left a FIFO there, which would never open.
    target = open_to_append(log)
    if attempt > 1:
        with suppress(OSError):
            os.write(target, f"--- attempt {attempt} ---\n".encode())
    _flush(sys.stdout, sys.stderr)
    saved = [os.dup(number) for number in _STANDARD]
    streams = sys.stdout, sys.stderr
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    # Not through descriptor 2, which a script may close: what it says of a crash is all that is known of it. The other
    # threads are the platform's own: what they did would only hide, at the log's end, what the script did.
    faulthandler.enable(file=target, all_threads=False)
    try:
        yield
    finally:
        flush_output()
        faulthandler.disable()
        os.close(target)
        sys.stdout, sys.stderr = streams
        for number, original in zip(_STANDARD, saved, strict=True):
            os.dup2(original, number)
            os.close(original)


def flush_output() -> None:
    """Bring to the log what Python and C still hold of what was printed."""
    _flush(sys.stdout, sys.stderr)
    with suppress(Exception):
        _C.fflush(None)


def _stream(descriptor: int) -> TextIO:
    """Return this process's own text stream over a descriptor; a script may have closed the last one."""
    try:
        if not _streams[descriptor].closed:
            return _streams[descriptor]
    except (KeyError, ValueError):
        pass
    _streams[descriptor] = _line_stream(descriptor)
    return _streams[descriptor]


def _line_stream(descriptor: int) -> TextIO:
    raw = io.FileIO(descriptor, "w", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _flush(*streams: TextIO) -> None:
    for stream in streams:
        with suppress(Exception):
            stream.flush()


@contextmanager
def clean_process(folder: str, script: str, mark: str) -> Iterator[Callable[[], None]]:
    """Give the script its own folder, arguments and environment, and put everything back for the next job.

    What it hands out puts back at once what the platform needs too, as soon as the script has been called.

    Args:
        folder: the current folder while it runs.
        script: what it finds as its own path.
        mark: the attempt, by which the processes that it starts are known.
    """
    os.environ[ATTEMPT_MARK] = mark
    environment, path, arguments, here = _environment(), list(sys.path), list(sys.argv), _current_folder()
    os.chdir(folder)
    sys.argv = [script]
    try:
        yield ProcessState().put_back
    finally:
        os.chdir(here)
        sys.path[:] = path
        sys.argv = arguments
        if _environment() != environment:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()})


def _environment() -> dict[bytes, bytes]:
    # What lies below os.environ: its own copy decodes every name and value, a hundred times the time.
    return os.environ._data.copy()  # type: ignore[attr-defined,no-any-return]


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is all that chdir needs
    except OSError:
        return "/"
