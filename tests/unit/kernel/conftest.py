"""A small scene with everything that a format can keep or lose, and the STEP sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker import io
from pixyz_worker.kernel import session
from pixyz_worker.kernel.scene import Scene

ROOT = Path(__file__).parents[3]
RED, BLUE = (200, 30, 40), (20, 130, 240)


@pytest.fixture(autouse=True)
def clean_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with nothing imported, on our own kernel."""
    monkeypatch.setenv("DISABLE_PIXYZ", "1")
    session.reset()
    yield
    session.reset()


@pytest.fixture(scope="session")
def sample() -> Path:
    """The STEP assembly of the repository."""
    return ROOT / "samples" / "bracket_assembly.step"


@pytest.fixture(scope="session")
def assembly(sample: Path) -> Scene:
    """The STEP assembly, read once."""
    scene: Scene = io.importScene(sample)
    return scene


def painted(mesh: Any, name: str, colour: tuple[int, int, int]) -> Any:
    """A mesh with a material of one colour."""
    import trimesh

    material = trimesh.visual.material.PBRMaterial(name=name, baseColorFactor=(*colour, 255), metallicFactor=0.0)
    return trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        process=False,
        visual=trimesh.visual.TextureVisuals(material=material),
    )


@pytest.fixture(scope="session")
def two_parts() -> Scene:
    """A red box with an umlaut, and a blue ball shown twice below a moved group; 2 x 3 x 4 metres and more."""
    import trimesh

    shift = trimesh.transformations.translation_matrix
    scene = trimesh.Scene()
    box = painted(trimesh.creation.box((2, 3, 4)), "red", RED)
    scene.add_geometry(box, node_name="Kasten Ä", geom_name="Kasten Ä")
    scene.graph.update(frame_from="world", frame_to="Gruppe", matrix=shift((0, 4, 0)))
    ball = painted(trimesh.creation.icosphere(subdivisions=1, radius=0.5), "blue", BLUE)
    scene.add_geometry(
        ball,
        node_name="ball left",
        geom_name="ball",
        parent_node_name="Gruppe",
        transform=shift((-3, 0, 0)),
    )
    scene.graph.update(frame_from="Gruppe", frame_to="ball right", geometry="ball", matrix=shift((3, 0, 0)))
    return Scene(name="two parts", parsed=scene)


@pytest.fixture(scope="session")
def points() -> Scene:
    """A red and a blue point."""
    import trimesh

    cloud = trimesh.PointCloud([[0, 0, 0], [1, 2, 3]], colors=[(*RED, 255), (*BLUE, 255)])
    scene = trimesh.Scene()
    scene.add_geometry(cloud, node_name="points", geom_name="points")
    return Scene(name="points", parsed=scene)
