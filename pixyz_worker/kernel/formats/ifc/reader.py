"""IFC (ISO 16739), read in a process of its own; what needs ifcopenshell is in ifc_tree, which that process imports."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_HEAD_BYTES, _TAIL_BYTES = 256 * 1024, 64 * 1024
_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']{0,100})'", re.IGNORECASE)


def read(path: Path, options: ReadOptions) -> Scene:
    """Read an IFC file in a child process; FormatError says what is wrong with it."""
    return isolation.read(f"{__name__}:parse", path, options)


def parse(path: Path, options: ReadOptions) -> Scene:
    """Read an IFC file in this process; ValueError says why it cannot be read."""
    check(path)
    from pixyz_worker.kernel.formats.ifc import tree as ifc_tree

    return ifc_tree.scene_of(path, options)


def check(path: Path) -> None:
    """Look at the first and last lines (ISO 10303-21) before native code does."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    if b"ISO-10303-21" not in head[:4096]:
        raise ValueError("it does not begin as IFC does, with ISO-10303-21")
    schema = _SCHEMA.search(head)
    name = schema[1].decode("ascii", "replace") if schema else ""
    if not name.upper().startswith("IFC"):
        raise ValueError(f"its schema is {name}, not one of IFC" if name else "it names no schema")
    if b"END-ISO-10303-21" not in tail:
        raise ValueError("it is cut off: its last line, END-ISO-10303-21, is not there")
