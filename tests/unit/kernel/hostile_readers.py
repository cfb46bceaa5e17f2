"""Readers that do what a parser may do to its process when a file is bad; see test_isolation.py."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

from pixyz_worker.exception import FormatError, PixyzSecurityViolation, UnsupportedFormat
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene


def good(path: Path, options: ReadOptions) -> Scene:
    """A triangle whose first corner says what the reader was told."""
    told = [options.unit_m or 0, options.tessellation.angle_deg, options.tessellation.sag_m or 0]
    mesh = make_mesh([told, [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    return Scene(name=path.stem, root=Occurrence(name="root", part=Part(name="triangle", mesh=mesh)))


def segfault(path: Path, options: ReadOptions) -> Scene:
    """Native code that reads what is not its own."""
    print("reading the header", flush=True)
    faulthandler._sigsegv()  # type: ignore[attr-defined]
    raise AssertionError


def abort(path: Path, options: ReadOptions) -> Scene:
    """Native code that gives up."""
    os.abort()


def bad_alloc(path: Path, options: ReadOptions) -> Scene:
    """C++ that gets no memory."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def kill(path: Path, options: ReadOptions) -> Scene:
    """What the kernel does to the largest process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def leave(path: Path, options: ReadOptions) -> Scene:
    """C that calls exit()."""
    os._exit(3)


def leave_quietly(path: Path, options: ReadOptions) -> Scene:
    """The same, as if all were well."""
    os._exit(0)


def system_exit(path: Path, options: ReadOptions) -> Scene:
    """Python that calls sys.exit()."""
    sys.exit("enough")


def hang(path: Path, options: ReadOptions) -> Scene:
    """A loop that does not end."""
    path.with_suffix(".pid").write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def hang_with_child(path: Path, options: ReadOptions) -> Scene:
    """The same, in another process."""
    leave_child(path, options)
    return hang(path, options)


def hold_the_lock(path: Path, options: ReadOptions) -> Scene:
    """A loop in which no signal handler of Python's would ever run."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
    return hang(path, options)


def eat(path: Path, options: ReadOptions) -> Scene:
    """Memory without end, in pieces."""
    eaten = []
    while True:
        eaten.append(b"x" * (16 << 20))


def gulp(path: Path, options: ReadOptions) -> Scene:
    """Memory for 10^12 vertices that a header announces."""
    import numpy

    numpy.ones((10**12, 3))
    raise AssertionError


def chatter(path: Path, options: ReadOptions) -> Scene:
    """A library that prints to either stream, more than a pipe holds, and what looks like an answer."""
    for number in range(3000):
        os.write(1, b'{"problem": "said by the library"}\n' * 10)
        os.write(2, f"warning {number}\n".encode())
    warnings.warn("of Python", stacklevel=1)
    return good(path, options)


def leave_child(path: Path, options: ReadOptions) -> Scene:
    """A process that outlives the reader, and keeps its streams open."""
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    left = path.with_suffix(".child")
    subprocess.Popen([sys.executable, "-S", "-c", code, str(left)])
    while not left.exists() or not left.read_text():
        time.sleep(0.001)
    return good(path, options)


def fork(path: Path, options: ReadOptions) -> Scene:
    """A copy of the process, which has all of its descriptors."""
    if not (pid := os.fork()):
        time.sleep(600)
    path.with_suffix(".child").write_text(str(pid))
    return good(path, options)


def refuse(path: Path, options: ReadOptions) -> Scene:
    """A file with a plain fault."""
    raise ValueError("line 7 makes no sense")


def fail(path: Path, options: ReadOptions) -> Scene:
    """A reader with a fault of its own."""
    return {}["vertices"]  # type: ignore[return-value]


def refuse_in_full(path: Path, options: ReadOptions) -> Scene:
    """A whole sentence."""
    raise FormatError(f"{path.name} is a drawing.")


def need_more(path: Path, options: ReadOptions) -> Scene:
    """A library that is missing."""
    raise UnsupportedFormat("this needs the system library libGL.so.1")


def escape(path: Path, options: ReadOptions) -> Scene:
    """A reference out of the folder."""
    raise PixyzSecurityViolation("../x reaches outside its folder")


def imported_by(path: Path, options: ReadOptions) -> Scene:
    """Imports a module whose name a stranger has given to a file."""
    import colorsys

    return Scene(name=colorsys.__file__, root=Occurrence(part=Part(mesh=make_mesh([[0, 0, 0]]))))


def broken_result(path: Path, options: ReadOptions) -> Scene:
    """A parser that has overwritten what it is to give back."""
    scene = good(path, options)
    part = scene.root.part
    assert part is not None and part.mesh is not None
    part.mesh.triangles = part.mesh.triangles + 7
    return scene
