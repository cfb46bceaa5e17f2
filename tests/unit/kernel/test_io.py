"""importScene and exportScene: handles, branches, whole files, the SDK, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from contextvars import copy_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest

from pixyz_worker import io
from pixyz_worker.exception import InvalidFile, PixyzException, PixyzFileNotFound, UnsupportedFormat
from pixyz_worker.kernel import session, shim
from pixyz_worker.kernel.formats import TABLE
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.pxz.current import get_current_session
from pixyz_worker.kernel.scene import Scene
from pixyz_worker.session import PiXYZSession
from tests.unit.kernel import samples

HEAVY = (
    "numpy",
    "trimesh",
    "cascadio",
    "PIL",
    "lxml",
    "networkx",
    "collada",
    "zipfile",
    "pyarrow",
    "OCP",
    "vtkmodules",
    "pxr",
    "ifcopenshell",
    "assimp_py",
    "lib3mf",
    "embreex",
    "scipy",
    "fast_simplification",
)
LIGHT = (
    *("parameters", "preparation", "description", "thumbnails"),
    *("kernel.scene", "kernel.session", "kernel.shim", "kernel.options", "kernel.limits", "kernel.formats"),
)
"""Modules of ours that scripts may import before anything is to be read."""
TRIANGLES = 12 + 2 * 224


def loaded(code: str, *arguments: object) -> list[str]:
    """Run code in a fresh interpreter; returns the words that it prints last."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.fixture
def glb(assembly: Scene, tmp_path: Path) -> Path:
    """The assembly as a GLB."""
    io.exportScene(tmp_path / "a.glb", assembly)
    return tmp_path / "a.glb"


def test_importing_io_loads_nothing_heavy() -> None:
    """Given a fresh interpreter, when io, the table and all of pxz are imported, then no 3D library is loaded."""
    code = (
        "import sys; from pixyz_worker import io; from pixyz_worker.kernel import formats; import pixyz_worker.script;"
        "import pxz; from pxz import core, scene, polygonal, algo, material, view, io, geom;"
        "scene.getRoot, algo.repairCAD, view.CameraType, pxz.initialize, geom.Point3(1, 2, 3), core.checkLicense();"
        f"print('none', *[name for name in {HEAVY} if name in sys.modules])"
    )
    assert loaded(code) == ["none"]


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_module_loads_nothing_heavy(module: str) -> None:
    """Given a fresh interpreter, when a module that only describes things is imported, then no library comes along."""
    heavy = set(HEAVY) - {"zipfile"}
    code = f"import sys, pixyz_worker.{module}; print('none', *[name for name in {heavy} if name in sys.modules])"
    assert loaded(code) == ["none"]


def test_a_glb_that_is_passed_on_loads_no_mesh_library(glb: Path, tmp_path: Path) -> None:
    """Given a GLB, when it is only written again, then no mesh library is loaded and every byte is the same."""
    code = (
        "import sys; from pixyz_worker import io; folder = sys.argv[1]; root = io.importScene(folder + '/a.glb');"
        "io.exportScene(folder + '/b.glb', root); io.exportScene(folder + '/c.glb');"
        f"print('none', *[name for name in {HEAVY[1:]} if name in sys.modules])"
    )
    assert loaded(code, tmp_path) == ["none"]
    assert glb.read_bytes() == (tmp_path / "b.glb").read_bytes() == (tmp_path / "c.glb").read_bytes()


@pytest.mark.parametrize("everything", [None, 0, [], [None], (0,)])
def test_export_without_a_root_writes_all_that_was_imported(glb: Path, tmp_path: Path, everything: Any) -> None:
    """Given two imports, when everything is exported, in any spelling, then both are in it."""
    io.importFiles([glb, glb])
    io.exportScene(tmp_path / "both.glb", everything)
    assert io.importScene(tmp_path / "both.glb").triangle_count == 2 * TRIANGLES


def test_import_below_a_root_adds_to_it(glb: Path) -> None:
    """Given a root, when a file is imported below it, then the root holds both and is returned."""
    root = io.importScene(glb)
    assert io.importScene(glb, root) is root
    assert root.triangle_count == 2 * TRIANGLES
    assert session.scenes() == (root,)


def test_import_below_an_occurrence_stands_in_its_frame(glb: Path, tmp_path: Path) -> None:
    """Given a moved group, when a file is imported below it, then it moves with the group, also in a file."""
    root = io.importScene(glb)
    group = next(one for one in root.root.walk() if one.name == "Gruppe")
    assert io.importScene(glb, group) is group
    assert group.children[-1].world()[1, 3] == 4
    io.exportScene(tmp_path / "b.glb", root)
    assert io.importScene(tmp_path / "b.glb").triangle_count == 2 * TRIANGLES


