"""The input file of a task: which one its context names, and its archive unpacked before the entrypoint runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pixyz_worker.exception import InvalidFile, PixyzFileNotFound


def is_path(value: Any) -> bool:
    """Return whether the `data` of a context names a file; any other value is the script's own."""
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


def input_path(context: Mapping[str, Any]) -> str | None:
    """Return the absolute path of the input that a context names, or None.

    A relative path is taken from the context's output folder, where a script puts the inputs of its tasks, unless it
    only exists in the current folder.
    """
    given = context.get("input_file")
    if not given:
        return None
    path = Path(given)
    if path.is_absolute():
        return str(path)
    # abspath, since resolve() would follow links.
    here = os.path.abspath(path)  # noqa: PTH100
    outputs = dict.get(context, "output_dir") if isinstance(context, dict) else context.get("output_dir")
    if not outputs or (Path(here).exists() and not Path(outputs, path).exists()):
        return here
    return os.path.abspath(Path(outputs, path))  # noqa: PTH100


def is_member(context: Mapping[str, Any], source: str) -> bool:
    """Return whether the input is a member of the archive that `data` names, which was unpacked before.

    Opened again, the context would lose the archive, and the folder of its members.
    """
    data: Any = context.get("data")
    folder = context.get("input_dir")
    if not is_path(data) or not folder or os.fspath(data) == source:
        return False
    from pixyz_worker import archive

    return archive.is_archive(Path(data)) and Path(source).is_relative_to(folder)


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of an input.

    Raises:
        PixyzFileNotFound: it does not exist.
    """
    absolute = Path(path).absolute()
    if not absolute.exists():
        raise PixyzFileNotFound(f"there is no input file {absolute}")
    return absolute


def beside(archive: Path) -> Path:
    """Return the folder that an archive is unpacked to, in its own folder."""
    return archive.parent / "extracted"


def opened(source: str, extraction_dir: Callable[[Path], Path], root_file: str | None) -> tuple[str, str]:
    """Unpack an input that is an archive, and return where a script finds its input: its folder, and the file.

    Args:
        source: absolute path of the input.
        extraction_dir: returns the folder that an archive is unpacked to; one that exists holds its members already.
        root_file: member of the archive to open; None for the top of the assembly.

    Returns:
        Folder of the input, and path of the file to open. For an archive without a 3D file, that is the archive.

    Raises:
        InvalidFile: the archive is damaged, or may not be unpacked.
        PixyzFileNotFound: the archive has no `root_file`.
    """
    path = Path(source)
    from pixyz_worker import archive

    if path.is_dir():
        return source, source
    if not archive.is_archive(path) or not path.is_file():
        return str(path.parent), source
    folder = extraction_dir(path)
    archive.extract(path, folder)
    try:
        return str(folder), str(archive.find_root_file(folder, root_file, path.name))
    except InvalidFile:
        if root_file:
            raise
        # A script may want the other members; only get_input_file() raises when there is no 3D file.
        return str(folder), source
