"""The glTF family, read and written whole: no mesh library takes part, so nothing of the file is lost."""

from __future__ import annotations

from pathlib import Path

from pixyz_worker.kernel import gltf
from pixyz_worker.kernel.scene import Scene


def read_glb(path: Path) -> Scene:
    """A GLB, as it is."""
    return Scene(name=path.stem, glb=gltf.read_glb(path))


def read_gltf(path: Path) -> Scene:
    """A .gltf with its buffers and images, beside it or within it."""
    return Scene(name=path.stem, glb=gltf.read_gltf(path))


def write_glb(scene: Scene, path: Path) -> None:
    """A GLB: the bytes that came in, unless the scene was edited."""
    path.write_bytes(scene.glb)


def write_gltf(scene: Scene, path: Path) -> None:
    """A .gltf and its .bin."""
    gltf.write_gltf(scene.glb, path)
