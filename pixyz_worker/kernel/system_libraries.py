"""System libraries that the extras `cad` and `render` need on Linux: which are missing, and how to get them.

Windows and macOS come with OpenGL; bare servers with Linux have none.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys

PACKAGES = {"libGL.so.1": "libgl1", "libEGL.so.1": "libegl1", "libX11.so.6": "libx11-6"}
"""System libraries, and the package of Debian and Ubuntu that each comes with."""
NEEDED = {"cad": ("libGL.so.1",), "render": ("libEGL.so.1",)}
"""System libraries that an extra loads, without their dependencies."""
_WINDOW, _EGL = "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"
"""VTK's variable for its way to OpenGL, and the value that is used by default."""
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): (?:cannot open shared object file|file too short)")


def missing_for(extra: str) -> tuple[str, ...]:
    """Return the system libraries that an extra of the project needs and this machine lacks.

    They are loaded to find out, as the extra would do.
    """
    if sys.platform != "linux" or (extra == "render" and os.environ.get(_WINDOW, _EGL) != _EGL):
        return ()
    return tuple(library for library in NEEDED.get(extra, ()) if not _can_be_loaded(library))


def missing_in(error: ImportError) -> tuple[str, ...]:
    """Return the system library that an import failed for; the loader only names the first one."""
    return tuple(_MISSING.findall(str(error))[:1])


def needs(what: str, libraries: tuple[str, ...]) -> str:
    """Return `what` ("Exact CAD surfaces need"), the libraries, and how to install them; without a full stop."""
    noun = "library" if len(libraries) == 1 else "libraries"
    packages = dict.fromkeys(PACKAGES[library] for library in libraries if library in PACKAGES)
    command = f": apt install {' '.join(packages)}" if packages else ", which this machine lacks"
    return f"{what} the system {noun} {' and '.join(libraries)}{command}"


@functools.cache
def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
