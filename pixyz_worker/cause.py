"""What is told of a task that was not run, and the error that a text tells of.

On a cluster an error comes back as text: its class may exist on the worker alone.
"""

from __future__ import annotations

import builtins
import re

from pixyz_worker import exception
from pixyz_worker.exception import PixyzException

_NOT_RUN = "Not run, because task"
_CAUSE = re.compile(rf"^{_NOT_RUN} \S+ (?:\([^)]*\) )?(?:failed: |was cancelled)")
_TYPE = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:: |$)")


def not_run(cause_id: str, name: str, cause: str | None, *, cancelled: bool = False) -> str:
    """The text of a task that was not run, naming what is to blame: the first task, not one that it took along."""
    last_line = (cause or "").rstrip().rpartition("\n")[2]
    if last_line.startswith(_NOT_RUN):
        return last_line
    blamed = f"{_NOT_RUN} {cause_id} ({name})"
    return f"{blamed} was cancelled." if cancelled else f"{blamed} failed: {last_line}"


def not_wanted(failed_id: str) -> str:
    """The text of a task that was cancelled since another of its fail_fast composition had failed."""
    return f"Cancelled, because task {failed_id} failed and the composition is fail_fast."


def error_of(text: str) -> BaseException:
    """The error that a text ends with: of its own type where that is Python's or the SDK's, else a PixyzException.

    >>> error_of("Traceback ...\\nValueError: no such part")
    ValueError('no such part')
    """
    line = _CAUSE.sub("", text.rstrip().rpartition("\n")[2])
    found = _TYPE.match(line)
    if found is not None:
        kind = getattr(exception, found[1], None) or getattr(builtins, found[1], None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(line[found.end() :])
            except Exception:
                return PixyzException(line)
    return PixyzException(line)
