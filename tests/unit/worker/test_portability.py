"""The SDK with its kernel on Windows and macOS: on these themselves, and on Linux made to look like them.

tests/another_system says what Linux can show that way.
"""

from __future__ import annotations

import io as streams
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixyz_worker import console, file_names

ROOT = Path(__file__).parents[3]
ON_LINUX = sys.platform == "linux"
SYSTEMS = ("win32", "darwin") if ON_LINUX else ("",)
"""Systems that this one is made to look like; a real workstation is taken as it is."""
only_linux = pytest.mark.skipif(not ON_LINUX, reason="other systems need not be made to look so")


def run_elsewhere(system: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, on a system, with a console that knows code page 1252 alone."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "another_system"), str(ROOT)]),
        "PIXYZ_TEST_SYSTEM": system,
        "PYTHONIOENCODING": "cp1252:strict",
        # Tests may leave an encoding out, the SDK may not.
        **({} if "pytest" in arguments else {"PYTHONWARNDEFAULTENCODING": "1"}),
        "DISABLE_PIXYZ": "1",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="cp1252",
        timeout=300,
        check=False,
    )


ALL_MODULES = """
import importlib, os, pkgutil, sys
from pixyz_worker.exception import InvalidBackendParameter, UnsupportedFormat
import pixyz_worker.kernel.process_tree as seen, processes
assert seen.sys.platform == (os.environ["PIXYZ_TEST_SYSTEM"] or sys.platform)
needs = ("pixyz_worker.kernel.formats.usd", "pixyz_worker.kernel.formats.ifc", "pixyz_worker.kernel.pictures.vtk_child")
count = 0
for package in (importlib.import_module("pixyz_worker"), processes):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.endswith("__main__") or found.name.startswith(needs):
            continue
        try:
            importlib.import_module(found.name)
            count += 1
        except UnsupportedFormat as error:
            assert "OpenCASCADE" in str(error) or "CAD" in str(error)
print(count)
"""


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_can_be_imported(system: str, tmp_path: Path) -> None:
    """Given another system, when each module of the SDK is imported, then none misses what only Linux has."""
    done = run_elsewhere(system, tmp_path, "-c", ALL_MODULES)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


FORMATS = """
import sys
from pathlib import Path
from pixyz_worker import io
from pixyz_worker.kernel import isolation
from pixyz_worker.exception import UnsupportedFormat
from pixyz_worker.kernel.formats import TABLE
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from tests.unit.kernel import foreign_samples, samples

if __name__ == "__main__":
    for entry in TABLE:
        try:
            entry.load_reader()
            if entry.writer:
                entry.load_writer()
        except UnsupportedFormat:  # an extra is not installed, or this machine lacks OpenGL
            continue
        path = Path(f"Gehäuse \u2192.{entry.extensions[0]}")
        if entry.writer:
            write_scene(samples.points() if "geometry" not in entry.survives else samples.assembly(), path)
        else:
            try:
                foreign_samples.WRITERS[entry.extensions[0]](path)
            except ImportError:
                continue
        scene = read_scene(path)
        apart = isolation.read(entry.reader, path, ReadOptions())
        assert len(apart.parts()) == len(scene.parts()) > 0
        if entry.writer:
            write_scene(apart, path)
            write_scene(scene, path)  # over the very file that it came from
            assert len(read_scene(path).parts()) > 0
        print(entry.extensions[0])
"""


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_format_goes_both_ways(system: str, tmp_path: Path) -> None:
    """Given a file of each format, when it is read, also in a child process, then it can be written over itself."""
    (tmp_path / "formats.py").write_text(FORMATS, encoding="utf-8")
    done = run_elsewhere(system, tmp_path, "formats.py")
    assert done.returncode == 0, done.stderr
    assert {"glb", "gltf", "pxz", "stl", "ply", "obj", "fbx", "3mf", "dae", "x3d"} <= set(done.stdout.split())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("pixyz-", "."))) == []


PICTURES = """
from pathlib import Path
from zipfile import ZipFile
from pixyz_worker.script import *
from pixyz_worker.kernel.formats.reading import write_scene
from processes import generate_thumbnails
from tests.unit.kernel import samples


def main(pc, params):
    pc.progress_next("Lesen \u2192 Zeichnen")
    return generate_thumbnails.main(pc, params)


if __name__ == "__main__":
    write_scene(samples.textured(), Path("model.obj"))
    with ZipFile("model.zip", "w") as archive:
        for path in list(Path().glob("model*")):
            if path.suffix != ".zip":
                archive.write(path, f"folder/{path.name}")
    for again in range(2):
        pc = ProgramContext.from_local(__file__, "model.zip", "out")
        print(sorted(main(pc, {"renderer": "embree", "width": 32})))
    assert Path("out/iso.png").read_bytes()[:4] == b"\\x89PNG"
"""


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_archive_becomes_pictures(system: str, tmp_path: Path) -> None:
    """Given a model in an archive, when it is drawn twice, then the pictures are there, and the steps were printed."""
    (tmp_path / "pictures.py").write_text(PICTURES, encoding="utf-8")
    done = run_elsewhere(system, tmp_path, "pictures.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("['metadata', 'preview', 'process_duration', 'thumbs']") == 2
    assert "Lesen \\u2192 Zeichnen" in done.stdout


@only_linux
def test_scripts_and_functions_run(tmp_path: Path) -> None:
    """Given the tests of the tutorial, of functions as tasks and of archives, when run on Windows, then they pass."""
    files = [
        str(ROOT / "tests" / "unit" / "worker" / f"test_{name}.py") for name in ("tutorial", "function", "archive")
    ]
    done = run_elsewhere("win32", tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not timed", *files)
    assert done.returncode == 0, done.stdout[-4000:]


@only_linux
@pytest.mark.parametrize("system", SYSTEMS)
def test_limits_of_a_reader_hold(system: str, tmp_path: Path) -> None:
    """Given readers that crash, hang or print without end, when they read there, then sentences say what happened."""
    file = str(ROOT / "tests" / "unit" / "kernel" / "test_isolation.py")
    chosen = "scene or wrong or time_is or no_limit or print or strangers"
    done = run_elsewhere(system, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, file)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "6 passed" in done.stdout


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "5 → 6 ✓\n"), ("cp1252", "5 \\u2192 6 \\u2713\n"), ("ascii", "5 \\u2192 6 \\u2713\n")],
)
def test_a_console_without_a_character_shows_an_escape(encoding: str, shown: str) -> None:
    """Given consoles with several encodings, when a line is printed, then it appears, and nothing is raised."""
    stream = streams.TextIOWrapper(streams.BytesIO(), encoding=encoding, newline="\n")
    console.say("5 → 6 ✓", stream)
    stream.seek(0)
    assert stream.read() == shown


@pytest.mark.parametrize(
    "name",
    ["aux.glb", "sub/NUL", "com1.step", "a:b.glb", "what?.png", "a\x01b", "trailing.", "folder /a.glb", "con .txt"],
)
def test_names_that_windows_cannot_have(name: str) -> None:
    """Given such a name, when it is looked at, then the reason is a sentence; here the name is as good as any."""
    problem = file_names.windows_problem_of(name)
    assert problem is not None and "Windows" in problem
    assert (file_names.problem_of(name) is None) == (sys.platform != "win32")


@pytest.mark.parametrize(
    "name", ["auxiliary.glb", "a/b/../c.step", "./x", "communication1.txt", "größe → 5.glb", ".hidden"]
)
def test_names_that_windows_can_have(name: str) -> None:
    """Given a good name, when it is looked at, then there is no problem."""
    assert file_names.windows_problem_of(name) is None
