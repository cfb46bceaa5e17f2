"""Fencing: an attempt whose predecessor may still run, on a machine that is cut off or frozen, shares no file with it.

An attempt has outputs, an outcome and a kept value under names with its number anyway. What they would share is the log
and the current folder: here the attempt gets others, so that what the predecessor writes when it goes on is not seen.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pixyz_ray.confined_files import read_file, write_file
from pixyz_ray.storage import JobFolder

_MOST_LOG_BYTES = 64 * 2**20


def fence_off(folder: JobFolder, attempt: int) -> str:
    """Replace the log by a copy of it, and return a current folder that no other attempt has.

    Args:
        folder: the job's files.
        attempt: number of the attempt that is to run.

    Raises:
        OSError: the share does not take it.
    """
    _renew_log(folder)
    own = f"{folder.name}/.attempt-{attempt}"
    with suppress(FileExistsError):
        os.mkdir(own)  # noqa: PTH102 - a string is what chdir takes
    for name, target in {"inputs": "inputs", "script": "script", "outputs": folder.outputs_of(attempt)}.items():
        # Not every share knows links; scripts are given absolute paths.
        with suppress(OSError):
            Path(own, name).symlink_to(Path("..", target))
    return own


def _renew_log(folder: JobFolder) -> None:
    """Put a copy in the place of the log: a process that has it open goes on writing to the old file."""
    try:
        content = read_file(folder.name, folder.log.name, max_bytes=_MOST_LOG_BYTES)
    except OSError:
        # No log yet, or the script has put something else there, which is handled when the log is opened.
        return
    write_file(folder.name, folder.log.name, content)
