"""Files of the glTF family. A scene that was not changed is written as the bytes that it came as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.gltf import writer as gltf_writer
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

_METRE = 1.0


def read_glb(path: Path, options: ReadOptions) -> Scene:
    """A GLB, with the files that it names put into it."""
    return Scene(name=path.stem, glb=gltf.read_glb(path), unit_m=_METRE, up="y")


def read_gltf(path: Path, options: ReadOptions) -> Scene:
    """A .gltf with its buffers and images, beside it or within it."""
    return Scene(name=path.stem, glb=gltf.read_gltf(path), unit_m=_METRE, up="y")


def write_glb(scene: Scene, path: Path) -> None:
    """A GLB."""
    if scene.source is not None:
        path.write_bytes(scene.source)
        return
    with path.open("wb") as file:
        for chunk in gltf_writer.chunks(scene):
            file.write(chunk)


def write_gltf(scene: Scene, path: Path) -> None:
    """A .gltf (JSON) with its data beside it, as <stem>.bin."""
    tree: dict[str, Any]
    pieces: list[Any]
    if scene.source is not None:
        document = gltf.split(scene.source)
        tree, pieces = dict(document.tree), [document.binary]
    else:
        writer = gltf_writer.document(scene)
        tree, pieces = writer.tree, writer.pieces
    if size := sum(map(len, pieces)):
        side = path.with_suffix(".bin")
        with side.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        tree["buffers"] = [{"uri": quote(side.name), "byteLength": size}]
    path.write_text(json.dumps(tree, ensure_ascii=False, indent=1), encoding="utf-8")
