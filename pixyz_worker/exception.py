"""Every error that the platform raises on purpose, in one tree.

    PixyzException(message)
    +-- InvalidBackendParameter         a parameter that the platform cannot accept
    +-- InvalidFile                     a file that cannot be used as it is
    |   +-- InvalidYamlFile             ... whose YAML cannot be read
    |   |   +-- InvalidConfigurationFile    ... and that should configure something
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
    +-- DiskStateAlreadyExists          another process does the same at this time
    +-- TaskNotCompletedError           the task has not ended yet
    +-- TaskProcessingStarted           the task has begun already
    +-- PixyzExceptionUnpickleableExceptionWrapper  stands for an error that cannot be pickled
    +-- NotAvailable                    a name of old scripts that does not work here; says what to use instead
    +-- TaskError                       names of celery.exceptions, from here on: a task that cannot be run
    |   +-- InvalidTaskError            ... since it makes no sense
    |   +-- MaxRetriesExceededError     ... again, since it was retried as often as it may be
    |   +-- TaskRevokedError            ... since it was cancelled
    |   +-- NotRegistered               ... since there is none of this name; a KeyError too
    |   +-- AlreadyRegistered           ... since there are two
    +-- TaskPredicate                   raised by a task to control what happens to it
    |   +-- Retry                       run it again (exc, when, countdown)
    |   +-- Ignore                      it has no result
    |   +-- Reject                      it is not to be run by this worker (reason, requeue)
    +-- BackendError                    results cannot be fetched
    |   +-- ChordError                  a member of a chord failed
    +-- ImproperlyConfigured            settings that cannot work
    |   +-- SecurityError               ... or must not
    +-- OperationalError                the platform cannot be reached
    +-- QueueNotFound                   there is no queue of this name; a KeyError too

All of them survive pickling, whatever the arguments of their constructor: they cross process borders.

SoftTimeLimitExceeded is outside the tree: it is not an Exception, so that `except Exception` in a loop does not delay
the end of a job that is being stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "ChordError",
    "DiskStateAlreadyExists",
    "FormatError",
    "Ignore",
    "ImproperlyConfigured",
    "InternalError",
    "InvalidBackendParameter",
    "InvalidConfigurationFile",
    "InvalidFile",
    "InvalidScript",
    "InvalidTaskError",
    "InvalidYamlFile",
    "LicenseUnavailable",
    "MaxRetriesExceededError",
    "NotAvailable",
    "NotRegistered",
    "OperationalError",
    "PixyzException",
    "PixyzExceptionUnpickleableExceptionWrapper",
    "PixyzExecutionFault",
    "PixyzExitFault",
    "PixyzFileNotFound",
    "PixyzSecurityViolation",
    "PixyzSharedDirectoryNotFound",
    "PixyzSignalFault",
    "PixyzTimeout",
    "PixyzWebError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SharePathInvalidError",
    "SharePathNotFoundError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskNotCompletedError",
    "TaskPredicate",
    "TaskProcessingStarted",
    "TaskRevokedError",
    "UnsafeFile",
    "UnsupportedFormat",
]


class PixyzException(Exception):
    """Root of the tree; `message` is a sentence for the user."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def dict(self) -> Mapping[str, str]:
        """Return the message as a mapping: `{"message": ...}`."""
        return {"message": self.message}

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.args, self.__dict__)


class InvalidBackendParameter(PixyzException):
    """A parameter that the platform cannot accept."""


class InvalidFile(PixyzException):
    """A file that cannot be used as it is."""


class InvalidYamlFile(InvalidFile):
    """A YAML file that cannot be read."""


class InvalidConfigurationFile(InvalidYamlFile):
    """A configuration file that cannot be read."""


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


class DiskStateAlreadyExists(PixyzException):
    """Another process does the same at this time."""


class TaskNotCompletedError(PixyzException):
    """The task has not ended yet."""


class TaskProcessingStarted(PixyzException):
    """The task has begun already."""


class PixyzExceptionUnpickleableExceptionWrapper(PixyzException):
    """Type and message, as text, of an error that cannot be pickled, such as one of a C library."""

    def __init__(self, error: object) -> None:
        kind = type(error)
        super().__init__(error if isinstance(error, str) else f"{kind.__module__}.{kind.__qualname__}: {error}")


class NotAvailable(PixyzException, NotImplementedError):
    """A name that old scripts import does not work here; the message says what to use instead."""


class TaskError(PixyzException):
    """A task that cannot be run."""


class InvalidTaskError(TaskError):
    """A task that makes no sense."""


class MaxRetriesExceededError(TaskError):
    """A task was retried as often as it may be."""


class TaskRevokedError(TaskError):
    """A task was cancelled."""


class NotRegistered(TaskError, KeyError):
    """There is no task of this name."""

    def __str__(self) -> str:
        return self.message


class AlreadyRegistered(TaskError):
    """There are two tasks of the same name."""


class TaskPredicate(PixyzException):
    """Raised by a task to control what happens to it."""


class Retry(TaskPredicate):
    """Raised by a task to be run again.

    Args:
        message: text for the user; made of the other arguments when there is none.
        exc: the error because of which it is to be run again, or a text.
        when: seconds from now, or the time as a datetime.
        is_eager: whether the task runs in the process of its caller.
        sig: the signature to run.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **options: Any,
    ) -> None:
        self.exc = None if isinstance(exc, str) else exc
        self.excs = exc if isinstance(exc, str) else repr(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        self.options = options
        """Further options of Celery's `retry`: `queue`, `max_retries`, ..."""
        super().__init__(message or f"Retry {self.humanize()}{f': {self.excs}' if self.excs else ''}")

    @property
    def countdown(self) -> float:
        """Seconds from now until it is to be run again, 0 or more."""
        if self.when is None:
            return 0.0
        if isinstance(self.when, int | float):
            return max(0.0, float(self.when))
        now = datetime.now(self.when.tzinfo or UTC)
        when = self.when if self.when.tzinfo else self.when.replace(tzinfo=UTC)
        return max(0.0, (when - now).total_seconds())

    def humanize(self) -> str:
        """Return in words when it is to be run again."""
        if isinstance(self.when, datetime):
            return f"at {self.when}"
        return "now" if self.when is None else f"in {self.when}s"


class Ignore(TaskPredicate):
    """Raised by a task that has no result; on this platform the job fails with this message."""


class Reject(TaskPredicate):
    """Raised by a task that this worker is not to run; on this platform the job fails with this message."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__("rejected" if reason is None else str(reason))
        self.reason = reason
        self.requeue = requeue


class BackendError(PixyzException):
    """Results cannot be fetched."""


class ChordError(BackendError):
    """A member of a chord failed."""


class ImproperlyConfigured(PixyzException):
    """Settings that cannot work."""


class SecurityError(ImproperlyConfigured):
    """Settings that would not be safe."""


class OperationalError(PixyzException):
    """The platform cannot be reached."""


class QueueNotFound(PixyzException, KeyError):
    """There is no queue of this name."""

    def __str__(self) -> str:
        return self.message


class SoftTimeLimitExceeded(BaseException):
    """Raised in a script whose job is being stopped: at its time limit, or cancelled.

    The script has half a second to clean up; its return value is ignored then.
    """


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
