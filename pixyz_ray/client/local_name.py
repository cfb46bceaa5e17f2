"""Name of an output as a file of this machine: Windows does not take every name that a script on Linux gave."""

from __future__ import annotations

import os

from pixyz_worker.file_names import windows_name


def local_name(name: str, *, windows: bool = os.name == "nt") -> str:
    r"""Return one component of an output's path as a file name that this system accepts.

    On Windows `a:b` would be a stream of the file `a`, and `..\x` a file of another folder: such characters become `_`.

    Args:
        name: the component, as the server names it.
        windows: whether the name has to be valid on Windows.
    """
    return windows_name(name) if windows else name
