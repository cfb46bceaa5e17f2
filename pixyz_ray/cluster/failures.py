"""What Ray and a watchdog say of the death of an attempt's process, as a failure class and a sentence for its owner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ray import exceptions as ray_errors

from pixyz_ray import failure
from pixyz_ray.failure import FailureClass
from pixyz_worker.exception import PixyzException

RESULT_LOST = "The result that the job was to get was lost with the machine that held it."
"""What is told of a node that had nothing to begin with."""
NOT_INSTALLED = (
    "Ray gave the attempt to a machine that cannot import Pixyz on Ray, see `pixyz nodes`. It runs again elsewhere."
)
"""Message about a machine that has just joined and has not been looked at yet."""
_CANNOT_IMPORT = "The remote function failed to import on the worker"
"""How Ray's own message begins."""

WITHDRAWN = "A machine was lost, or came back, before the attempt had begun; the job is given to Ray again."
"""Error of an attempt that was taken back."""

_NODE_ID = re.compile(r"node ID: ([0-9a-f]{56})\b")
_TABLE: tuple[tuple[type[Exception], FailureClass, str], ...] = (
    (ray_errors.OutOfMemoryError, FailureClass.OUT_OF_MEMORY, failure.memory_sentence(None, None)),
    (ray_errors.NodeDiedError, FailureClass.NODE_LOST, failure.LOST),
    (ray_errors.LocalRayletDiedError, FailureClass.NODE_LOST, failure.LOST),
    (ray_errors.ObjectLostError, FailureClass.NODE_LOST, RESULT_LOST),
    (ray_errors.WorkerCrashedError, FailureClass.CRASH, failure.signal_sentence(None)),
    (ray_errors.TaskCancelledError, FailureClass.CANCELLED, failure.CANCELLED),
    (
        ray_errors.TaskUnschedulableError,
        FailureClass.INTERNAL,
        "No machine of the cluster can run a job of this queue.",
    ),
)


def classify(error: BaseException) -> tuple[FailureClass, str]:
    """Return the class of a failure that Ray reports, and a sentence that says what happened and what to do."""
    for kind, found, sentence in _TABLE:
        if isinstance(error, kind):
            return found, sentence
    # What the platform's own part of a task could not do: its sentence says it all.
    cause = getattr(error, "cause", None)
    if isinstance(cause, PixyzException):
        return FailureClass.INTERNAL, f"{type(cause).__name__}: {cause}"
    if isinstance(cause, RuntimeError) and str(cause).startswith(_CANNOT_IMPORT):
        return FailureClass.NODE_LOST, NOT_INSTALLED
    return FailureClass.INTERNAL, f"The platform failed to run the job: {type(error).__name__}: {error}"


def lost_object(error: BaseException) -> str | None:
    """Return the id (hex) of the object that keeps a task from beginning, since it is lost.

    Returns:
        An empty text if the error does not name it; None for any other error.
    """
    cause = getattr(error, "cause", None)
    for one in (error, cause):
        if isinstance(one, ray_errors.ObjectLostError):
            return str(getattr(one, "object_ref_hex", None) or "")
    # A task that had reported its end died with its machine before it answered Ray: its error is passed on as input.
    is_argument = isinstance(error, ray_errors.RayTaskError) and isinstance(cause, ray_errors.RayError)
    return "" if is_argument else None


def dead_node(error: BaseException) -> str | None:
    """Return Ray's id of the machine that an error reports as dead, where the error names it."""
    found = _NODE_ID.search(str(error)) if isinstance(error, ray_errors.NodeDiedError) else None
    return found and found[1]


def autopsy(
    found: FailureClass,
    sentence: str,
    died: Mapping[str, Any] | None,
    memory_limit: int | None,
    gpu_limit: int | None = None,
) -> dict[str, Any]:
    """Return the outcome of an attempt whose process is gone.

    Args:
        found: what Ray took it for.
        sentence: what to tell then.
        died: what the watchdog saw, if there was one.
        memory_limit: bytes that the attempt could take; None for any.
        gpu_limit: the same on one GPU.
    """
    died = died or {}
    number, code = died.get("signal"), died.get("exit_code")
    if found is FailureClass.CRASH:
        if died.get("reason") == "memory":
            found, sentence = FailureClass.OUT_OF_MEMORY, failure.memory_sentence(memory_limit, died.get("peak_uss"))
        elif died.get("reason") == "gpu_memory":
            found, sentence = FailureClass.OUT_OF_MEMORY, failure.gpu_sentence(gpu_limit, died.get("peak_gpu_memory"))
        elif died.get("oom_killer") or died.get("reason") == "machine":
            found, sentence = FailureClass.OUT_OF_MEMORY, failure.memory_sentence(None, died.get("peak_uss"))
        elif died.get("reason") == "stopped":
            # Nobody here has asked for it: the watchdog could not reach us any more.
            found, sentence = FailureClass.NODE_LOST, failure.LOST
        elif number is not None:
            sentence = failure.signal_sentence(number)
        elif code is not None:
            found, sentence = FailureClass.EXIT, failure.exit_sentence(code)
    outcome = {"ok": False, "failure": str(found), "error": sentence, "signal": number, "exit_code": code}
    return outcome | {name: died.get(name) for name in ("peak_rss", "peak_uss", "peak_gpu_memory", "cpu_time")}
