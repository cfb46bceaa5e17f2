"""Reading and writing of 3D files, by the kernel that is there: the Pixyz SDK, or our own.

    root = io.importScene("assembly.step")
    io.exportScene("assembly.glb", root)

Importing this module loads no 3D library; a file's format decides which one is loaded, and when.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_worker.exception import InvalidFile, PixyzFileNotFound
from pixyz_worker.kernel import sdk

if TYPE_CHECKING:
    from pixyz_worker.kernel.options import ReadOptions
    from pixyz_worker.kernel.scene import Scene

__all__ = ["exportScene", "importFiles", "importScene"]


def importScene(path: str | os.PathLike[str], root: Any = None, *, options: ReadOptions | None = None) -> Any:
    """Read a file and return its root: a Scene, or the SDK's occurrence where the SDK is there.

    The Scene stands for its root occurrence wherever an occurrence is wanted. With a root, which may be any
    occurrence, what is read goes below it and the root is returned. `options` are for our own kernel alone.
    Raises PixyzFileNotFound when there is no such file and InvalidFile when it cannot be read; both say why.
    """
    source = Path(path)
    if not source.exists():
        raise PixyzFileNotFound(f"There is no file {source}.")
    if (pxz := sdk.genuine()) is not None:
        return pxz.io.importScene(os.fspath(path), *(() if root is None else (root,)))
    from pixyz_worker.kernel import session
    from pixyz_worker.kernel.formats import reading
    from pixyz_worker.kernel.pxz import selection

    above = None if selection.is_everything(root) else selection.one(root)
    scene = reading.read_scene(source, options)
    if above is None:
        session.add(scene)
        return scene
    selection.put_below(scene, above)
    return root


def importFiles(
    paths: Iterable[str | os.PathLike[str]], root: Any = None, *, options: ReadOptions | None = None
) -> Any:
    """Read several files; returns the list of what importScene returns for each."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if (pxz := sdk.genuine()) is not None:
        return pxz.io.importFiles([os.fspath(path) for path in paths], *(() if root is None else (root,)))
    return [importScene(path, root, options=options) for path in paths]


def exportScene(path: str | os.PathLike[str], root: Any = None) -> None:
    """Write a root, or without one everything that was imported, in the format of the path's extension.

    Of an occurrence, it and all below it are written, at their place in the world. The file, and those that belong
    beside it, appear under their names when they are whole. Raises InvalidFile when the format cannot hold the
    scene or is not known.
    """
    if (pxz := sdk.genuine()) is not None:
        pxz.io.exportScene(os.fspath(path), *(() if root is None else (root,)))
        return
    from pixyz_worker.kernel import formats
    from pixyz_worker.kernel.formats import reading

    target = Path(path)
    formats.find(target, to="written").load_writer()  # what cannot be written is said before anything is taken apart
    reading.write_scene(_wanted(root), target)


def _wanted(root: Any) -> Scene:
    """The scene that a root stands for, as it is written."""
    from pixyz_worker.kernel import session
    from pixyz_worker.kernel.pxz import selection

    if not selection.is_everything(root):
        return selection.as_scene(root)
    if (whole := session.whole()) is None:
        raise InvalidFile("There is nothing to export: import a file first.")
    return whole
