"""The two sides of a comparison, started when they are first needed and always ended; how they are measured in turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from benchmarks.bare import Bare
from benchmarks.platform import Ours
from benchmarks.scale import Scale

T = TypeVar("T", Ours, Bare)


class Sides:
    """What figures are given.

    Args:
        folder: folder of the run, on the disk that is to be measured.
        scale: how much is measured.
    """

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder = folder
        self.scale = scale
        self._running: dict[str, Ours | Bare] = {}

    def __enter__(self) -> Sides:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop_all()

    @property
    def ours(self) -> Ours:
        """The platform, running."""
        return self._up("ours", lambda: Ours(self.folder))

    @property
    def bare(self) -> Bare:
        """The bare Serve app, running."""
        return self._up("bare", lambda: Bare("app", self.folder))

    @property
    def plain(self) -> Bare:
        """The plain uvicorn app, running."""
        return self._up("plain", lambda: Bare("plain", self.folder))

    def stop_all(self) -> None:
        """Stop what runs; what is used afterwards begins anew."""
        while self._running:
            self._running.popitem()[1].stop()
        shutil.rmtree(self.folder / "home", ignore_errors=True)

    def _up(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._running:
            side = self._running[name] = make()
            side.start()
        return self._running[name]  # type: ignore[return-value]


def in_turn(blocks: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Measure sides in turn, A B A B, so that what else the machine does meets all alike; return each side's values."""
    values: list[list[float]] = [[] for _ in sides]
    for _ in range(blocks):
        for side, kept in zip(sides, values, strict=True):
            kept.append(side())
    return values
