"""The renderer that draws with VTK, in a child process: without a working OpenGL, VTK ends the process that it is in.

The stage goes to the child as arrays in files, which the child maps into memory. Each picture is asked for with one
line of JSON on the child's standard input and answered with one on its standard output; pixels come back in a file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.exception import InternalError
from pixyz_worker.kernel.material import Image, Texture
from pixyz_worker.kernel.pictures.camera import Camera
from pixyz_worker.kernel.pictures.look import Look, finished
from pixyz_worker.kernel.pictures.stage import Group, Stage
from pixyz_worker.kernel.pictures.textures import decode, side_for, transformed
from pixyz_worker.kernel.process_tree import window_options

PATIENCE_S = 120.0
"""Seconds that the child may take for one picture; the first includes its start."""
_CHILD = "pixyz_worker.kernel.pictures.vtk_child"


class VtkRenderer:
    """Draws one stage from any number of cameras, in one child process."""

    def __init__(
        self, stage: Stage, *, environment: Mapping[str, str] | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        """Start the child and give it the stage; environment is added to that of this process."""
        self._stage, self._patience_s = stage, patience_s
        self._folder = tempfile.TemporaryDirectory(prefix="pixyz-vtk-", ignore_cleanup_errors=True)
        self._words = Path(self._folder.name) / "words"
        # A window of EGL needs no display and takes the GPU; VTK goes to software by itself where there is none.
        usual = {"VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow"} if sys.platform == "linux" else {}
        whole = {**usual, **os.environ, **(environment or {})}
        with self._words.open("wb") as words:
            self._child = subprocess.Popen(
                [sys.executable, "-m", _CHILD, self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=whole,
                bufsize=0,
                **window_options(),
            )
        assert self._child.stdout is not None
        # Not every system can wait for a pipe with a time limit, but every queue can.
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=_forward, args=(self._child.stdout, self._answers), daemon=True, name="vtk").start()
        self._end = weakref.finalize(self, _end, self._child, self._folder)
        _write_stage(stage, Path(self._folder.name))

    def draw(self, camera: Camera, look: Look) -> NDArray[numpy.uint8]:
        """A picture, (height, width, 4): sRGB and straight opacity; the camera is one of the world.

        Raises InternalError with a sentence when the child crashes, hangs or cannot draw; it is gone then.
        """
        inside = camera.moved(self._stage.scale, self._stage.shift)
        result = Path(self._folder.name) / "picture.npy"
        wanted = {
            "camera": asdict(inside),
            "look": asdict(look),
            "point_size": look.diameter(camera, len(self._stage.points)),
        }
        try:
            self._ask({**wanted, "result": str(result)})
            mean = numpy.load(result)
        except (OSError, ValueError, EOFError) as error:
            raise InternalError(self._failed(error)) from error
        return finished(mean.astype(numpy.float32) / numpy.float32(255), look)

    def close(self) -> None:
        """End the child and remove its files."""
        self._end()

    def _ask(self, wanted: dict[str, Any]) -> None:
        """Send a line and wait for the answer; ValueError with what the child says went wrong."""
        if self._child.stdin is None or self._child.stdin.closed:
            raise EOFError
        self._child.stdin.write(json.dumps(wanted).encode() + b"\n")
        said = json.loads(self._answer())
        if problem := said.get("problem"):
            raise ValueError(problem)

    def _answer(self) -> bytes:
        try:
            line = self._answers.get(timeout=self._patience_s)
        except queue.Empty:
            raise TimeoutError(f"it took longer than {self._patience_s:g} s") from None
        if line is None:
            raise EOFError
        return line

    def _failed(self, error: Exception) -> str:
        """End the child, and say in a sentence what was wrong; what it printed goes to the log."""
        with contextlib.suppress(OSError):
            logging.getLogger(__name__).info(
                "VTK said: %s", self._words.read_bytes()[-2000:].decode("utf-8", "replace")
            )
        if isinstance(error, (EOFError, BrokenPipeError)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=2)
            code = self._child.poll()
            self.close()
            how = "" if code is None else f" with signal {-code}" if code < 0 else f" with exit code {code}"
            return f"The VTK renderer ended{how}: there may be no working OpenGL here."
        self.close()
        if isinstance(error, TimeoutError):
            return f"The VTK renderer was ended: {error}."
        return f"The VTK renderer cannot draw: {str(error) or type(error).__name__}."


def _forward(stream: IO[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    """Put the lines that the child writes into a queue, and None at the end."""
    with stream:
        text = b""
        while part := stream.read(1 << 16):
            *lines, text = (text + part).split(b"\n")
            for line in lines:
                answers.put(line)
    answers.put(None)


def _end(child: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    """End the child, and wait until it is gone."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    folder.cleanup()


def _write_stage(stage: Stage, folder: Path) -> None:
    """Put the arrays into files, and what they mean into stage.json, which appears last."""
    for name in ("positions", "triangles", "normals", "colours", "points", "point_colours"):
        if (array := getattr(stage, name)) is not None:
            numpy.save(folder / f"{name}.npy", array)
    if stage.uvs is not None:
        numpy.save(folder / "uvs.npy", _laid(stage, stage.uvs))
    images = dict.fromkeys(t.image for g in stage.groups if g.textured for t in _textures(g).values())
    side = side_for(len(images))
    files: dict[Image, str] = {}
    for image in images:
        if (pixels := decode(image, side)) is not None:
            files[image] = f"image{len(files)}.npy"
            numpy.save(folder / files[image], pixels)
    told = []
    for group in stage.groups:
        told.append(
            {
                "vertices": [group.vertices.start, group.vertices.stop],
                "triangles": [group.triangles.start, group.triangles.stop],
                "smooth": group.smooth,
                "coloured": group.coloured,
                "base": group.material.base_colour,
                "metalness": group.material.metalness,
                "roughness": group.material.roughness,
                "emission": group.material.emission,
                "mode": group.material.alpha_mode,
                "cutoff": group.material.alpha_cutoff,
                "double_sided": group.material.double_sided,
                "textures": {
                    kind: {"file": files[texture.image], "wrap": texture.wrap[0]}
                    for kind, texture in (_textures(group) if group.textured else {}).items()
                    if texture.image in files
                },
            }
        )
    staged = folder / "stage.tmp"
    staged.write_text(json.dumps({"groups": told}), encoding="utf-8")
    staged.rename(folder / "stage.json")


def _textures(group: Group) -> dict[str, Texture]:
    material = group.material
    every = {
        "base": material.base_colour_texture,
        "metal_rough": material.metal_rough_texture,
        "emission": material.emission_texture,
    }
    return {kind: texture for kind, texture in every.items() if texture is not None}


def _laid(stage: Stage, uvs: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """Texture coordinates with the transform of each group's texture: VTK has one set for all textures of a surface."""
    result = uvs
    for group in stage.groups:
        textures = _textures(group) if group.textured else {}
        if textures:
            own = transformed(next(iter(textures.values())), uvs[group.vertices])
            if own.base is not uvs:
                result = result.copy() if result is uvs else result
                result[group.vertices] = own
    return result
