"""Files as arrays, mapped into memory where that leaves the file free to be replaced."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy
from numpy.typing import NDArray


def content_of(path: Path, start: int = 0) -> NDArray[numpy.uint8]:
    """Return the bytes of a file from a place on, read-only.

    On Linux and macOS they are mapped: a large file costs no memory, and may be removed or replaced by another one
    while its bytes are used. Windows refuses to replace or remove a mapped file, for which a script would have to
    know which scenes still use it, so there the bytes are read.
    """
    with path.open("rb") as file:
        if sys.platform == "win32":
            file.seek(start)
            return numpy.frombuffer(file.read(), numpy.uint8)
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return numpy.frombuffer(whole, numpy.uint8)[start:]
