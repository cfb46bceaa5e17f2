"""Our .pxz container: all of a scene comes back without a copy, and nothing in a hostile file does harm."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pyarrow.compute
import pytest

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.pxz import container as pxz_container
from pixyz_worker.kernel.formats.pxz.rows import Row, write_rows
from pixyz_worker.kernel.formats.pxz.tree import rows_of
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Animation, Channel, Occurrence, Part, Scene
from tests.unit.kernel.scene_samples import ball, full_scene, same

OURS = {"pixyz.producer": "pixyz-on-ray", "pixyz.version": "2"}
GLB = gltf.join(gltf.Document(tree={"asset": {"version": "2.0"}}, binary=b""))
FOREIGN = r"looks like a file of Pixyz's own products.*Pixyz SDK"


def read(path: Path) -> Scene:
    """The scene of a container."""
    return pxz_container.read(path, ReadOptions())


def sent(scene: Scene, folder: Path) -> Scene:
    """A scene after its way through a container."""
    pxz_container.write(scene, folder / "x.pxz", quiet=True)
    return read(folder / "x.pxz")


def test_everything_comes_back(tmp_path: Path) -> None:
    """Given a scene with everything, when it goes through a container, then nothing differs."""
    same(sent(full_scene(), tmp_path), full_scene())


def test_it_comes_back_again(tmp_path: Path) -> None:
    """Given a scene that is mapped from a container, when it is written over that file, then it is still whole."""
    once = sent(full_scene(), tmp_path)
    write_scene(once, tmp_path / "x.pxz")
    same(once, full_scene())
    same(read(tmp_path / "x.pxz"), full_scene())


@pytest.mark.parametrize("count", [1, 500, 100_000])
def test_meshes_of_any_size_come_back(count: int, tmp_path: Path) -> None:
    """Given meshes that share a batch, and one that has its own, when stored, then they are equal, byte for byte."""
    root = Occurrence(children=[Occurrence(part=Part(mesh=ball(size))) for size in (count, 3, 2 * count, 1)])
    same(sent(Scene(name="x", root=root), tmp_path), Scene(name="x", root=root))


def test_nothing_is_copied(tmp_path: Path) -> None:
    """Given a mesh of 18 MB, when it is written and opened, then neither takes memory for it."""
    scene = Scene(name="x", root=Occurrence(part=Part(mesh=ball(500_000))))
    pool = pa.default_memory_pool()
    tracemalloc.start()
    try:
        pxz_container.write(scene, tmp_path / "x.pxz", quiet=True)
        mesh = read(tmp_path / "x.pxz").parts()[0].mesh
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mesh is not None
    assert not (mesh.positions.flags.owndata or mesh.triangles.flags.owndata or mesh.positions.flags.writeable)
    assert mesh.positions.flags.aligned and mesh.triangles.flags.aligned
    assert peak < 2e6
    assert pool.bytes_allocated() < 1e6


def test_a_data_scientist_opens_it_with_pyarrow_alone(tmp_path: Path) -> None:
    """Given a container, when Arrow reads it, then each mesh is a row with its arrays, and the tree is JSON."""
    sent(full_scene(), tmp_path)
    table = pa.ipc.open_file(pa.memory_map(str(tmp_path / "x.pxz"))).read_all()
    assert table.schema.metadata[b"pixyz.producer"] == b"pixyz-on-ray"
    rows = {kind: table.filter(pa.compute.equal(table["kind"], kind)) for kind in ("scene", "mesh", "image")}
    assert rows["mesh"]["name"].to_pylist() == ["box", "points"]
    assert rows["mesh"]["triangles"].to_pylist() == [[0, 1, 2, 0, 2, 3, 0, 3, 1], []]
    tree = json.loads(rows["scene"]["data"][0].as_py())
    assert [occurrence["name"] for occurrence in tree["occurrences"]][:2] == ["root", "Gruppe \u2713"]
    assert rows["image"]["data"].to_pylist() == [b"\x89PNG picture"]


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    """Given one scene and time, when it is written twice, then the files are equal."""
    for name in ("a.pxz", "b.pxz"):
        pxz_container.write(full_scene(), tmp_path / name, created=datetime(2026, 1, 1, tzinfo=UTC), quiet=True)
    assert (tmp_path / "a.pxz").read_bytes() == (tmp_path / "b.pxz").read_bytes()


def test_a_glb_is_passed_on_byte_for_byte(tmp_path: Path) -> None:
    """Given an untouched GLB, when it goes through a container, then it is that GLB, and was not taken apart."""
    scene = Scene(name="x", glb=GLB, unit_m=1.0, up="y")
    again = sent(scene, tmp_path)
    assert (again.source, again.name, again.unit_m, again.up) == (GLB, "x", 1.0, "y")
    write_scene(again, tmp_path / "again.glb")
    assert (tmp_path / "again.glb").read_bytes() == GLB


def test_a_broken_glb_in_it_is_a_sentence(tmp_path: Path) -> None:
    """Given a container whose GLB is cut off, when it is opened, then the sentence says so."""
    with pytest.raises(ValueError, match="cut off"):
        sent(Scene(name="x", glb=GLB[:-4]), tmp_path)


def test_a_deep_tree_comes_back(tmp_path: Path) -> None:
    """Given a tree of ten thousand levels, when it is stored, then there is no recursion."""
    root = deepest = Occurrence(name="0")
    for number in range(1, 10_000):
        deepest = deepest.add(Occurrence(name=str(number), matrix=numpy.eye(4)))
    again = sent(Scene(name="deep", root=root), tmp_path)
    assert [occurrence.name for occurrence in again.root.walk()] == [str(number) for number in range(10_000)]


def test_names_of_any_kind_come_back(tmp_path: Path) -> None:
    """Given names that are no valid Unicode, empty, or long, when they are stored, then they are the same."""
    names = ["", "\udc80broken", "\0", "a" * 100_000, "中文"]
    root = Occurrence(children=[Occurrence(name=name, part=Part(name=name, mesh=ball(3))) for name in names])
    again = sent(Scene(name="\udc80", root=root), tmp_path)
    assert [occurrence.name for occurrence in again.root.children] == names
    assert again.name == "\udc80"


def test_exact_surfaces_come_back(need_extra: Callable[[str], None], tmp_path: Path) -> None:
    """Given a part with exact surfaces, when it is stored, then their bytes are the same."""
    need_extra("cad")
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox

    from pixyz_worker.kernel.brep import OccBrep

    brep = OccBrep(BRepPrimAPI_MakeBox(10.0, 20.0, 30.0).Shape())
    shared = Part(name="box", brep=brep)
    again = sent(Scene(name="x", root=Occurrence(children=[Occurrence(part=shared) for _ in range(2)])), tmp_path)
    (part,) = again.parts()
    assert part.mesh is None and part.brep is not None
    assert part.brep.to_bytes() == brep.to_bytes()
    assert numpy.allclose(part.brep.bounds(), [[0, 0, 0], [0.01, 0.02, 0.03]], atol=1e-6)  # type: ignore[attr-defined]


def test_a_channel_of_what_is_gone_is_left_out(tmp_path: Path) -> None:
    """Given an animation of what was taken out of the tree, when it is stored, then it stays, without that."""
    keys = numpy.zeros(1, numpy.float32)
    gone = Channel(target=Occurrence(), path="scale", times=keys, values=keys.reshape(1, 1))
    scene = Scene(name="x", root=Occurrence(), animations=[Animation(name="a", channels=[gone])])
    (animation,) = sent(scene, tmp_path).animations
    assert (animation.name, animation.channels) == ("a", [])


def test_the_log_says_who_cannot_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given an export, when it is not quiet, then the job's log warns."""
    pxz_container.write(full_scene(), tmp_path / "output.pxz")
    assert "output.pxz is a scene container" in capsys.readouterr().out
    pxz_container.write(full_scene(), tmp_path / "output.pxz", quiet=True)
    assert capsys.readouterr().out == ""


