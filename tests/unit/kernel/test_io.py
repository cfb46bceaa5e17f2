"""importScene and exportScene: sessions, whole files, the SDK, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pixyz_worker import io
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound
from pixyz_worker.kernel import shim
from pixyz_worker.kernel.formats import TABLE
from pixyz_worker.kernel.scene import Scene

HEAVY = ("numpy", "trimesh", "cascadio", "PIL", "lxml", "networkx", "collada", "zipfile")


def test_importing_io_loads_nothing_heavy() -> None:
    """Given a fresh interpreter, when io, the table and the shim are imported, then no 3D library is loaded."""
    code = (
        "import sys; from pixyz_worker import io; from pixyz_worker.kernel import formats, shim; shim.modules();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.strip() == "[]"


def test_glb_to_gltf_loads_no_mesh_library(two_parts: Scene, tmp_path: Path) -> None:
    """Given a GLB, when it is only converted to glTF and pxz, then no mesh library is loaded."""
    (tmp_path / "in.glb").write_bytes(two_parts.glb)
    code = (
        "import sys; from pixyz_worker import io; folder = sys.argv[1]; root = io.importScene(folder + '/in.glb');"
        "io.exportScene(folder + '/out.gltf', root); io.exportScene(folder + '/out.pxz', root);"
        "print(root.triangle_count, 'numpy' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout.splitlines()[-1] == "172 False"


def test_export_without_a_root_writes_all_that_was_imported(two_parts: Scene, tmp_path: Path) -> None:
    """Given two imports, when the scene is exported without a root, then both are in it."""
    io.exportScene(tmp_path / "a.glb", two_parts)
    io.importFiles([tmp_path / "a.glb", tmp_path / "a.glb"])
    io.exportScene(tmp_path / "both.glb")
    assert io.importScene(tmp_path / "both.glb").triangle_count == 2 * 172


def test_import_below_a_root_adds_to_it(two_parts: Scene, tmp_path: Path) -> None:
    """Given a root, when a file is imported below it, then the root holds both and is returned."""
    io.exportScene(tmp_path / "a.glb", two_parts)
    root = io.importScene(tmp_path / "a.glb")
    assert io.importScene(tmp_path / "a.glb", root) is root
    assert root.triangle_count == 2 * 172


def test_nothing_to_export_is_a_sentence(tmp_path: Path) -> None:
    """Given nothing imported, when the scene is exported, then the sentence says to import first."""
    with pytest.raises(InvalidFile, match="import a file first"):
        io.exportScene(tmp_path / "x.glb")


def test_a_root_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Given a root that is a text, when it is exported, then the sentence says what to give."""
    with pytest.raises(InvalidFile, match="root is str"):
        io.exportScene(tmp_path / "x.glb", "root")


def test_a_missing_folder_is_named(two_parts: Scene, tmp_path: Path) -> None:
    """Given no folder to write into, when a scene is exported, then the sentence names it."""
    with pytest.raises(PixyzFileNotFound, match="no folder"):
        io.exportScene(tmp_path / "gone" / "x.glb", two_parts)


@pytest.mark.parametrize("extension", ["glb", "gltf", "obj", "pxz"])
def test_an_interrupted_export_leaves_the_old_file(
    extension: str, two_parts: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        io.exportScene(target, two_parts)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_text() == "old"


def test_an_export_leaves_only_its_files(two_parts: Scene, tmp_path: Path) -> None:
    """Given a scene, when it is exported with side files, then they lie beside it and no hidden folder does."""
    io.exportScene(tmp_path / "ein Teil.gltf", two_parts)
    io.exportScene(tmp_path / "ein Teil.obj", two_parts)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["ein Teil.bin", "ein Teil.gltf", "ein Teil.mtl", "ein Teil.obj"]
    assert io.importScene(tmp_path / "ein Teil.gltf").instance_count == 3


def test_an_edit_is_exported(two_parts: Scene, tmp_path: Path) -> None:
    """Given an imported GLB, when its trimesh scene is edited, then the export has the change."""
    io.exportScene(tmp_path / "a.glb", two_parts)
    root = io.importScene(tmp_path / "a.glb")
    root.edit().delete_geometry("ball")
    io.exportScene(tmp_path / "b.glb", root)
    assert io.importScene(tmp_path / "b.glb").triangle_count == 12


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


def installed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Our pxz modules, where scripts import them from."""
    modules = shim.modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["pxz"]


def test_scripts_import_pxz(two_parts: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our pxz modules, when a script reads, saves and resets, then our own kernel does the work."""
    pxz = installed(monkeypatch)
    monkeypatch.delenv("DISABLE_PIXYZ")
    io.exportScene(tmp_path / "a.glb", two_parts)
    space: dict[str, Any] = {"folder": tmp_path}
    exec(  # noqa: S102
        "import pxz\nfrom pxz import algo, core, geom, io, material, polygonal, scene, view\n"
        "root = io.importScene(str(folder / 'a.glb'))\ncore.save(str(folder / 'saved'))\n"
        "io.exportScene(str(folder / 'b.gltf'), root)\ncore.resetSession()",
        space,
    )
    assert pxz.io is sys.modules["pxz.io"] and set(shim.NAMES) == set(shim.modules())
    assert io.importScene(tmp_path / "saved.pxz").triangle_count == 172
    assert (tmp_path / "b.gltf").is_file()


def test_other_names_of_the_sdk_say_that_they_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our pxz modules, when another function is used, then the sentence names it and the SDK."""
    pxz = installed(monkeypatch)
    with pytest.raises(AttributeError, match=r"pxz\.algo\.repairCAD needs the Pixyz SDK"):
        pxz.algo.repairCAD([1], 0.1)
    assert not hasattr(pxz, "__wrapped__")
