"""Reading and writing one file through the table: checks, limits, and a sentence for whatever goes wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixyz_worker import file_names
from pixyz_worker.exception import FormatError, InvalidFile, PixyzException, PixyzFileNotFound
from pixyz_worker.kernel.formats.table import Format, find
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene


def read_scene(source: Path, options: ReadOptions | None = None) -> Scene:
    """Read a file in the format of its extension.

    Raises PixyzFileNotFound when there is none, and InvalidFile when it cannot be read; both say why.
    """
    entry = find(source)
    read = entry.load_reader()
    if not source.exists():
        raise PixyzFileNotFound(f"There is no file {source}.")
    if not source.is_file():
        raise InvalidFile(f"{source.name} is not a file.")
    if source.stat().st_size == 0:
        raise InvalidFile(f"{source.name} is empty.")
    try:
        scene: Scene = read(source, options or ReadOptions())
    except (PixyzException, OSError):
        raise
    except MemoryError as error:
        raise FormatError(f"{source.name} needs more memory than there is to be read as {entry.name}.") from error
    except Exception as error:
        raise FormatError(f"{source.name} {problem_of(error, entry)}") from error
    _check_size(scene, source)
    return scene


def write_scene(scene: Scene, target: Path) -> None:
    """Write a scene in the format of a path's extension; it appears under its name when it is whole."""
    entry = find(target, to="written")
    write = entry.load_writer()
    if not target.parent.is_dir():
        raise PixyzFileNotFound(f"There is no folder {target.parent} to write {target.name} into.")
    if target.is_dir():
        raise InvalidFile(f"{target} is a folder; name a file to write.")
    if problem := file_names.problem_of(target.name):
        raise InvalidFile(f"The name {target.name!r} {problem}.")
    # A hidden folder beside the target, whose files are moved when all are whole; the target itself comes last.
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))
    try:
        if not entry.exact:
            _tessellate(scene)
        with _standing(scene, entry) as turned:
            write(turned, staging / target.name)
        for file in sorted(staging.iterdir(), key=lambda file: file.name == target.name):
            _move(file, target.with_name(file.name))
    except (PixyzException, OSError, MemoryError):
        raise
    except Exception as error:
        raise FormatError(f"{scene.name} cannot be written as {entry.name}: {_reason(error)}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(file: Path, target: Path) -> None:
    """Give a finished file its name, replacing an older one."""
    try:
        file.replace(target)
    except PermissionError as error:
        raise InvalidFile(
            f"{target} cannot be replaced: another program has it open, or it is write-protected ({error.strerror})."
        ) from error


def problem_of(error: Exception, entry: Format | None = None) -> str:
    """The rest of a sentence that begins with a file's name and says why it cannot be read."""
    what = f" as {entry.name}" if entry else ""
    return str(error) if isinstance(error, PixyzException) else f"cannot be read{what}: {_reason(error)}."


def _reason(error: Exception) -> str:
    """One line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if not isinstance(error, ValueError) and lines:
        text = f"{type(error).__name__}: {text}"
    return text[:300].rstrip(".")


def _check_size(scene: Scene, source: Path) -> None:
    from pixyz_worker.kernel.limits import Limits

    most = Limits.from_environment().max_triangles
    if not most or scene.source is not None:
        return
    meshes = [part.mesh for part in scene.parts() if part.mesh is not None]
    count = sum(max(len(mesh.triangles), len(mesh.positions) if mesh.is_points else 0) for mesh in meshes)
    if count > most:
        raise InvalidFile(f"{source.name} has {count} triangles, more than the {most} allowed (MAX_TRIANGLES).")


def _tessellate(scene: Scene) -> None:
    """Give triangles to the parts that have exact surfaces alone."""
    if scene.source is None and any(part.mesh is None and part.brep is not None for part in scene.parts()):
        from pixyz_worker.kernel.algorithms import tessellation

        tessellation.ensure(scene)


@contextmanager
def _standing(scene: Scene, entry: Format) -> Iterator[Scene]:
    """The scene while it stands on the axis on which things stand in a format; afterwards as before."""
    if not entry.up or not scene.up or entry.up == scene.up:
        yield scene
        return
    from pixyz_worker.kernel.axes import turn

    root, before = scene.root, scene.root.matrix
    root.matrix = turn(scene.up, entry.up) if before is None else turn(scene.up, entry.up) @ before
    turned = Scene(name=scene.name, root=root, unit_m=scene.unit_m, up=entry.up)
    turned.animations, turned.variants = scene.animations, scene.variants
    try:
        yield turned
    finally:
        root.matrix, root.scene = before, scene
