"""What was imported so far: the scenes that exportScene without a root writes."""

from __future__ import annotations

from contextvars import ContextVar

from pixyz_worker.kernel.scene import Scene

_scenes: ContextVar[tuple[Scene, ...]] = ContextVar("pixyz_session", default=())


def scenes() -> tuple[Scene, ...]:
    """The scenes of this session, oldest first."""
    return _scenes.get()


def add(scene: Scene) -> None:
    """Note an imported scene."""
    _scenes.set((*_scenes.get(), scene))


def reset() -> None:
    """Forget all scenes: what core.resetSession does, and what a worker does between two jobs."""
    _scenes.set(())
