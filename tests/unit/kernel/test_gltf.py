"""GLB files apart and together, instances shared, nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker import io
from pixyz_worker.kernel import gltf
from pixyz_worker.kernel.gltf import Document
from pixyz_worker.kernel.scene import Scene

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(extras=JSON, binary=st.binary(max_size=64))
def test_split_undoes_join(extras: Any, binary: bytes) -> None:
    """Given any document, when it is joined and split, then it is the same but for padding."""
    document = Document(tree={"asset": {"version": "2.0"}, "extras": extras}, binary=binary)
    again = gltf.split(gltf.join(document))
    assert again.tree == document.tree
    assert again.binary.rstrip(b"\0") == binary.rstrip(b"\0")
    assert gltf.join(again) == gltf.join(document)


@given(cut=st.integers(min_value=0), flip=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_damaged_glb_ends_in_a_sentence(cut: int, flip: int, value: int, two_parts: Scene) -> None:
    """Given a GLB with a byte changed and its end cut, when it is checked, then it passes or a ValueError says why."""
    glb = bytearray(two_parts.glb)
    glb[flip % len(glb)] = value
    damaged = bytes(glb[: len(glb) - cut % 64])
    try:
        gltf.check(gltf.split(damaged))
    except ValueError as error:
        assert str(error)


def test_an_unedited_glb_is_passed_on_byte_for_byte(two_parts: Scene, tmp_path: Path) -> None:
    """Given a GLB with an animation and an unknown extension, when it is converted, then they are still there."""
    document = gltf.split(two_parts.glb)
    tree = document.tree | {"animations": [], "extras": {"serial": "Ä-1"}, "extensionsUsed": ["VENDOR_thing"]}
    source = tmp_path / "in.glb"
    source.write_bytes(gltf.join(Document(tree=tree, binary=document.binary)))
    root = io.importScene(source)
    io.exportScene(tmp_path / "out.glb", root)
    io.exportScene(tmp_path / "out.gltf", root)
    assert (tmp_path / "out.glb").read_bytes() == source.read_bytes()
    written = json.loads((tmp_path / "out.gltf").read_text(encoding="utf-8"))
    assert written["extras"] == {"serial": "Ä-1"} and written["extensionsUsed"] == ["VENDOR_thing"]
    assert written["buffers"][0]["uri"] == "out.bin"


def test_step_keeps_tree_names_colours_and_instances(assembly: Scene) -> None:
    """Given the STEP assembly, when it is read, then the GLB holds its tree, six parts, and their colours."""
    names = [occurrence.name for occurrence in assembly.occurrences]
    assert (len(names), assembly.part_count, assembly.instance_count) == (29, 6, 22)
    assert names[:5] == ["Bracket assembly", "Base plate", "Lagerbock links", "Lagerbock rechts", "Shaft Ø20"]
    assert [names.count(name) for name in ("Washer", "Bolt", "Nut", "Bolt set 6")] == [6, 6, 6, 1]
    bolt = next(o for o in assembly.occurrences if o.name == "Bolt")
    assert bolt.parent is not None and names[bolt.parent] == "Bolt set 1"
    tree = gltf.split(assembly.glb).tree
    assert {mesh["name"] for mesh in tree["meshes"]} >= {"Lagerbock Größe 40", "Nut M10"}
    metals = [material["pbrMetallicRoughness"] for material in tree["materials"]]
    assert len(metals) == 6 and all(metal["metallicFactor"] == 0.0 for metal in metals)


def test_step_is_what_cascadio_makes_of_it(assembly: Scene, sample: Path) -> None:
    """Given the STEP assembly, when it is read, then triangles and transforms are cascadio's, untouched."""
    import cascadio

    ours, theirs = gltf.split(assembly.glb), gltf.split(cascadio.load(sample.read_bytes()))
    strip = [{key: value for key, value in node.items() if key != "mesh"} for node in theirs.tree["nodes"]]
    assert ours.binary == theirs.binary
    assert [{key: value for key, value in node.items() if key != "mesh"} for node in ours.tree["nodes"]] == strip


def test_gltf_brings_its_side_files_in(tmp_path: Path, two_parts: Scene) -> None:
    """Given a .gltf whose data lies in a subfolder with a space, when it is read, then it becomes one GLB."""
    io.exportScene(tmp_path / "part.gltf", two_parts)
    (tmp_path / "side files").mkdir()
    (tmp_path / "part.bin").rename(tmp_path / "side files" / "part.bin")
    tree = json.loads((tmp_path / "part.gltf").read_text(encoding="utf-8"))
    tree["buffers"][0]["uri"] = "side%20files/part.bin"
    (tmp_path / "part.gltf").write_text(json.dumps(tree), encoding="utf-8")
    root = io.importScene(tmp_path / "part.gltf")
    assert gltf.split(root.glb).binary == gltf.split(two_parts.glb).binary
    assert root.instance_count == 3


@pytest.mark.parametrize(
    "uri", ["../part.bin", "/etc/passwd", "file:///etc/passwd", "http://x/y.bin", "%2e%2e/part.bin"]
)
def test_gltf_reaches_nothing_outside_its_folder(uri: str, tmp_path: Path) -> None:
    """Given a .gltf that names a file elsewhere, when it is read, then it is refused."""
    (tmp_path / "part.bin").write_bytes(b"1234")
    (tmp_path / "in").mkdir()
    tree = {"asset": {"version": "2.0"}, "buffers": [{"uri": uri, "byteLength": 4}]}
    (tmp_path / "in" / "part.gltf").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(io.InvalidFile, match="outside its own folder"):
        io.importScene(tmp_path / "in" / "part.gltf")
