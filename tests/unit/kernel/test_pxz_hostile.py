"""Containers of a stranger: whatever is in them, reading ends in a scene or in a sentence, never worse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_worker.exception import FormatError, PixyzException
from pixyz_worker.kernel.formats.pxz import container as pxz_container
from pixyz_worker.kernel.formats.pxz.rows import SCHEMA, Row, Table, write_rows
from pixyz_worker.kernel.formats.pxz.tree import rows_of
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene
from tests.unit.kernel.scene_samples import full_scene, same

OURS = {"pixyz.producer": "pixyz-on-ray", "pixyz.version": "2"}


def read(path: Path) -> Scene:
    """The scene of a container."""
    return pxz_container.read(path, ReadOptions())


def stored(path: Path, rows: list[Row] | None = None, **metadata: str) -> Path:
    """An Arrow file with rows and metadata of one's choice."""
    write_rows(path, rows_of(full_scene()) if rows is None else rows, {**OURS, **metadata})
    return path


def changed(change: Callable[[dict[str, Any]], None]) -> list[Row]:
    """The rows of a scene whose JSON was changed."""
    first, *others = rows_of(full_scene())
    tree = json.loads(bytes(first.data or b""))
    change(tree)
    return [Row(kind="scene", data=json.dumps(tree).encode()), *others]


def put(*way: Any) -> Callable[[dict[str, Any]], None]:
    """A change that puts the last of the arguments where the others lead."""
    *places, key, value = way

    def change(tree: dict[str, Any]) -> None:
        for place in places:
            tree = tree[place]
        tree[key] = value

    return change


BAD_TREES = [
    ("occurrences", 1, "parent", 1),
    ("occurrences", 1, "parent", 5),
    ("occurrences", 1, "parent", None),
    ("occurrences", 0, "parent", 0),
    ("occurrences", 1, "parent", True),
    ("occurrences", 1, "parent", -1),
    ("occurrences", 1, "name", 7),
    ("occurrences", 1, "matrix", 99),
    ("occurrences", 2, "part", 2),
    ("occurrences", 1, "visible", 1),
    ("occurrences", 1, "metadata", {"a": []}),
    ("occurrences", 1, "metadata", "text"),
    ("occurrences", 1, "annotations", [{"name": 1}]),
    ("occurrences", 1, "annotations", [{"name": "a", "annotations": [1]}]),
    ("occurrences", 1, []),
    ("occurrences", []),
    ("occurrences", {}),
    ("parts", 0, "mesh", 2),
    ("parts", 0, "brep", 0),
    ("parts", []),
    ("meshes", 0, "materials", []),
    ("meshes", 0, "materials", [0, None, 9]),
    ("meshes", 0, "materials", [0]),
    ("meshes", 0, "variants", [{}]),
    ("meshes", 0, "variants", [{"a": 1.0}, {}, {}]),
    ("meshes", [{}]),
    ("materials", 0, "base_colour", [1, 2]),
    ("materials", 0, "base_colour", [1, 2, 3, 1e999]),
    ("materials", 0, "roughness", float("nan")),
    ("materials", 0, "roughness", 10**400),
    ("materials", 0, "alpha_mode", "some"),
    ("materials", 0, "double_sided", None),
    ("materials", 0, "extensions", []),
    ("materials", 0, "normal_texture", {"image": 7}),
    ("materials", 0, "normal_texture", {}),
    ("materials", 0, "normal_texture", "0"),
    ("materials", 0, "normal_texture", "wrap", ["repeat"]),
    ("materials", 0, "normal_texture", "wrap", ["repeat", {}]),
    ("images", []),
    ("images", 0, "mime", None),
    ("animations", 0, "channels", 0, "target", 99),
    ("animations", 0, "channels", 0, "keys", 1),
    ("animations", 0, "channels", 0, "shape", [6, 5]),
    ("animations", 0, "channels", 0, "shape", [2**40, 2**40, 0]),
    ("animations", 0, "channels", 0, "shape", [-1, 4]),
    ("animations", 0, "channels", 0, "shape", []),
    ("animations", 0, "channels", 0, "interpolation", "LINEAR"),
    ("animations", 0, "channels", 0, "interpolation", "?"),
    ("animations", 0, "channels", 3),
    ("variants", [1]),
    ("name", []),
    ("unit_m", -1),
    ("unit_m", "mm"),
    ("up", "w"),
]


