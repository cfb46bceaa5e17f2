"""What comes out of a script: an attempt's outcome, its error as text."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_ERROR_CHARS = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an attempt ended. Plain values only, since it crosses processes and is left on disk."""

    ok: bool
    """Whether the script returned and its result is JSON."""
    started: float
    """Seconds since the epoch."""
    stopped: float
    """Seconds since the epoch."""
    result: Any = None
    """JSON value that the script returned."""
    error: str | None = None
    """Traceback cut to the user's script, or a sentence."""
    failure: str | None = None
    """A FailureClass word."""
    opaque: bool = False
    """Whether what the script returned is no JSON; `result` then only describes it."""
    awaits: str | None = None
    """Job whose end is this one's: the script returned its handle and is to be waited for."""
    retry_after: float | None = None
    """Seconds until the next attempt that the script itself asked for."""
    exit_code: int | None = None
    """Code that the script left with, by sys.exit."""
    log: str | None = None
    """Last lines that a failed attempt printed."""
    sentence: str | None = None
    """What happened and what to do, for an attempt that failed; the error itself where it is a sentence."""
    peak_rss: int | None = None
    """Most bytes of memory that its processes had in use at a time."""
    peak_uss: int | None = None
    """The same without what they share with others."""
    peak_gpu_memory: int | None = None
    """Most bytes that its processes had in use at a time on one GPU."""
    cpu_time: float | None = None
    """Seconds of processor time."""
    total: int | None = None
    """Steps announced."""
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    """`Step.as_plain()` of each step."""
    notes: list[str] = field(default_factory=list)
    """Sentences about steps that were cut or aggregated, for the job's notes."""

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def user_traceback(error: BaseException, script: Path) -> str:
    """Return an error's traceback with the frames of the user's script alone.

    The last line is `Type: message`, as Python prints it.
    """
    return _formatted(error, script, script_only=True)


def full_traceback(error: BaseException, script: Path) -> str:
    """Return an error's traceback from the first frame of the user's script on, libraries included."""
    return _formatted(error, script, script_only=False)


def _formatted(error: BaseException, script: Path, *, script_only: bool) -> str:
    try:
        trace = traceback.TracebackException.from_exception(error)
        _cut(trace, str(script), script_only)
        text = "".join(trace.format()).rstrip()
    except Exception as trouble:
        # The exception's own __str__ or __repr__ fails.
        text = f"{type(error).__name__}: <the message cannot be shown: {type(trouble).__name__}>"
    text = text.replace(f"{script.parent}{os.sep}", "").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > MAX_ERROR_CHARS:
        half = MAX_ERROR_CHARS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text


def _cut(trace: traceback.TracebackException, script: str, script_only: bool) -> None:
    """Drop frames of an error, of its causes and of the members of a group of errors."""
    pending = [trace]
    while pending:
        one = pending.pop()
        ours = [number for number, frame in enumerate(one.stack) if frame.filename == script]
        first = ours[0] if ours else len(one.stack)
        kept = [one.stack[number] for number in ours] if script_only else list(one.stack)[first:]
        one.stack = traceback.StackSummary.from_list(kept)
        pending += [other for other in (one.__cause__, one.__context__) if other is not None]
        pending += one.exceptions or []