# Files of others, and of other releases.


@pytest.mark.parametrize(
    "content", [b"PXZ\x00 native", b"<?xml version='1.0'?>", b"PK\x03\x04 no zip", bytes(range(256)) * 8]
)
def test_a_genuine_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """Given a .pxz that is not ours, when it is read, then the sentence names the Pixyz SDK."""
    path = tmp_path / "genuine.pxz"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"genuine\.pxz {FOREIGN}"):
        read(path)


def stored(path: Path, rows: list[Row] | None = None, **metadata: str) -> Path:
    """An Arrow file with rows and metadata of one's choice."""
    write_rows(path, rows_of(full_scene()) if rows is None else rows, {**OURS, **metadata})
    return path


def test_an_arrow_file_of_others_is_refused(tmp_path: Path) -> None:
    """Given an Arrow file that does not name our producer, when it is read, then it is taken for a foreign one."""
    with pytest.raises(FormatError, match=FOREIGN):
        read(stored(tmp_path / "x.pxz", **{"pixyz.producer": "somebody"}))


@pytest.mark.parametrize("version", ["3", "99999999999999999999999"])
def test_a_newer_layout_is_refused(version: str, tmp_path: Path) -> None:
    """Given a container of a later release, when it is read, then the sentence says to update."""
    with pytest.raises(ValueError, match="newer release"):
        read(stored(tmp_path / "x.pxz", **{"pixyz.version": version}))


