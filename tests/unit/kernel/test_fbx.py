"""FBX as we write it: what comes back, matrices, large files, and what a stranger's file may announce."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.kernel.formats.assimp import fbx_facts
from pixyz_worker.kernel.formats.assimp import reader as assimp
from pixyz_worker.kernel.formats.fbx import records as fbx_records
from pixyz_worker.kernel.formats.fbx import writer as fbx
from pixyz_worker.kernel.formats.fbx.transform import decomposed
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.formats.shared import roots
from pixyz_worker.kernel.material import Material
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import facts, samples

OPTIONS = ReadOptions()
NUMBERS = st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3)


def again(scene: Scene, folder: Path) -> Scene:
    """A scene after its way through FBX."""
    fbx.write(scene, folder / "again.fbx")
    return assimp.parse_fbx(folder / "again.fbx", OPTIONS)


def one(mesh: object, **more: object) -> Scene:
    """A scene of one part."""
    shown = Occurrence(name="one", part=Part(name="one", mesh=mesh))  # type: ignore[arg-type]
    return Scene(name="one", root=shown, unit_m=0.001, up="y", **more)  # type: ignore[arg-type]


def angle_matrix(degrees: tuple[float, float, float]) -> numpy.ndarray:
    """A rotation around x, then y, then z."""
    x, y, z = numpy.radians(degrees)
    about_x = numpy.array([[1, 0, 0], [0, numpy.cos(x), -numpy.sin(x)], [0, numpy.sin(x), numpy.cos(x)]])
    about_y = numpy.array([[numpy.cos(y), 0, numpy.sin(y)], [0, 1, 0], [-numpy.sin(y), 0, numpy.cos(y)]])
    about_z = numpy.array([[numpy.cos(z), -numpy.sin(z), 0], [numpy.sin(z), numpy.cos(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


class TestRoundTrip:
    def test_everything(self, tmp_path: Path) -> None:
        """Given an assembly with a texture, when it goes through a file, then all that the table promises is there."""
        before = samples.everything()
        write_scene(before, tmp_path / "t.fbx")
        after = read_scene(tmp_path / "t.fbx")
        assert (after.unit_m, after.up) == (0.001, "y")
        assert [o.name for o in after.root.walk()][1:] == [o.name for o in before.root.walk()][1:]
        assert facts.extents(after) == pytest.approx(facts.extents(before))
        assert facts.volume(after) == pytest.approx(facts.volume(before))
        assert facts.counts(after) == facts.counts(before)
        assert facts.quadrants(after) == facts.quadrants(before)
        assert {material.name for material in after.materials()} == {"red", "blue", "paint"}

    @pytest.mark.parametrize("unit_m", [1.0, 0.01, 0.0254, None])
    @pytest.mark.parametrize("up", ["x", "y", "z", None])
    def test_units_and_axes(self, tmp_path: Path, unit_m: float | None, up: str | None) -> None:
        """Given a unit and an axis, when it goes through a file, then both and the places are as before."""
        before = Scene(name="t", root=samples.assembly().root, unit_m=unit_m, up=up)  # type: ignore[arg-type]
        after = again(before, tmp_path)
        assert after.unit_m == pytest.approx(unit_m or 0.01)
        assert after.up == (up or "y")
        for old, new in zip(facts.placed_positions(before), facts.placed_positions(after), strict=True):
            assert (new.min(axis=0), new.max(axis=0)) == (
                pytest.approx(old.min(axis=0), abs=1e-5),
                pytest.approx(old.max(axis=0), abs=1e-5),
            )

    def test_materials_of_triangles(self, tmp_path: Path) -> None:
        """Given a box of two materials, one of them clear, when it comes back, then each has its triangles."""
        mesh = samples.box()
        clear = Material(name="clear", base_colour=(0, 0, 1, 0.5), emission=(1.0, 0.0, 0.0))
        mesh.materials = (samples.painted("red", samples.RED), clear)
        mesh.triangle_materials = numpy.array([0] * 8 + [1] * 4, numpy.uint16)
        found = again(one(mesh), tmp_path).parts()[0].mesh
        assert found is not None
        counts = {material.name: len(triangles) for material, triangles in found.by_material() if material}
        assert counts == {"red": 8, "clear": 4}
        assert found.materials[1] is not None
        assert found.materials[1].base_colour == pytest.approx((0, 0, 1, 0.5))
        assert found.materials[1].emission == pytest.approx((1, 0, 0))
        assert found.materials[1].alpha_mode == "blend"

    def test_material_without_a_name(self, tmp_path: Path) -> None:
        """Given a material without a name, when it comes back, then its colour is there."""
        found = again(one(samples.box(material=samples.painted("", samples.RED))), tmp_path)
        assert facts.colours(found) == {samples.RED}

    def test_colours_and_normals(self, tmp_path: Path) -> None:
        """Given colours and normals at the vertices, and no material, when it comes back, then they are as before."""
        mesh = samples.sphere(1.0, 4)
        mesh.colours = numpy.arange(len(mesh.positions) * 4, dtype=numpy.uint8).reshape(-1, 4)
        found = again(one(mesh), tmp_path).parts()[0].mesh
        assert found is not None and found.normals is not None and found.colours is not None
        assert found.materials == (None,)
        rows = {tuple(row): tuple(colour) for row, colour in zip(mesh.positions.round(4), mesh.colours, strict=True)}
        assert {tuple(r): tuple(c) for r, c in zip(found.positions.round(4), found.colours, strict=True)} == rows
        assert found.normals == pytest.approx(found.positions, abs=1e-5)

    def test_shear(self, tmp_path: Path) -> None:
        """Given a sheared and mirrored group, when it comes back, then what is in and below it has not moved."""
        matrix = numpy.array([[-1, 0.5, 0, 1], [0, 2, 0.3, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]])
        part = Part(name="box", mesh=samples.box(1, 2, 3))
        child = Occurrence(name="child", part=part, matrix=samples.shift(1, 1, 1))
        root = Occurrence(
            name="root", children=[Occurrence(name="sheared", matrix=matrix, part=part, children=[child])]
        )
        before = Scene(name="t", root=root, unit_m=1.0, up="y")
        after = again(before, tmp_path)
        found = [o for o in after.root.walk() if o.name in ("sheared", "child")]
        assert found[0].world() == pytest.approx(matrix, abs=1e-5)
        assert found[1].world() == pytest.approx(matrix @ samples.shift(1, 1, 1), abs=1e-5)

    def test_deep_tree(self, tmp_path: Path) -> None:
        """Given a tree of 3000 levels, when it goes through a file, then all of them are there."""
        deepest = root = Occurrence(name="root")
        for level in range(3000):
            deepest = deepest.add(Occurrence(name=f"level {level}"))
        deepest.part = Part(name="box", mesh=samples.box())
        after = again(Scene(name="deep", root=root, unit_m=1.0, up="y"), tmp_path)
        assert sum(1 for _ in after.root.walk()) == 3001

    @pytest.mark.parametrize(("scene", "words"), [(samples.points(), "only points"), (None, "no mesh and no point")])
    def test_nothing_to_write(self, tmp_path: Path, scene: Scene | None, words: str) -> None:
        """Given points alone, or nothing, when it is written, then a sentence refuses it."""
        with pytest.raises(ValueError, match=words):
            fbx.write(scene or Scene(name="none", root=Occurrence(name="none")), tmp_path / "t.fbx")

    def test_same_bytes(self, tmp_path: Path) -> None:
        """Given one scene, when it is written twice, then the bytes are the same."""
        for name in ("a.fbx", "b.fbx"):
            fbx.write(samples.everything(), tmp_path / name)
        assert (tmp_path / "a.fbx").read_bytes() == (tmp_path / "b.fbx").read_bytes()


class TestTransform:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(NUMBERS, min_size=9, max_size=9))
    def test_any_matrix(self, numbers: list[float]) -> None:
        """Given any matrix, when it is taken apart, then translation, rotation, scale and the rest give it again."""
        matrix = numpy.eye(4)
        matrix[:3, :3] = numpy.array(numbers).reshape(3, 3)
        matrix[:3, 3] = (1, 2, 3)
        transform, rest = decomposed(matrix)
        linear = angle_matrix(transform.rotation_deg) @ numpy.diag(transform.scale)
        if rest is not None:
            assert rest[:3, :3] == pytest.approx(angle_matrix(transform.geometric_deg), abs=1e-6)
            linear = linear @ rest[:3, :3]
        assert linear == pytest.approx(matrix[:3, :3], abs=1e-5)
        assert transform.translation == (1, 2, 3)

    def test_flat_matrix(self) -> None:
        """Given a matrix that flattens, when it is taken apart, then it is given again too."""
        transform, rest = decomposed(numpy.diag([2.0, 0.0, 1.0, 1.0]))
        assert rest is not None
        linear = angle_matrix(transform.rotation_deg) @ numpy.diag(transform.scale) @ rest[:3, :3]
        assert linear == pytest.approx(numpy.diag([2.0, 0.0, 1.0]))


class TestRecords:
    def test_wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given more bytes than 32 bits count, when they are written, then the file is of version 7.5 and whole."""
        monkeypatch.setattr(fbx_records, "_MAX_NARROW", 100)
        told = fbx_records.Record(name="GlobalSettings")
        told.add("Properties70").add("P", "UnitScaleFactor", "double", "Number", "", 2.5)
        objects = fbx_records.Record(name="Objects")
        objects.add("AnimationStack", fbx_records.Long(7), "Öffnen\x00\x01AnimStack", "")
        file = io.BytesIO()
        assert fbx_records.write([told, objects], file) == 7500
        found = fbx_facts.facts(file.getvalue())
        assert (found.unit_m, found.animations) == (0.025, ["Öffnen"])

    def test_announced_values(self, tmp_path: Path) -> None:
        """Given an array that announces a billion values, when the file is read, then it is refused at once."""
        fbx.write(samples.assembly(), tmp_path / "t.fbx")
        data = bytearray((tmp_path / "t.fbx").read_bytes())
        place = data.index(b"\x08Vertices") + 10
        data[place : place + 4] = struct.pack("<I", 10**9)
        with pytest.raises(ValueError, match=r"1000000000 values are announced"):
            fbx_facts.facts(bytes(data))

    @pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.9])
    def test_cut_off(self, tmp_path: Path, share: float) -> None:
        """Given a part of a file, when its facts are read, then it is called damaged."""
        fbx.write(samples.assembly(), tmp_path / "t.fbx")
        data = (tmp_path / "t.fbx").read_bytes()
        with pytest.raises(ValueError, match=r"cut off|within its header|does not begin"):
            fbx_facts.facts(data[: int(len(data) * share)])


class TestRoots:
    @pytest.mark.parametrize(
        ("below", "words"),
        [
            ({"a": ["b"], "b": ["a"]}, "shows itself"),
            ({"a": ["a"]}, "shows itself"),
            ({str(n): [str(n + 1)] * 10 for n in range(40)} | {"a": ["0"]}, "unfolds to more"),
        ],
    )
    def test_too_much(self, below: dict[str, list[str]], words: str) -> None:
        """Given nodes that show themselves, or many times more, when they are measured, then they are refused."""
        with pytest.raises(ValueError, match=words):
            roots.check_unfolding(["a"], lambda node: below.get(node, []))

    def test_shared(self) -> None:
        """Given a node that is shown twice, when it is measured, then that is allowed."""
        roots.check_unfolding(["a"], lambda node: {"a": ["b", "b"], "b": ["c"]}.get(node, []))
