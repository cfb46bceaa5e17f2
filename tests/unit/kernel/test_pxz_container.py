"""Our .pxz container: what it holds comes back, and nobody else's file is taken for one."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker import io
from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel import pxz_container
from pixyz_worker.kernel.pxz_container import PRODUCER, VERSION, Manifest
from pixyz_worker.kernel.scene import Scene

MANIFESTS = st.builds(
    Manifest,
    producer=st.just(PRODUCER),
    version=st.integers(1, VERSION),
    created=st.datetimes().map(datetime.isoformat),
    name=st.text(),
    unit_m=st.none() | st.floats(min_value=1e-9, max_value=1e6),
    scene=st.text(),
    scene_bytes=st.integers(0, 2**40),
    scene_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(manifest=MANIFESTS)
def test_a_manifest_comes_back(manifest: Manifest) -> None:
    """Given any manifest, when it is written and read, then it is the same."""
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(manifest=MANIFESTS, extra=st.dictionaries(st.text(min_size=20), st.integers(), max_size=3))
def test_unknown_keys_are_passed_over(manifest: Manifest, extra: dict[str, int]) -> None:
    """Given a manifest with keys of a later release, when it is read, then they do no harm."""
    text = json.dumps({**extra, **json.loads(manifest.to_json())}).encode()
    assert Manifest.from_json(text) == manifest


@given(text=st.binary(max_size=200))
def test_anything_else_is_a_value_error(text: bytes) -> None:
    """Given bytes that are no manifest, when they are read, then ValueError says so."""
    with pytest.raises(ValueError, match=r"manifest\.json"):
        Manifest.from_json(text)


@pytest.mark.parametrize("key", ["version", "created", "name", "unit_m", "scene", "scene_bytes", "scene_sha256"])
@pytest.mark.parametrize("value", [True, [], {}])
def test_a_key_of_a_wrong_kind_is_named(key: str, value: Any) -> None:
    """Given a manifest with one wrong value, when it is read, then the sentence names the key."""
    good = Manifest(
        producer=PRODUCER, version=1, created="", name="", unit_m=1.0, scene="", scene_bytes=0, scene_sha256=""
    )
    with pytest.raises(ValueError, match=key):
        Manifest.from_json(json.dumps({**json.loads(good.to_json()), key: value}).encode())


def test_a_scene_comes_back_whole(assembly: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the assembly, when it goes through .pxz, then its GLB and unit are the same; the log warns."""
    io.exportScene(tmp_path / "output.pxz", assembly)
    assert "Pixyz's own products cannot read it" in capsys.readouterr().out
    again = io.importScene(tmp_path / "output.pxz")
    assert (again.glb, again.unit_m, again.name) == (assembly.glb, 0.001, "bracket_assembly")


def test_the_same_scene_gives_the_same_bytes(two_parts: Scene, tmp_path: Path) -> None:
    """Given one scene and time, when it is written twice, then the files are equal."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    for name in ("a.pxz", "b.pxz"):
        pxz_container.write(two_parts, tmp_path / name, created=created)
    assert (tmp_path / "a.pxz").read_bytes() == (tmp_path / "b.pxz").read_bytes()


def make(path: Path, manifest: dict[str, Any] | None, scene: bytes = b"", method: int = zipfile.ZIP_STORED) -> Path:
    """A zip with a manifest and a scene of one's choice."""
    with zipfile.ZipFile(path, "w", method) as archive:
        if manifest is not None:
            archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("scene.glb", scene)
    return path


@pytest.mark.parametrize(
    "content", [b"PXZ\x00 native", b"<?xml version='1.0'?>", b"PK\x03\x04 no zip", bytes(range(256)) * 8]
)
def test_a_genuine_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """Given a .pxz that is no zip of ours, when it is read, then the sentence names the Pixyz SDK."""
    path = tmp_path / "genuine.pxz"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=r"genuine\.pxz looks like a file of Pixyz's own products.*Pixyz SDK"):
        io.importScene(path)


@pytest.mark.parametrize("manifest", [None, {}, {"producer": "Pixyz Studio", "version": 3}])
def test_a_zip_of_others_is_refused(manifest: dict[str, Any] | None, tmp_path: Path) -> None:
    """Given a zip without our manifest, when it is read, then the sentence names the Pixyz SDK."""
    with pytest.raises(InvalidFile, match="Pixyz's own products"):
        io.importScene(make(tmp_path / "other.pxz", manifest))


def good(**changes: Any) -> dict[str, Any]:
    """A manifest that is right but for changes."""
    manifest = {
        "producer": PRODUCER,
        "version": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "name": "x",
        "unit_m": 1.0,
        "scene": "scene.glb",
        "scene_bytes": 4,
        "scene_sha256": "0" * 64,
    }
    return {**manifest, **changes}


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    """Given a container of a later release, when it is read, then the sentence says to update."""
    with pytest.raises(InvalidFile, match="newer release"):
        io.importScene(make(tmp_path / "x.pxz", good(version=VERSION + 1), b"glTF"))


def test_a_scene_that_was_changed_is_refused(tmp_path: Path) -> None:
    """Given a scene that does not match its SHA-256, when it is read, then the file is called damaged."""
    with pytest.raises(InvalidFile, match="damaged"):
        io.importScene(make(tmp_path / "x.pxz", good(), b"glTF"))


def test_a_larger_scene_than_announced_is_refused(tmp_path: Path) -> None:
    """Given a scene larger than its manifest says, when it is read, then it is not unpacked."""
    with pytest.raises(InvalidFile, match="larger than"):
        io.importScene(make(tmp_path / "x.pxz", good(), b"glTF" * 100))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    """Given a scene of zeros that unpacks a thousandfold, when it is read, then it is not unpacked."""
    size = 17 << 20
    path = make(tmp_path / "x.pxz", good(scene_bytes=size), bytes(size), zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidFile, match="zip bomb"):
        io.importScene(path)


def test_a_cut_container_is_called_damaged(two_parts: Scene, tmp_path: Path) -> None:
    """Given half of a container of ours, when it is read, then it is not taken for a file of Pixyz."""
    pxz_container.write(two_parts, tmp_path / "whole.pxz")
    whole = (tmp_path / "whole.pxz").read_bytes()
    (tmp_path / "half.pxz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidFile, match=r"half\.pxz.*damaged or cut off"):
        io.importScene(tmp_path / "half.pxz")