@pytest.mark.parametrize("version", ["", "two", "-1", "\u0662"])
def test_a_container_without_a_version_is_refused(version: str, tmp_path: Path) -> None:
    """Given metadata without a number of the layout, when it is read, then the sentence says so."""
    with pytest.raises(ValueError, match="version"):
        read(stored(tmp_path / "x.pxz", **{"pixyz.version": version}))


# The layout of earlier releases.


def old(path: Path, *, glb: bytes = GLB, method: int = zipfile.ZIP_DEFLATED, **changes: Any) -> Path:
    """A container of the first layout."""
    manifest = {
        "producer": "pixyz-on-ray",
        "version": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "name": "old",
        "unit_m": 0.001,
        "scene": "scene.glb",
        "scene_bytes": len(glb),
        "scene_sha256": hashlib.sha256(glb).hexdigest(),
    }
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.json", json.dumps({**manifest, **changes}))
        archive.writestr("scene.glb", glb)
    return path


def test_an_old_container_is_still_read(tmp_path: Path) -> None:
    """Given a container of the first layout, when it is read, then its GLB and unit are the same."""
    scene = read(old(tmp_path / "x.pxz"))
    assert (scene.source, scene.name, scene.unit_m, scene.up) == (GLB, "old", 0.001, "y")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"producer": "Pixyz Studio"}, "Pixyz's own products"),
        ({"version": 2}, "newer release"),
        ({"version": None}, "newer release"),
        ({"scene_sha256": "0" * 64}, "damaged"),
        ({"scene_sha256": 5}, "scene_sha256"),
        ({"scene_bytes": 4}, "larger than"),
        ({"scene_bytes": "4"}, "scene_bytes"),
        ({"scene_bytes": -1}, "larger than"),
        ({"scene": "other"}, "damaged"),
        ({"scene": []}, "scene of its"),
        ({"unit_m": []}, "unit_m"),
        ({"name": 5}, "name"),
    ],
)
def test_a_hostile_old_container_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Given a manifest with one wrong value, when it is read, then the sentence says what is wrong."""
    with pytest.raises(FormatError, match=reason):
        read_scene(old(tmp_path / "x.pxz", **changes))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    """Given a scene of zeros that unpacks a thousandfold, when it is read, then it is not unpacked."""
    with pytest.raises(FormatError, match="zip bomb"):
        read_scene(old(tmp_path / "x.pxz", glb=bytes(17 << 20)))


def test_a_cut_old_container_is_called_damaged(tmp_path: Path) -> None:
    """Given half of an old container, when it is read, then it is not taken for a file of Pixyz."""
    whole = old(tmp_path / "whole.pxz").read_bytes()
    (tmp_path / "half.pxz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"half\.pxz.*damaged or cut off"):
        read_scene(tmp_path / "half.pxz")
