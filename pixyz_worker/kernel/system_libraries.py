"""System libraries that the extras `cad` and `render` need on Linux: which are missing, and how to get them.

Windows and macOS have OpenGL of their own, and bare servers with Linux have none.
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
"""System libraries that an extra loads; those that come along with them are left out."""
_WINDOW, _EGL = "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"
"""VTK's setting of how it reaches OpenGL, and what it is unless the environment says otherwise."""
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): (?:cannot open shared object file|file too short)")


def missing_for(extra: str) -> tuple[str, ...]:
    """Return the system libraries that an extra of the project needs and this machine lacks.

    They are loaded to find out, as the extra would do.
    """
    if sys.platform != "linux" or (extra == "render" and os.environ.get(_WINDOW, _EGL) != _EGL):
        return ()
    return tuple(library for library in NEEDED.get(extra, ()) if not _can_be_loaded(library))


def missing_in(error: ImportError) -> tuple[str, ...]:
    """Return the system library for want of which an import failed; the loader names the first one alone."""
    return tuple(_MISSING.findall(str(error))[:1])


def needs(what: str, libraries: tuple[str, ...]) -> str:
    """Return a sentence without its full stop: what ("exact CAD surfaces need"), and how to install the libraries."""
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
