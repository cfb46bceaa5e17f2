"""A file that can be read for each extension of the table, as bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

from pixyz_worker.kernel.formats import TABLE, lack_of
from pixyz_worker.kernel.formats.reading import write_scene
from tests.unit.kernel import foreign_samples, samples

_SINGLE = {"gltf"}
"""Formats of several files, of which one alone is not whole."""
_FOUND = {"STEP": Path(__file__).parents[3] / "samples" / "bracket_assembly.step"}
"""Files of formats that are read here and may not be written."""


def make(folder: Path) -> dict[str, bytes]:
    """Write a sample in each format that is read here, and return the files by extension."""
    files: dict[str, bytes] = {}
    for entry in TABLE:
        if not entry.reader or (entry.reader_extra and lack_of(entry.reader_extra)):
            continue
        if not entry.writer and foreign_samples.lack_of_writer(entry.extensions[0]):
            continue
        for extension in entry.extensions:
            path = folder / f"good.{extension}"
            if extension in _SINGLE:
                path.write_bytes(_embedded(folder))
            elif extension == "stpz":
                path.write_bytes(gzip.compress((folder / "good.step").read_bytes()))
            elif entry.writer_extra and lack_of(entry.writer_extra):
                path.write_bytes(_FOUND[entry.name].read_bytes())
            elif entry.writer:
                write_scene(samples.points() if "geometry" not in entry.survives else samples.assembly(), path)
            else:
                foreign_samples.WRITERS[entry.extensions[0]](path)
            files[extension] = path.read_bytes()
    return files


def _embedded(folder: Path) -> bytes:
    """A .gltf with its data in it."""
    import base64

    write_scene(samples.assembly(), folder / "side.gltf")
    data = base64.b64encode((folder / "side.bin").read_bytes())
    return (folder / "side.gltf").read_bytes().replace(b'"side.bin"', b'"data:;base64,' + data + b'"')
