"""Reading a file in a process of its own: what native code does to that process does not happen to the job.

A parser that crashes, hangs or eats memory ends its own process; the caller gets a FormatError with a sentence. The
scene comes back through a file in Arrow's format that is mapped into memory, not copied, and checked like the file of
a stranger, which it is once a parser has gone wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pixyz_worker
from pixyz_worker import exception
from pixyz_worker.console import say
from pixyz_worker.exception import FormatError, PixyzException
from pixyz_worker.kernel import child_process
from pixyz_worker.kernel.child_process import Ending
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_CHILD = "pixyz_worker.kernel.isolated_reading"
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
        ending = child_process.run(
            command,
            # Text that the child prints has the same encoding on every system.
            {**_THREADS, **os.environ, "PYTHONPATH": _path(), "PYTHONIOENCODING": "utf-8:backslashreplace"},
            allowed_s=limits.max_import_seconds,
            most_bytes=limits.max_import_bytes,
        )
        if said := ending.words.decode("utf-8", "replace").strip():
            say(said, sys.stderr)  # into the job's log
        _raise_problem(ending, path, limits)
        from pixyz_worker.kernel.formats.pxz import container as pxz_container

        return pxz_container.read(result, ReadOptions())  # stays mapped after the folder is gone


_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Unless the environment says otherwise: numpy's start is quicker without a thread for each core."""


def _path() -> str:
    """The modules that the child sees: those that this process sees, but for the current folder."""
    own = str(Path(pixyz_worker.__file__).parents[1])
    return os.pathsep.join(dict.fromkeys([*(entry for entry in sys.path if entry), own]))


def _raise_problem(ending: Ending, path: Path, limits: Limits) -> None:
    """Raise the error that an ending stands for, if any."""
    if ending.too_late:
        allowed = f"{limits.max_import_seconds:g} s that are allowed (MAX_IMPORT_SECONDS)"
        raise FormatError(f"{path.name} takes longer to be read than the {allowed}.")
    told = _told(ending)
    if told.get("memory") or ending.too_large or (ending.code and any(word in ending.words for word in _MEMORY_WORDS)):
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


def _told(ending: Ending) -> dict[str, Any]:
    try:
        told = json.loads(ending.answer)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


_SIGKILL = 9
_WINDOWS_FAULTS = {
    0xC0000005: "access violation",
    0xC00000FD: "stack overflow",
    0xC0000374: "heap corruption",
    0xC0000409: "abort",
}
"""Exit codes with which Windows ends a process that crashes."""


def _fault(code: int) -> str:
    if code == -_SIGKILL:
        return "could not be read: the process that read it was killed, as happens where memory runs out."
    crash = None
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        crash = f"signal {-code}, {name}"
    elif code >= 0xC0000000:
        crash = f"{code:#x}, {_WINDOWS_FAULTS.get(code, 'an exception of Windows')}"
    if crash:
        return f"crashes the library that reads it ({crash}): the file is damaged, or not what it says."
    return f"ended the process that read it, with exit code {code}: the file is damaged, or not what it says."