def test_a_branch_is_exported_at_its_place(assembly: Scene, tmp_path: Path) -> None:
    """Given an occurrence below a moved group, when it is exported, then it alone, where it is in the world."""
    left = next(one for one in assembly.root.walk() if one.name == "ball left")
    io.exportScene(tmp_path / "left.glb", left)
    again = io.importScene(tmp_path / "left.glb")
    (shown,) = again.instances()
    assert again.triangle_count == 224
    assert numpy.allclose(shown.world()[:3, 3], (-3, 4, 0))
    assert [one.name for one in assembly.root.walk()] == ["two parts", "Kasten Ä", "Gruppe", "ball left", "ball right"]
    assert left.owner() is assembly


def test_several_branches_are_exported_together(assembly: Scene, tmp_path: Path) -> None:
    """Given two occurrences that show one part, when both are exported, then the file stores the part once."""
    balls = [one for one in assembly.root.walk() if one.name.startswith("ball")]
    io.exportScene(tmp_path / "balls.glb", balls)
    again = io.importScene(tmp_path / "balls.glb")
    assert (len(again.instances()), len(again.parts())) == (2, 1)


def test_a_handle_stays_good_when_its_tree_goes_below_another(glb: Path, tmp_path: Path) -> None:
    """Given two imports that became one tree, when the handle of one is exported, then that one alone is written."""
    first, second = io.importFiles([glb, glb])
    whole = session.whole()
    assert whole is not None and whole.triangle_count == 2 * TRIANGLES
    second.root.children[0].remove()
    io.exportScene(tmp_path / "first.glb", first)
    io.exportScene(tmp_path / "second.glb", second)
    assert io.importScene(tmp_path / "first.glb").triangle_count == TRIANGLES
    assert io.importScene(tmp_path / "second.glb").triangle_count == 2 * 224


def test_a_change_is_exported(glb: Path, tmp_path: Path) -> None:
    """Given an imported GLB, when an occurrence is taken out, then the export has the change."""
    root = io.importScene(glb)
    root.root.walk()
    next(one for one in root.root.walk() if one.name == "Gruppe").remove()
    root.changed()
    io.exportScene(tmp_path / "b.glb", root)
    assert io.importScene(tmp_path / "b.glb").triangle_count == 12


def test_options_reach_the_reader(tmp_path: Path) -> None:
    """Given a file without a unit, when the unit is told, then lengths follow it."""
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    scene = io.importScene(tmp_path / "a.obj", options=ReadOptions(unit_m=0.0254))
    assert scene.unit_m == 0.0254
    assert scene.parts()[0].mesh.bounds[1][0] == pytest.approx(0.0254)


