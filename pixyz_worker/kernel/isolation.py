"""Reading a file in a process of its own: what native code does to that process does not happen to the job.

A parser that crashes, hangs or eats memory ends its own process; the caller gets a FormatError with a sentence. The
scene comes back through a file in Arrow's format that is mapped into memory, not copied, and checked like the file of
a stranger, which it is once a parser has gone wrong.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pixyz_worker
from pixyz_worker import exception
from pixyz_worker.exception import FormatError, PixyzException
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_CHILD = "pixyz_worker.kernel.isolated_reading"
_ANSWER_BYTES, _WORDS_BYTES = 1 << 20, 1 << 16
"""What is kept of the child's answer, from its beginning, and of what libraries print, from its end."""
_LOOK_S = 0.02
_KINDS = (
    *("InvalidFile", "FormatError", "UnsupportedFormat", "UnsafeFile"),
    *("PixyzFileNotFound", "PixyzSecurityViolation"),
)
"""Errors of a reader that reach the caller as what they are."""
_MEMORY_WORDS = (b"bad_alloc", b"MemoryError", b"out of memory", b"Standard_OutOfMemory")


def read(reader: str, path: Path, options: ReadOptions) -> Scene:
    """Read a file with 'module:function' in a child process.

    Raises what the reader raises where that is an error of ours, and FormatError for everything else: when it cannot
    read the file, with its reason, and when the child crashes, takes longer or more memory than the limits allow.
    """
    limits = Limits.from_environment()
    with tempfile.TemporaryDirectory(prefix="pixyz-read-") as folder:
        result = Path(folder) / "scene.pxz"
        told = json.dumps(asdict(options))
        # -P: a file of a stranger in the current folder is not to be imported in place of a module.
        command = [sys.executable, "-P", "-m", _CHILD, str(os.getpid()), reader, str(path), str(result), told]
        ending = _run(command, limits.max_import_seconds)
        if said := ending.words.decode("utf-8", "replace").strip():
            print(said, file=sys.stderr, flush=True)  # into the job's log
        _raise_problem(ending, path, limits)
        from pixyz_worker.kernel.formats.pxz import container as pxz_container

        return pxz_container.read(result, ReadOptions())  # stays mapped after the folder is gone


@dataclass(kw_only=True, slots=True)
class _Ending:
    """How a child has ended, and what it said."""

    code: int | None = None
    """Its exit code, negative for a signal; None when its time was over."""
    answer: bytes = b""
    """What it wrote to its standard output."""
    words: bytes = b""
    """The end of what it wrote to its standard error."""

    def hear(self, stream: str, data: bytes) -> None:
        """Note what came from a stream."""
        if stream == "answer":
            self.answer += data[: _ANSWER_BYTES - len(self.answer)]
        else:
            self.words = (self.words + data)[-_WORDS_BYTES:]


def _run(command: list[str], allowed_s: float) -> _Ending:
    """Run a child until it ends or its time is over; it and its own children are gone afterwards, come what may."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        env={**_THREADS, **os.environ, "PYTHONPATH": _path()},
    )
    ending = _Ending()
    try:
        in_time = _listen(child, ending, time.monotonic() + allowed_s if allowed_s else None)
    finally:
        # The child is not waited for yet, so its number, which is that of its group, cannot be somebody else's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        for stream in (child.stdout, child.stderr):
            assert stream is not None
            stream.close()
    ending.code = code if in_time else None
    return ending


_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Unless the environment says otherwise: numpy's start is quicker without a thread for each core."""


def _path() -> str:
    """The modules that the child sees: those that this process sees, but for the current folder."""
    own = str(Path(pixyz_worker.__file__).parents[1])
    return os.pathsep.join(dict.fromkeys([*(entry for entry in sys.path if entry), own]))


def _listen(child: subprocess.Popen[bytes], ending: _Ending, deadline: float | None) -> bool:
    """Hear what a child says until it has ended; False when the deadline comes first.

    The end of the streams is not waited for: a child of the child may keep them open.
    """
    streams = {"answer": child.stdout, "words": child.stderr}
    with selectors.DefaultSelector() as selector:
        for name, stream in streams.items():
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, name)
        pidfd = _pidfd(child.pid)
        if pidfd >= 0:
            selector.register(pidfd, selectors.EVENT_READ, "end")
        try:
            while not _has_ended(child.pid):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                patience = left if pidfd >= 0 else min(_LOOK_S, left or _LOOK_S)
                _hear(selector, ending, patience)
            while _hear(selector, ending, 0):
                pass
        finally:
            if pidfd >= 0:
                os.close(pidfd)
    return True


def _pidfd(pid: int) -> int:
    """What can be read when a process has ended; -1 where there is no such thing, or it is not allowed."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _hear(selector: selectors.BaseSelector, ending: _Ending, patience_s: float | None) -> bool:
    """Take what has come from the streams; whether there was something."""
    heard = False
    for key, _ in selector.select(patience_s):
        if key.data == "end":
            continue
        data = os.read(key.fd, _WORDS_BYTES)
        if data:
            ending.hear(key.data, data)
            heard = True
        else:
            selector.unregister(key.fileobj)
    return heard


def _raise_problem(ending: _Ending, path: Path, limits: Limits) -> None:
    """Raise the error that an ending stands for, if any."""
    if ending.code is None:
        allowed = f"{limits.max_import_seconds:g} s that are allowed (MAX_IMPORT_SECONDS)"
        raise FormatError(f"{path.name} takes longer to be read than the {allowed}.")
    told = _told(ending)
    if told.get("memory") or (ending.code and any(word in ending.words for word in _MEMORY_WORDS)):
        allowed = f"{limits.max_import_bytes} bytes that are allowed (MAX_IMPORT_BYTES)"
        raise FormatError(f"{path.name} needs more memory to be read than the {allowed}.")
    if ending.code:
        raise FormatError(f"{path.name} {_fault(ending.code)}")
    if told.get("kind"):  # a whole sentence already
        kind: type[PixyzException] = getattr(exception, told["kind"]) if told["kind"] in _KINDS else FormatError
        raise kind(str(told.get("problem")))
    if told.get("problem"):
        raise FormatError(f"{path.name} {told['problem']}")
    if not told:
        raise FormatError(f"{path.name} ended the process that read it before it was done: the file is damaged.")


def _told(ending: _Ending) -> dict[str, Any]:
    try:
        told = json.loads(ending.answer)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _fault(code: int) -> str:
    if code == -signal.SIGKILL:
        return "could not be read: the process that read it was killed, as happens where memory runs out."
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        return f"crashes the library that reads it (signal {-code}, {name}): the file is damaged, or not what it says."
    return f"ended the process that read it, with exit code {code}: the file is damaged, or not what it says."
