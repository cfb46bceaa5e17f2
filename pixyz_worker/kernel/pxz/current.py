"""`pxz` itself: the session object, and what belongs to a session beside its scenes.

The current session is a context variable: a job begins without one, and what it leaves behind ends with it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.scene import Scene

__all__ = ["get_current_session", "initialize", "release", "set_current_session"]


@dataclass(eq=False, kw_only=True)
class Session:
    """One session: its scenes while another one is current, its settings, its viewers."""

    scenes: tuple[Scene, ...] = ()
    """What was imported, while it is not the current one."""
    properties: dict[tuple[str, str], str] = field(default_factory=dict)
    """What core.setModuleProperty has set, by module and name."""
    viewers: list[Any] = field(default_factory=list)
    """Open viewers, oldest first."""


_current: ContextVar[Session | None] = ContextVar("pixyz_current_session", default=None)


def current() -> Session:
    """The current session, made when there is none yet."""
    if (found := _current.get()) is None:
        found = Session()
        _current.set(found)
    return found


def initialize(*options: Any, **more: Any) -> Session:
    """Begin: the session object, which is the current one from now on; the arguments mean nothing here."""
    return current()


def release(*options: Any) -> None:
    """End the current session: its scenes, settings and viewers are forgotten."""
    session.reset()
    _current.set(None)


def get_current_session() -> Session | None:
    """The current session object; None before initialize and after release."""
    return _current.get()


def set_current_session(wanted: Session | None) -> None:
    """Make another session the current one; what was imported in this one waits until it is current again."""
    if wanted is not None and not isinstance(wanted, Session):
        raise PixyzException(f"A session is what initialize returns, not {type(wanted).__name__}.")
    before = _current.get()
    if before is wanted:
        return
    if before is not None:
        before.scenes = session.scenes()
    session.reset()
    _current.set(wanted)
    if wanted is not None:
        for scene in wanted.scenes:
            session.add(scene)
        wanted.scenes = ()