@pytest.mark.parametrize(
    ("path", "root", "error", "sentence"),
    [
        ("x.glb", None, InvalidFile, "import a file first"),
        ("x.glb", "root", PixyzException, "root is str"),
        ("x.glb", True, PixyzException, "root is bool"),
        ("x.glb", [3.5], PixyzException, "root is float"),
        ("gone/x.glb", samples.assembly(), PixyzFileNotFound, "no folder"),
        ("x.catpart", samples.assembly(), UnsupportedFormat, "needs the Pixyz SDK"),
        ("x", samples.assembly(), UnsupportedFormat, "no extension"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(
    tmp_path: Path, path: str, root: Any, error: type[Exception], sentence: str
) -> None:
    """Given something that cannot be, when it is exported, then the sentence says what is missing."""
    with pytest.raises(error, match=sentence):
        io.exportScene(tmp_path / path, root)


def test_a_wrong_root_is_refused_before_the_file_is_read(glb: Path) -> None:
    """Given a root that is none, when a file is imported below it, then nothing of it is kept."""
    with pytest.raises(PixyzException, match="root is str"):
        io.importScene(glb, "root")
    assert session.scenes() == ()


@pytest.mark.parametrize("extension", ["glb", "gltf", "obj", "pxz"])
def test_an_interrupted_export_leaves_the_old_file(
    extension: str, assembly: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a file, when an export over it fails half way, then the old file is there and nothing else."""
    target = tmp_path / f"x.{extension}"
    target.write_text("old")
    entry = next(entry for entry in TABLE if extension in entry.extensions)

    def breaks(scene: Any, path: Path) -> None:
        path.write_text("half")
        path.with_suffix(".bin").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(type(entry), "load_writer", lambda self: breaks)
    with pytest.raises(KeyboardInterrupt):
        io.exportScene(target, assembly)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_an_export_leaves_only_its_files(assembly: Scene, tmp_path: Path) -> None:
    """Given a scene, when it is exported with side files, then they lie beside it and no hidden folder does."""
    io.exportScene(tmp_path / "ein Teil.gltf", assembly)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ein Teil.bin", "ein Teil.gltf"]
    assert len(io.importScene(tmp_path / "ein Teil.gltf").instances()) == 3


# --- Sessions --------------------------------------------------------------------------------------------------------


def test_nothing_of_a_job_is_left_for_the_next(glb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a job that left scenes, settings and a viewer, when the next one runs, then it finds none of them.

    A worker calls every script in a copy of its own context, as here.
    """
    pxz = installed(monkeypatch)

    def job() -> tuple[int, Any, str]:
        found = (len(session.scenes()), get_current_session(), pxz.core.getModuleProperty("A", "b"))
        pxz.initialize()
        pxz.io.importScene(glb)
        pxz.core.setModuleProperty("A", "b", "c")
        pxz.view.createViewer(8, 8)
        return found

    assert [copy_context().run(job) for _ in range(2)] == [(0, None, ""), (0, None, "")]


def test_a_session_of_a_script_is_empty_at_both_ends(glb: Path) -> None:
    """Given scenes, when a task in the same process opens a session, then it has none; the first has its own again."""
    root = io.importScene(glb)
    with PiXYZSession():
        assert session.scenes() == ()
        io.importScene(glb)
    assert session.scenes() == (root,)


def test_sessions_keep_their_scenes_apart(glb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two sessions, when a script switches between them, then each has its own scenes; release forgets."""
    pxz = installed(monkeypatch)

    def script() -> None:
        first = pxz.initialize()
        assert pxz.get_current_session() is first
        pxz.io.importScene(glb)
        pxz.set_current_session(None)
        assert session.scenes() == () and pxz.get_current_session() is None
        second = pxz.initialize()
        assert second is not first and pxz.scene.getPartOccurrences() == []
        pxz.set_current_session(first)
        assert len(pxz.scene.getPartOccurrences()) == 3
        pxz.release()
        assert session.scenes() == () and pxz.get_current_session() is None
        with pytest.raises(PixyzException, match="not int"):
            pxz.set_current_session(7)

    copy_context().run(script)


# --- The SDK ---------------------------------------------------------------------------------------------------------


class Sdk:
    """A stand-in for the genuine pxz module that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.io = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args)) or 7


def test_the_sdk_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the genuine SDK, when files are read and written, then it does so; DISABLE_PIXYZ switches it off."""
    fake = Sdk()
    monkeypatch.setitem(sys.modules, "pxz", fake)
    monkeypatch.delenv("DISABLE_PIXYZ")
    part = tmp_path / "part.CATPart"
    part.touch()
    assert io.importScene(part) == 7
    io.exportScene("out.fbx", 7)
    assert fake.calls == [("importScene", (str(part),)), ("exportScene", ("out.fbx", 7))]
    monkeypatch.setenv("DISABLE_PIXYZ", "true")
    with pytest.raises(InvalidFile, match="Pixyz SDK"):
        io.importScene(part)


def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Our pxz modules, where scripts import them from."""
    modules: dict[str, ModuleType] = shim.modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["pxz"]


def test_scripts_import_pxz(glb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our pxz modules, when a script reads, saves and resets, then our own kernel does the work."""
    pxz = installed(monkeypatch)
    monkeypatch.delenv("DISABLE_PIXYZ")
    space: dict[str, Any] = {"folder": tmp_path}
    exec(  # noqa: S102
        "import pxz\nfrom pxz import algo, core, geom, io, material, polygonal, scene, view\n"
        "root = io.importScene(str(folder / 'a.glb'))\ncore.save(str(folder / 'saved'))\n"
        "io.exportScene(str(folder / 'b.gltf'), root)\ncore.resetSession()",
        space,
    )
    assert pxz.io is sys.modules["pxz.io"] and set(shim.NAMES) == set(shim.modules())
    assert io.importScene(tmp_path / "saved.pxz").triangle_count == TRIANGLES
    assert (tmp_path / "b.gltf").is_file()
    assert "getRoot" in dir(pxz.scene) and "scene" in dir(pxz)


def test_other_names_of_the_sdk_say_that_they_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our pxz modules, when another function is used, then the sentence names it and the SDK."""
    pxz = installed(monkeypatch)
    with pytest.raises(AttributeError, match=r"pxz\.algo\.voxelize needs the Pixyz SDK, which is not installed here"):
        pxz.algo.voxelize([1], 0.1)
    with pytest.raises(AttributeError, match=r"pxz\.polygonal\.getMeshTangents needs"):
        pxz.polygonal.getMeshTangents()
    assert not hasattr(pxz, "__wrapped__")
