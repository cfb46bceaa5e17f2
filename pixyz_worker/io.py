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

from pixyz_worker.exception import FormatError, InvalidFile, PixyzException, PixyzFileNotFound
from pixyz_worker.kernel import formats, sdk

if TYPE_CHECKING:
    from pixyz_worker.kernel.scene import Scene

__all__ = ["exportScene", "importFiles", "importScene"]


def importScene(path: str | os.PathLike[str], root: Any = None) -> Any:
    """Read a file and return its root: a Scene, or the SDK's occurrence where the SDK is there.

    With a root, what is read goes below it and the root is returned. Raises PixyzFileNotFound when there is
    no such file and InvalidFile when it cannot be read; both say why.
    """
    source = Path(path)
    if not source.exists():
        raise PixyzFileNotFound(f"There is no file {source}.")
    if (pxz := sdk.genuine()) is not None:
        return pxz.io.importScene(os.fspath(path), *(() if root is None else (root,)))
    from pixyz_worker.kernel import session

    scene = _read(source)
    if _is_whole(root):
        session.add(scene)
        return scene
    _checked(root).take(scene)
    return root


def importFiles(paths: Iterable[str | os.PathLike[str]], root: Any = None) -> Any:
    """Read several files; returns the list of their roots."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if (pxz := sdk.genuine()) is not None:
        return pxz.io.importFiles([os.fspath(path) for path in paths], *(() if root is None else (root,)))
    return [importScene(path, root) for path in paths]


def exportScene(path: str | os.PathLike[str], root: Any = None) -> None:
    """Write a root, or without one everything that was imported, in the format of the path's extension.

    The file, and those that belong beside it, appear under their names when they are whole. Raises
    InvalidFile when the format cannot hold the scene or is not known.
    """
    if (pxz := sdk.genuine()) is not None:
        pxz.io.exportScene(os.fspath(path), *(() if root is None else (root,)))
        return
    target = Path(path)
    entry = formats.find(target)
    write = entry.load_writer()
    scene = _whole_session() if _is_whole(root) else _checked(root)
    if not target.parent.is_dir():
        raise PixyzFileNotFound(f"There is no folder {target.parent} to write {target.name} into.")
    if target.is_dir():
        raise InvalidFile(f"{target} is a folder; name a file to write.")
    _publish(scene, target, write, entry)


def _read(source: Path) -> Scene:
    entry = formats.find(source)
    read = entry.load_reader()
    if not source.is_file():
        raise InvalidFile(f"{source.name} is not a file.")
    if source.stat().st_size == 0:
        raise InvalidFile(f"{source.name} is empty.")
    try:
        scene: Scene = read(source)
    except (PixyzException, OSError):
        raise
    except MemoryError as error:
        raise FormatError(f"{source.name} needs more memory than there is to be read as {entry.name}.") from error
    except Exception as error:
        raise FormatError(f"{source.name} cannot be read as {entry.name}: {_reason(error)}.") from error
    return scene


def _publish(scene: Scene, target: Path, write: Any, entry: formats.Format) -> None:
    """Write into a hidden folder beside the target, then move what is whole; the target itself comes last."""
    import shutil
    import tempfile

    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))
    try:
        write(scene, staging / target.name)
        for file in sorted(staging.iterdir(), key=lambda file: file.name == target.name):
            file.replace(target.with_name(file.name))
    except (PixyzException, OSError, MemoryError):
        raise
    except Exception as error:
        raise FormatError(f"{scene.name} cannot be written as {entry.name}: {_reason(error)}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_whole(root: Any) -> bool:
    """Whether a root stands for the whole session, as None and the SDK's 0 do."""
    return root is None or (isinstance(root, int) and root == 0)


def _checked(root: Any) -> Scene:
    from pixyz_worker.kernel.scene import Scene

    if not isinstance(root, Scene):
        raise InvalidFile(f"The root is {type(root).__name__}; give what importScene returned, or nothing.")
    return root


def _whole_session() -> Scene:
    from pixyz_worker.kernel import session
    from pixyz_worker.kernel.scene import combine

    if not (scenes := session.scenes()):
        raise InvalidFile("There is nothing to export: import a file first.")
    return combine(scenes)


def _reason(error: Exception) -> str:
    """One line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if not isinstance(error, ValueError) and lines:
        text = f"{type(error).__name__}: {text}"
    return text[:300].rstrip(".")
