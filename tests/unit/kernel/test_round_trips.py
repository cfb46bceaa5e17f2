"""Every readable format into every writable one: what the table promises for both is there afterwards."""

from __future__ import annotations

import importlib.util
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import pytest

from pixyz_worker import io
from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.formats import TABLE, Format, Trait, find
from pixyz_worker.kernel.scene import Scene

WRITERS = [entry for entry in TABLE if entry.writer]
BLUE, RED = (20, 130, 240), (200, 30, 40)


def need(*entries: Format) -> None:
    """Skip where an optional package of a format is missing."""
    for module in {module for entry in entries for module in entry.modules}:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def through(scene: Scene, entry: Format, folder: Path) -> Scene:
    """Write a scene in a format and read it again."""
    path = folder / entry.name.replace(" ", "_") / f"scene.{entry.extensions[0]}"
    path.parent.mkdir(exist_ok=True)
    io.exportScene(path, scene)
    result: Scene = io.importScene(path)
    return result


def extents(scene: Scene) -> list[float]:
    """Lengths of the scene's box."""
    return [float(length) for length in scene.view().extents]


def shown_colours(scene: Scene) -> set[tuple[int, int, int]]:
    """The sRGB colours that a scene shows, of materials and of vertices."""
    found: set[tuple[int, int, int]] = set()
    for shape in scene.view().geometry.values():
        if hasattr(shape, "colors"):
            rows = shape.colors
        elif shape.visual.kind == "texture":
            rows = [shape.visual.material.main_color]
        else:
            rows = numpy.unique(shape.visual.vertex_colors, axis=0)
        found |= {(int(row[0]), int(row[1]), int(row[2])) for row in rows}
    return found


def close(colour: tuple[int, int, int], colours: set[tuple[int, int, int]], tolerance: int = 7) -> bool:
    """Whether a colour is among others; eight bits of linear light are coarse where it is dark."""
    return any(max(abs(a - b) for a, b in zip(colour, other, strict=True)) <= tolerance for other in colours)


def assert_survived(scene: Scene, traits: set[Trait]) -> None:
    """Assert that the two-part scene kept these traits."""
    names = [occurrence.name for occurrence in scene.occurrences]
    if "geometry" in traits:
        assert scene.triangle_count == 12 + 2 * 80
        size = extents(scene)
        scale = 1.0 if "units" in traits else size[0] / 7.0
        assert size == pytest.approx([7.0 * scale, 6.0 * scale, 4.0 * scale], rel=1e-4)
    if "colours" in traits:
        assert close(RED, shown_colours(scene)) and close(BLUE, shown_colours(scene))
    if "names" in traits:
        assert "Kasten Ä" in names
        assert sum(name.startswith("ball") for name in names) == 2
    if "hierarchy" in traits:
        tree = {occurrence.name: occurrence for occurrence in scene.occurrences}
        assert tree["ball left"].parent == names.index("Gruppe") == tree["ball right"].parent
    if "instances" in traits:
        assert (scene.part_count, scene.instance_count) == (2, 3)


@pytest.mark.parametrize("pair", list(product(WRITERS, WRITERS)), ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_a_scene_keeps_what_both_formats_promise(pair: Any, two_parts: Scene, tmp_path: Path) -> None:
    """Given a scene in one format, when it is converted to another, then what both keep is there."""
    first, second = pair
    need(first, second)
    once = through(two_parts, first, tmp_path)
    assert_survived(once, set(first.survives))
    if "geometry" not in first.survives and "points" not in second.survives:
        with pytest.raises(InvalidFile, match="only points"):
            through(once, second, tmp_path)
        return
    assert_survived(through(once, second, tmp_path), set(first.survives) & set(second.survives))


@pytest.mark.parametrize("entry", WRITERS, ids=lambda entry: entry.name)
def test_step_goes_to_each_format(entry: Format, assembly: Scene, tmp_path: Path) -> None:
    """Given the STEP assembly, when it is written in any format, then what both keep is there."""
    need(entry)
    result = through(assembly, entry, tmp_path)
    traits = set(entry.survives) & set(find("step").survives)
    unit = 1.0 if "units" in entry.survives else 1000.0
    assert extents(result) == pytest.approx([0.190 * unit, 0.110 * unit, 0.115 * unit], rel=1e-3)
    if "geometry" in traits:
        assert result.triangle_count == assembly.triangle_count
    if "colours" in traits:
        assert close((0xE0, 0x7B, 0x1A), shown_colours(result), 2)
        assert close((0x2F, 0x5F, 0xA8), shown_colours(result), 2)
    if "instances" in traits:
        assert (result.part_count, result.instance_count) == (6, 22)
    if "names" in traits:
        names = {occurrence.name for occurrence in result.occurrences}
        assert "Shaft Ø20" in names and any(name.startswith("Lagerbock") for name in names)


@pytest.mark.parametrize("entry", WRITERS, ids=lambda entry: entry.name)
def test_points_go_where_points_are_kept(entry: Format, points: Scene, tmp_path: Path) -> None:
    """Given a cloud of points, when it is written, then it comes back, or is refused with a sentence."""
    need(entry)
    if "points" not in entry.survives:
        with pytest.raises(InvalidFile, match="points"):
            through(points, entry, tmp_path)
        return
    result = through(points, entry, tmp_path)
    assert extents(result) == pytest.approx([1, 2, 3])
    assert close(RED, shown_colours(result)) and close(BLUE, shown_colours(result))


def test_a_texture_survives_gltf_and_obj(tmp_path: Path) -> None:
    """Given a textured square, when it goes through glTF and OBJ, then its picture and coordinates are there."""
    import trimesh
    from PIL import Image

    picture = Image.new("RGB", (4, 4), (250, 120, 10))
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    square.visual = trimesh.visual.TextureVisuals(
        uv=[[0, 0], [1, 0], [1, 1], [0, 1]],
        material=trimesh.visual.material.PBRMaterial(name="checker", baseColorTexture=picture),
    )
    scene = Scene(name="square", parsed=trimesh.Scene({"square": square}))
    for extension in ("glb", "gltf", "pxz", "obj"):
        scene = through(scene, find(extension), tmp_path)
        visual = next(iter(scene.view().geometry.values())).visual
        image = getattr(visual.material, "baseColorTexture", None) or visual.material.image
        assert image.convert("RGB").getpixel((1, 1)) == (250, 120, 10), extension
        assert len(visual.uv) == 4, extension
    flat = through(scene, find("ply"), tmp_path)
    assert close((250, 120, 10), shown_colours(flat), 2)


def test_numbers_without_a_unit_come_back(tmp_path: Path) -> None:
    """Given an STL of 20 units, when it goes through 3MF and back, then 3MF says 20 mm and the STL 20 units."""
    import trimesh

    need(find("3mf"))
    (tmp_path / "cube.stl").write_bytes(trimesh.creation.box((20, 20, 20)).export(file_type="stl"))
    io.exportScene(tmp_path / "cube.3mf", io.importScene(tmp_path / "cube.stl"))
    printed = io.importScene(tmp_path / "cube.3mf")
    assert extents(printed) == pytest.approx([0.02] * 3)
    io.exportScene(tmp_path / "again.stl", printed)
    assert extents(io.importScene(tmp_path / "again.stl")) == pytest.approx([20] * 3)
