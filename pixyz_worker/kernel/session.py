"""What was imported so far: the scenes of one job, below one root.

A session belongs to one context (contextvars): a job gets an empty one, and nothing of it is left for the next job
of the same worker.
"""

from __future__ import annotations

from contextvars import ContextVar

from pixyz_worker.kernel.scene import Scene, combine

_scenes: ContextVar[tuple[Scene, ...]] = ContextVar("pixyz_session", default=())


def scenes() -> tuple[Scene, ...]:
    """The scenes of this session, oldest first."""
    return _scenes.get()


def add(scene: Scene) -> None:
    """Note an imported scene."""
    _scenes.set((*_scenes.get(), scene))


def whole() -> Scene | None:
    """All that was imported, as one scene from now on; None when there is nothing."""
    if not (found := _scenes.get()):
        return None
    if len(found) > 1:
        found = (combine(list(found)),)
        _scenes.set(found)
    return found[0]


def reset() -> None:
    """Forget all scenes: what core.resetSession does, and what a worker does between two jobs."""
    _scenes.set(())
