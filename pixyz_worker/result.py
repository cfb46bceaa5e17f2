"""Handles on one task and on several; defined in async_result.py and group_result.py."""

from __future__ import annotations

from pixyz_worker.async_result import AsyncResult, OnMessage, ResultHandle, allow_join_result
from pixyz_worker.group_result import GroupResult, ResultSet, result_from_tuple, revive, task_handles

__all__ = [
    "AsyncResult",
    "GroupResult",
    "OnMessage",
    "ResultHandle",
    "ResultSet",
    "allow_join_result",
    "result_from_tuple",
    "revive",
    "task_handles",
]
