"""Why attempts fail: the classes, and for each a sentence that says what happened and what to do."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from pixyz_ray.units import format_memory, format_number


class FailureClass(StrEnum):
    """Why an attempt failed; decides whether there is another one (see retries.py)."""

    USER_ERROR = "user_error"
    """The script raised an exception, or returned what cannot be kept."""
    BAD_INPUT = "bad_input"
    """The input file cannot be used as it is."""
    TIMEOUT = "timeout"
    """It took longer than its time limit."""
    OUT_OF_MEMORY = "out_of_memory"
    """It took more memory than it may, or than the machine has."""
    CRASH = "crash"
    """A signal killed its process."""
    EXIT = "exit"
    """Its process left with an exit code."""
    RETRY = "retry"
    """The script asked to be run again (pc["task"].retry)."""
    LICENSE = "license"
    """There was no licence seat for it."""
    NODE_LOST = "node_lost"
    """The machine, its worker or the platform's own part was lost while it ran."""
    DEPENDENCY_FAILED = "dependency_failed"
    """A task that it waits for did not end well."""
    CANCELLED = "cancelled"
    """Somebody cancelled it."""
    INTERNAL = "internal"
    """The platform could not run it."""


def timeout_sentence(seconds: float) -> str:
    """Return what to tell about a run that took longer than it may."""
    return (
        f"PixyzTimeout: The job was ended after its time limit of {format_number(seconds)} s. "
        "Give it more with the time_limit of the request or of @pixyz_schedule."
    )


def memory_sentence(limit: int | None, peak: int | None) -> str:
    """Return what to tell about a run that took more memory than it may, in bytes, or than the machine has."""
    took = f" It had taken {_size(peak)}." if peak else ""
    if limit is None:
        return (
            f"The machine ran out of memory and the job's process was ended.{took} "
            "Use a smaller input, or a queue with more memory."
        )
    return (
        f"The job was ended at its memory limit of {_size(limit)}.{took} "
        "Give it more with memory_limit, use a smaller input, or a queue with more memory."
    )


def gpu_sentence(declared: int | None, used: int | None) -> str:
    """Return what to tell about a run that took more memory on a GPU than it declared, in bytes."""
    return (
        f"The job was ended: used {format_memory(used or 0)} of GPU memory, declared {format_memory(declared or 0)}. "
        "Declare more with gpu_memory, or use a smaller input."
    )


def signal_sentence(number: int | None) -> str:
    """Return what to tell about a process that a signal killed."""
    if number is None:
        return (
            "PixyzExecutionFault: The job's process ended abruptly, and nothing is left that says why: "
            "a crash in native code, or a kill. See the end of the job's log."
        )
    name = f"signal {number}"
    with suppress(ValueError):
        name = f"signal {number} ({signal.Signals(number).name})"
    advice = _ADVICE.get(number, "See the end of the job's log.")
    return f"PixyzSignalFault: The job's process was killed by {name}. {advice}"


def exit_sentence(code: int) -> str:
    """Return what to tell about a process that left by itself."""
    return (
        f"PixyzExitFault: The job's process left with exit code {code} in the middle of the script "
        "(os._exit, or exit in native code). Raise an exception instead, or return."
    )


def cut_short_sentence(times: int) -> str:
    """Return what to tell about a job that never came to its end."""
    return (
        f"The platform or its machine was lost {times} times while the job ran; it was given up. "
        "If the job itself takes its machine down, give it a memory_limit; else submit it again."
    )


LOST = "The machine or the worker that ran the attempt was lost; the job runs again."
CANCELLED = "The job was cancelled."
UPGRADED = (
    "The platform was upgraded while the attempt ran (pixyz up --replace), and the time that it was given to end was "
    "over; the job runs again."
)
STOPPED = (
    "The platform was stopped while the attempt ran (pixyz down), and the time that it was given to end was over; the "
    "job runs again after the next start."
)

_CRASH = "That is a crash in native code: the end of the job's log shows where. A smaller or repaired input may help."
_ADVICE: Mapping[int, str] = {
    signal.SIGSEGV: _CRASH,
    signal.SIGBUS: _CRASH,
    signal.SIGILL: _CRASH,
    signal.SIGFPE: _CRASH,
    signal.SIGABRT: "Native code gave up (abort): the end of the job's log says why.",
    signal.SIGKILL: "Neither its limits nor the platform did that: look for an operator, or a kernel out of memory.",
    signal.SIGTERM: "Something outside the platform asked it to end.",
}


def _size(count: int | None) -> str:
    size, units = float(count or 0), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.4g} {units[0]}"
