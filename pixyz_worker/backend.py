"""Where tasks run: the protocol of a backend, and which one is in use here."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from pixyz_worker.outcome import Outcomes
from pixyz_worker.pc import ProgramContext
from pixyz_worker.result import ResultHandle

if TYPE_CHECKING:
    from pixyz_worker.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCall:
    """One task to run: an entrypoint of a script with its params."""

    id: str
    """Id that the task will have."""

    params: Any
    """What the entrypoint gets as params; JSON-able."""

    context: ProgramContext
    """Context to run with; names the script and the entrypoint."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """What the caller asked for: queue, time_limit, ...; stronger than the entrypoint's schedule."""


class Backend(Outcomes, Protocol):
    """Runs tasks, and knows how they stand."""

    is_local: bool
    """Whether tasks run in this very process."""

    ends: Container[str]
    """Ids of the ends of graphs that were started here and go on by themselves."""

    def submit_plan(self, plan: Plan) -> ResultHandle:
        """Run a graph, which may be one task, and return the handle of its end."""

    def result(self, task_id: str) -> ResultHandle:
        """Handle on a task by its id."""


_current: ContextVar[Backend | None] = ContextVar("pixyz_backend", default=None)


def current_backend() -> Backend:
    """The backend that tasks started here run on; in this process when nothing else was chosen."""
    return _current.get() or _local_backend()


@contextmanager
def use_backend(backend: Backend) -> Iterator[Backend]:
    """Make `backend` the one that tasks started inside run on."""
    token = _current.set(backend)
    try:
        yield backend
    finally:
        _current.reset(token)


@cache
def _local_backend() -> Backend:
    from pixyz_worker.local_run import LocalBackend

    return LocalBackend()


def new_id() -> str:
    """A fresh id for a task or a group."""
    from uuid import uuid4

    return str(uuid4())
