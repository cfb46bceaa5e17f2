"""Algorithms on arrays that nobody may write into: those of a file that is mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker.kernel.algorithms import (
    decimation,
    measures,
    merging,
    mesh_repair,
    normals,
    occlusion,
    pruning,
    tessellation,
)
from pixyz_worker.kernel.formats import TABLE, Format
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.options import Tessellation
from pixyz_worker.kernel.pictures.viewer import GpuScene, Viewer
from pixyz_worker.kernel.scene import Occurrence, Part, Scene
from tests.unit.kernel import samples

WRITERS = [entry for entry in TABLE if entry.writer and "geometry" in entry.survives]


@pytest.fixture(params=["pxz", "glb"])
def mapped(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """A scene with a large enough ball, a textured square and a box, whose arrays are views of a file."""
    scene = samples.everything()
    scene.root.add(Occurrence(name="ball", part=Part(name="ball", mesh=samples.sphere(1.0, 32))))
    write_scene(scene, tmp_path / f"scene.{request.param}")
    found = read_scene(tmp_path / f"scene.{request.param}")
    assert not any(part.mesh.positions.flags.writeable for part in found.parts() if part.mesh)
    found.changed()
    return found


@pytest.mark.parametrize(
    "work",
    [
        lambda roots: decimation.decimate(roots, ratio=0.3),
        lambda roots: decimation.decimate(roots, count=200, each=True),
        lambda roots: mesh_repair.repair_mesh(roots, 1e-4, crack_non_manifold=True, orient=True),
        lambda roots: normals.create_normals(roots, again=True),
        merging.merge_parts_by_materials,
        merging.merge_parts,
        lambda roots: merging.explode_parts(roots, "connected"),
        lambda roots: occlusion.remove_occluded(roots, views=6, resolution=64),
        lambda roots: pruning.delete_small_parts(roots, ratio=0.05),
        lambda roots: tessellation.tessellate(roots, Tessellation(sag_m=1e-3)),
        measures.mesh_infos,
        measures.bounds,
    ],
)
def test_given_mapped_arrays_when_an_algorithm_works_on_them_then_it_does(
    mapped: Scene, work: Callable[[list[Occurrence]], Any], tmp_path: Path
) -> None:
    """Given a scene as a file gave it, when an algorithm works on it, then the scene can be written afterwards."""
    work([mapped.root])
    write_scene(mapped, tmp_path / "after.glb")
    assert read_scene(tmp_path / "after.glb").triangle_count


@pytest.mark.parametrize("writer", WRITERS, ids=lambda entry: entry.name)
def test_given_mapped_arrays_when_they_are_written_then_they_are(
    mapped: Scene, writer: Format, need_extra: Callable[[str], None], tmp_path: Path
) -> None:
    """Given a scene as a file gave it, when it is written in any format, then it is written."""
    if writer.writer_extra:
        need_extra(writer.writer_extra)
    write_scene(mapped, tmp_path / f"after.{writer.extensions[0]}")


@pytest.mark.parametrize("renderer", ["embree", "vtk"])
def test_given_mapped_arrays_when_a_picture_is_taken_then_it_is(
    mapped: Scene, renderer: str, need_extra: Callable[[str], None], tmp_path: Path
) -> None:
    """Given a scene as a file gave it, when a picture is taken, then it is there."""
    if renderer == "vtk":
        need_extra("render")
    viewer = Viewer(32, 32)
    viewer.add(GpuScene((mapped.root,)))
    viewer.set("Renderer", renderer)
    viewer.fit_camera((-0.5, -0.5, -1), "perspective", 60)
    assert viewer.take_screenshot(tmp_path / "picture.png").stat().st_size
    viewer.destroy()
