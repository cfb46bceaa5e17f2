"""Errors of one record of the job store: it does not exist, or cannot be read."""

from __future__ import annotations

from pixyz_worker.exception import PixyzException


class UnknownJob(PixyzException):
    """There is no job with that id."""


class UnreadableRecord(UnknownJob):
    """The record of one job or graph cannot be read; the store and all other jobs are usable.

    A subclass of UnknownJob: callers that tolerate a missing job tolerate this one.
    """


def unreadable(kind: str, uuid: object, reason: object) -> UnreadableRecord:
    """Return the error for one record.

    Args:
        kind: `job` or `graph`.
        uuid: its id.
        reason: what is wrong with it.
    """
    if isinstance(reason, BaseException):
        reason = f"{type(reason).__name__}: {reason}"
    return UnreadableRecord(
        f"The record of {kind} {uuid} cannot be read: {str(reason)[:300]}. It is left as it is in the store and is not "
        "run; all other jobs are. A newer version of the platform may be able to read it; `pixyz remove` removes it."
    )