@pytest.mark.parametrize("way", BAD_TREES, ids=lambda way: ".".join(map(str, way))[:60])
def test_a_tree_that_makes_no_sense_is_refused(way: tuple[Any, ...], tmp_path: Path) -> None:
    """Given a tree with one wrong number or kind, when it is read, then a ValueError says so."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        read(stored(tmp_path / "x.pxz", changed(put(*way))))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"occurrences":[' + b"9" * 5000],
)
def test_a_tree_that_is_no_json_is_refused(text: bytes, tmp_path: Path) -> None:
    """Given a scene that is no JSON object, when it is read, then a ValueError says so."""
    with pytest.raises(ValueError, match=r"\w+"):
        read(stored(tmp_path / "x.pxz", [Row(kind="scene", data=text)]))


def numbers(*values: float) -> Any:
    """An array of them."""
    return numpy.array(values)


BAD_ARRAYS = {
    "no vertices": {"positions": None},
    "no triangles": {"triangles": None},
    "two numbers to a vertex": {"positions": numbers(0, 1)},
    "not a number": {"positions": numbers(*[0.0] * 11, float("nan"))},
    "infinite": {"positions": numbers(*[0.0] * 11, float("inf"))},
    "two corners": {"triangles": numbers(0, 1)},
    "a vertex that is not there": {"triangles": numbers(0, 1, 2, 0, 2, 3, 0, 3, 4)},
    "too few normals": {"normals": numbers(0, 0, 1)},
    "too many uvs": {"uvs": numbers(*[0] * 10)},
    "too few colours": {"colours": numbers(1, 2, 3)},
    "a material that is not there": {"triangle_materials": numbers(0, 1, 3)},
    "too few materials": {"triangle_materials": numbers(0, 1)},
}


@pytest.mark.parametrize("arrays", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_make_no_sense_are_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    """Given a mesh with one wrong array, when it is read, then a ValueError says so."""
    rows = rows_of(full_scene())
    place = [row.kind for row in rows].index("mesh")
    lists = {name: array for name, array in {**rows[place].lists, **arrays}.items() if array is not None}
    rows[place] = Row(kind="mesh", lists=lists)
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        read(stored(tmp_path / "x.pxz", rows))


@pytest.mark.parametrize("kind", ["scene", "mesh", "image", "keys", "matrices"])
def test_rows_that_are_missing_or_empty_are_noticed(kind: str, tmp_path: Path) -> None:
    """Given a container without a kind of rows, or with empty ones, when it is read, then a ValueError says so."""
    rows = rows_of(full_scene())
    for damaged in (
        [row for row in rows if row.kind != kind],
        [*(row for row in rows if row.kind != kind), Row(kind=kind)],
    ):
        with pytest.raises(ValueError, match=r"\w+ \w+"):
            read(stored(tmp_path / "x.pxz", damaged))


def test_kinds_of_rows_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    """Given rows that a later release added, when it is read, then they do no harm."""
    same(read(stored(tmp_path / "x.pxz", [*rows_of(full_scene()), Row(kind="later", data=b"x")])), full_scene())


def arrow_file(path: Path, batch: pa.RecordBatch, **options: Any) -> Path:
    """An Arrow file of one batch with our metadata."""
    schema = batch.schema.with_metadata(OURS)
    told = pa.ipc.IpcWriteOptions(**options)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=told) as writer:
        writer.write_batch(batch.cast(schema))
    return path


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_batch_is_not_unpacked(compression: str, tmp_path: Path) -> None:
    """Given 64 MiB of zeros, compressed to nothing, when it is read, then it is refused unpacked."""
    columns = [pa.array(["scene"]), pa.array(["x"]), *(pa.nulls(1, field.type) for field in list(SCHEMA)[2:-1])]
    columns.append(pa.array([bytes(64 << 20)], pa.large_binary()))
    path = arrow_file(tmp_path / "x.pxz", pa.record_batch(columns, schema=SCHEMA), compression=compression)
    before = pa.default_memory_pool().bytes_allocated()
    table = Table(path)
    with pytest.raises(ValueError, match="plain rows"):
        list(table.rows())
    assert pa.default_memory_pool().bytes_allocated() == before


def test_other_columns_are_refused(tmp_path: Path) -> None:
    """Given an Arrow file of ours by name, with other columns, when it is read, then a ValueError says so."""
    with pytest.raises(ValueError, match="columns"):
        read(arrow_file(tmp_path / "x.pxz", pa.record_batch({"a": [1]})))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_container_is_called_damaged(share: float, tmp_path: Path) -> None:
    """Given the beginning of a container of ours, when it is read, then it is not taken for a file of Pixyz."""
    whole = stored(tmp_path / "whole.pxz").read_bytes()
    path = tmp_path / "part.pxz"
    path.write_bytes(whole[: max(8, int(len(whole) * share))])
    with pytest.raises(FormatError, match=r"part\.pxz.*damaged or cut off"):
        read_scene(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a container of a small scene."""
    return stored(tmp_path_factory.mktemp("good") / "x.pxz").read_bytes()


def test_a_file_that_begins_with_rows_is_called_damaged(good: bytes, tmp_path: Path) -> None:
    """Given a container whose schema is not there, when it is read, then its rows are not taken for one."""
    size = int.from_bytes(good[12:16], "little")
    path = tmp_path / "x.pxz"
    path.write_bytes(good[:8] + good[16 + size :])
    with pytest.raises(ValueError, match="damaged or cut off"):
        read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_a_sentence(data: st.DataObject, good: bytes, tmp_path: Path) -> None:
    """Given a container with any bytes changed, when it is read, then it is read or refused, never worse."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 8))):
        size = data.draw(st.sampled_from([1, 4, 8]))
        place = data.draw(st.integers(0, len(good) - size))
        content[place : place + size] = data.draw(st.binary(min_size=size, max_size=size))
    path = tmp_path / f"{os.urandom(8).hex()}.pxz"
    path.write_bytes(content)
    try:
        scene = read(path)
    except (PixyzException, ValueError) as error:
        assert str(error)
    else:
        for part in scene.parts():
            assert part.mesh is None or part.mesh.positions.shape[1] == 3
    finally:
        path.unlink()
