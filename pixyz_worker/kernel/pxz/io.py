"""`pxz.io`: files in and out."""

from __future__ import annotations

from typing import Any

__all__ = ["exportScene", "importFiles", "importScene"]


def importScene(fileName: Any, root: Any = None) -> Any:
    """Read a file; see pixyz_worker.io.importScene."""
    from pixyz_worker import io

    return io.importScene(fileName, root)


def importFiles(fileNames: Any, root: Any = None) -> Any:
    """Read several files; see pixyz_worker.io.importFiles."""
    from pixyz_worker import io

    return io.importFiles(fileNames, root)


def exportScene(fileName: Any, root: Any = None) -> None:
    """Write a scene or a branch; see pixyz_worker.io.exportScene."""
    from pixyz_worker import io

    io.exportScene(fileName, root)
