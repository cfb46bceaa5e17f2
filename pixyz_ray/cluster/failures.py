"""Ray's exceptions as failure classes, each with a sentence for the job's owner."""

from __future__ import annotations

from ray import exceptions as ray_errors

from pixyz_ray.jobs import FailureClass
from pixyz_worker.exception import PixyzException

RESULT_LOST = "The result that the job was to get was lost with the machine that held it."
"""What is told of a node that had nothing to begin with."""

_TABLE: tuple[tuple[type[Exception], FailureClass, str], ...] = (
    (
        ray_errors.OutOfMemoryError,
        FailureClass.OUT_OF_MEMORY,
        "The machine ran out of memory and the job's process was ended. "
        "Use a smaller input, or a queue with more memory.",
    ),
    (
        ray_errors.NodeDiedError,
        FailureClass.NODE_LOST,
        "The machine that ran the job was lost.",
    ),
    (
        ray_errors.ObjectLostError,
        FailureClass.NODE_LOST,
        RESULT_LOST,
    ),
    (
        ray_errors.WorkerCrashedError,
        FailureClass.CRASH,
        "The job's process ended abruptly: a crash in native code (see the end of the job's log), os._exit or a kill.",
    ),
    (
        ray_errors.TaskCancelledError,
        FailureClass.CANCELLED,
        "The job was cancelled.",
    ),
    (
        ray_errors.TaskUnschedulableError,
        FailureClass.INTERNAL,
        "No machine of the cluster can run a job of this queue.",
    ),
)


def classify(error: BaseException) -> tuple[FailureClass, str]:
    """Return the class of a failure that Ray reports, and a sentence that says what happened and what to do."""
    for kind, failure, sentence in _TABLE:
        if isinstance(error, kind):
            return failure, sentence
    # What the platform's own part of a task could not do: its sentence says it all.
    cause = getattr(error, "cause", None)
    if isinstance(cause, PixyzException):
        return FailureClass.INTERNAL, f"{type(cause).__name__}: {cause}"
    return FailureClass.INTERNAL, f"The platform failed to run the job: {type(error).__name__}: {error}"


def timeout_sentence(seconds: float) -> str:
    """Return what to tell about a run that took longer than it may."""
    return (
        f"PixyzTimeout: The job was ended after its time limit of {seconds:g} s. "
        "Give it more with the time_limit of the request or of @pixyz_schedule, within the queue's limit."
    )
