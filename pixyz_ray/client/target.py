"""Target of a download: a file, or a folder in which the file keeps its own name."""

from __future__ import annotations

import os
from pathlib import Path


def is_folder(target: str | os.PathLike[str]) -> bool:
    """Return whether a target is a folder: one that exists, or a text that ends with a separator, such as `new/`."""
    # A Path has lost the separator at its end.
    return os.fspath(target).endswith(("/", os.sep)) or Path(target).is_dir()


def target_file(target: str | os.PathLike[str], name: str) -> Path:
    """Return the file to write.

    Args:
        target: a file, or a folder, which need not exist.
        name: name of the file in a folder.
    """
    return Path(target) / name if is_folder(target) else Path(target)
