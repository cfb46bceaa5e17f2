"""Every error that the platform raises on purpose, in one tree.

    PixyzException(message)
    +-- InvalidBackendParameter         a parameter that the platform cannot accept
    +-- InvalidFile                     a file that cannot be used as it is
    |   +-- FormatError                 its format is not what its name says, or is not supported here
    |   |   +-- UnsupportedFormat       nothing installed here reads or writes this format
    |   +-- UnsafeFile                  it reaches outside its folder, or swells; a PixyzSecurityViolation too
    +-- InvalidScript                   a script that does not parse or has no such entrypoint (line, column)
    +-- InternalError                   a fault of the platform itself
    +-- LicenseUnavailable              no licence seat could be had
    +-- PixyzWebError                   an HTTP answer that says no (status_code, url)
    +-- PixyzFileNotFound               a file that should be there is not
    +-- PixyzSharedDirectoryNotFound    the task has no such folder, for example because it is compute_only
    +-- PixyzSecurityViolation          a path or an archive that reaches outside its folder
    +-- PixyzExecutionFault             the process of a task ended abnormally
    |   +-- PixyzSignalFault            ... killed by a signal (signal_number)
    |   +-- PixyzExitFault              ... by leaving with an exit code (exit_code)
    +-- PixyzTimeout                    something took longer than allowed; a TimeoutError too
    +-- SharePathNotFoundError          the share is not there; a ValueError too
    +-- SharePathInvalidError           the share's path makes no sense; a ValueError too

All of them survive pickling, whatever the arguments of their constructor: they cross process borders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PixyzException(Exception):
    """Root of the tree; `message` is a sentence for the user."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.args, self.__dict__)


class InvalidBackendParameter(PixyzException):
    """A parameter that the platform cannot accept."""


class InvalidFile(PixyzException):
    """A file that cannot be used as it is."""


class FormatError(InvalidFile):
    """A file whose content is not what its name promises."""


class UnsupportedFormat(FormatError):
    """A format that nothing installed here reads or writes."""


class InvalidScript(PixyzException):
    """A script that cannot be run: it does not parse, or has no such entrypoint.

    `line` and `column` count from 1 and are None where no place can be named.
    """

    def __init__(self, message: str = "", *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class InternalError(PixyzException):
    """A fault of the platform itself, not of the script nor of its input."""


class LicenseUnavailable(PixyzException):
    """No licence seat could be had; the same may succeed later."""


class PixyzWebError(PixyzException):
    """An HTTP request that was answered with an error."""

    def __init__(self, status_code: int, url: str, message: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.url = url

    def __str__(self) -> str:
        return f"{self.url} answered {self.status_code}: {self.message}"


class PixyzFileNotFound(PixyzException):
    """A file that should be there is not."""


class PixyzSharedDirectoryNotFound(PixyzException):
    """The task has no such folder, for example because it is compute_only."""


class PixyzSecurityViolation(PixyzException):
    """A path or an archive that reaches outside the folder it belongs to, or beyond its bounds."""


class UnsafeFile(InvalidFile, PixyzSecurityViolation):
    """A file that reaches outside its folder, or unpacks beyond its bounds: the input is bad, not the script."""


class PixyzExecutionFault(PixyzException):
    """The process of a task ended abnormally."""


class PixyzSignalFault(PixyzExecutionFault):
    """The process of a task was killed by a signal."""

    def __init__(self, signal_number: int, message: str | None = None) -> None:
        name = _signal_name(signal_number)
        super().__init__(message or f"the process was killed by signal {signal_number} ({name})")
        self.signal_number = signal_number


class PixyzExitFault(PixyzExecutionFault):
    """The process of a task left with an exit code instead of returning."""

    def __init__(self, exit_code: int, message: str | None = None) -> None:
        super().__init__(message or f"the process left with exit code {exit_code}")
        self.exit_code = exit_code


class PixyzTimeout(PixyzException, TimeoutError):
    """Something took longer than it was allowed to."""


class SharePathNotFoundError(PixyzException, ValueError):
    """The folder that all machines share is not there."""


class SharePathInvalidError(PixyzException, ValueError):
    """The path given for the shared folder makes no sense."""


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _revive(cls: type[PixyzException], args: tuple[Any, ...], state: Mapping[str, Any]) -> PixyzException:
    """Rebuild a pickled error without calling its constructor, whose arguments are not kept."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
