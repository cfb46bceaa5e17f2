"""What is told of a task that was not run, and the error that a text tells of.

On a cluster an error comes back as text: its class may exist on the worker alone.
"""

from __future__ import annotations

import builtins
import re
from ast import literal_eval

from pixyz_worker import exception
from pixyz_worker.exception import PixyzException, PixyzExitFault, PixyzSignalFault

_NOT_RUN = "Not run, because task"
_BLAMED = re.compile(rf"^{_NOT_RUN} \S+ (?:\([^)]*\) )?(?:failed: |was cancelled\.$)", re.MULTILINE)
_FRAMES = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*", re.MULTILINE)
_TYPE = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:: |$)")
_NUMBER = re.compile(r"(?:signal|exit code) (-?\d+)")
_MAX_CHARS = 1000


def not_run(cause_id: str, name: str, cause: str | None, *, cancelled: bool = False) -> str:
    """The text of a task that was not run, naming what is to blame: the first task, not one that it took along."""
    words = _last_words(cause or "")
    if words.startswith(_NOT_RUN):
        return words
    blamed = f"{_NOT_RUN} {cause_id} ({name})"
    # Told again by each task that is not run, of which there may be thousands.
    return f"{blamed} was cancelled." if cancelled else f"{blamed} failed: {words[:_MAX_CHARS]}"


def not_wanted(failed_id: str) -> str:
    """The text of a task that was cancelled since another of its fail_fast composition had failed."""
    return f"Cancelled, because task {failed_id} failed and the composition is fail_fast."


def not_called(cause_id: str, name: str, state: str) -> str:
    """Return the text of an error callback that was not run because its task did not fail."""
    return f"TaskRevokedError: an error callback, not run: task {cause_id} ({name}) ended with {state}."


EXPIRED = "expired: the task had not started by then"
"""Message of a task that was revoked because it had not started before it expired."""


def error_of(text: str) -> BaseException:
    """The error that a text ends with: of its own type where that is Python's or the SDK's, else a PixyzException.

    >>> error_of("Traceback (most recent call last):\\n  File ...\\nValueError: no such part")
    ValueError('no such part')
    """
    words = _last_words(text)
    blamed = _BLAMED.match(words)
    if blamed is not None and blamed.end() < len(words):
        words = words[blamed.end() :]
    found = _TYPE.match(words)
    kind = found and (getattr(exception, found[1], None) or getattr(builtins, found[1], None))
    if found is None or not (isinstance(kind, type) and issubclass(kind, Exception | SystemExit)):
        return PixyzException(words)
    try:
        return _made(kind, words[found.end() :])
    except Exception:
        return PixyzException(words)


def _last_words(text: str) -> str:
    """What an error's text comes to, maybe in several lines: whom it blames, or else what follows the frames."""
    text = text.rstrip()
    if blamed := [*_BLAMED.finditer(text)]:
        return text[blamed[-1].start() :]
    if frames := [*_FRAMES.finditer(text)]:
        return text[frames[-1].end() :]
    return text.rpartition("\n")[2]


def _made(kind: type[BaseException], message: str) -> BaseException:
    """An error as it was before it was printed."""
    if kind is SystemExit:
        return PixyzExitFault(int(message) if message.lstrip("-").isdigit() else 1)
    if kind is KeyError:
        return KeyError(literal_eval(message))
    if issubclass(kind, PixyzSignalFault | PixyzExitFault):
        number = _NUMBER.search(message)
        return kind(int(number[1]) if number else 0, message)
    return kind(message) if message else kind()
