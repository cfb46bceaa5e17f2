"""Name of an output as a file of this machine: Windows does not take every name that a script on Linux gave."""

from __future__ import annotations

import os
import re

_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?", re.IGNORECASE)
"""Names of devices, also with an extension."""


def local_name(name: str, *, windows: bool = os.name == "nt") -> str:
    r"""Return one component of an output's path as a file name that this system accepts.

    On Windows `a:b` would be a stream of the file `a`, and `..\x` a file of another folder: such characters become `_`.

    Args:
        name: the component, as the server names it.
        windows: whether the name has to be valid on Windows.
    """
    if not windows:
        return name
    name = _FORBIDDEN.sub("_", name)
    if name.endswith((".", " ")):
        name = f"{name[:-1]}_"
    return f"_{name}" if _DEVICES.fullmatch(name) else name
